"""Says where the time of a run went: what each task took, and what the run cost besides moving and reading bytes."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sandbox.airflow_api import AirflowApi, Run


def print_report(api: AirflowApi, run: Run) -> None:
    """Prints a line for each task, and the run's own overhead."""
    details = api.get(run.path)
    wall = _seconds(details["start_date"], details["end_date"])
    print("\ntask                      seconds")
    for task, instances in sorted(api.tasks(run).items(), key=lambda item: str(item[1][0]["start_date"])):
        print(f"{task:24} {_span(instances):8.1f}" if instances[0]["start_date"] else f"{task:24}        -")
    said = api.xcom(run, "record")
    waited = _approval_seconds(api, run)
    moved = said["copy_seconds"] + said["verify_seconds"]
    print(
        f"\nrun {wall:.1f} s = {said['copy_seconds']:.1f} s copying and {said['verify_seconds']:.1f} s reading back"
        f" + {waited:.1f} s waiting for a person + {wall - moved - waited:.1f} s of its own (overhead)\n"
        f"copied {said['copied_bytes'] / 1e6:.0f} MB of {said['size'] / 1e6:.0f} MB; the rest was on the volume already"
    )


def _span(instances: list[dict[str, Any]]) -> float:
    """From the first start to the last end of a task's instances."""
    ended = [instance for instance in instances if instance["start_date"] and instance["end_date"]]
    if not ended:
        return 0.0
    return _seconds(min(i["start_date"] for i in ended), max(i["end_date"] for i in ended))


def _approval_seconds(api: AirflowApi, run: Run) -> float:
    questions = api.get(f"{run.path}/hitlDetails")["hitl_details"]
    return sum(_seconds(q["created_at"], q["responded_at"]) for q in questions if q["responded_at"])


def _seconds(start: str, end: str) -> float:
    return (dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)).total_seconds()
