"""What waits in the triggerer, where waiting costs no worker slot."""

from __future__ import annotations

from typing import Final

PARKED_SECONDS: Final = 3.0
"""After so long Airflow's scheduler has surely noticed that a task has parked."""
