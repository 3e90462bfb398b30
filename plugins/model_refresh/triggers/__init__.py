"""What waits in the triggerer, where waiting costs no worker slot."""

from __future__ import annotations

from airflow.sdk.configuration import conf


def parked_seconds() -> float:
    """After how long Airflow's scheduler has surely noticed that a task has parked (docs/adr/0011-quick-resumes.md).

    A supervisor may notice the end of its task only after ``[workers] min_heartbeat_interval``, and the scheduler
    reads of it in its next loop, a second or two later.
    """
    interval: float = conf.getfloat("workers", "min_heartbeat_interval")
    return interval + 2
