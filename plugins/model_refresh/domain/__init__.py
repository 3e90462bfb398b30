"""The rules of a refresh, pure: no Airflow, no clients, no disk."""
