"""The only place that wires tasks into DAGs."""
