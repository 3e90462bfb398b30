"""A promotion is written down, and the rest of Airflow is told."""

from __future__ import annotations

from types import SimpleNamespace

from airflow.sdk import Asset

from model_refresh.domain.decisions import Outcome
from model_refresh.hooks.decisions import DecisionsHook
from model_refresh.operators.record import RecordOperator
from tests.unit.given import model
from tests.unit.kube import SERVING
from tests.unit.run import DIGEST, OFFERED, Run


def test_it_records_who_said_yes_to_what_and_fills_the_event(outside):
    asset = Asset(name="llama", uri="model://llama")
    run = Run()
    event = SimpleNamespace(extra={})
    run.context["outlet_events"] = {asset: event}
    said = RecordOperator(task_id="record", model=model(), asset=asset).execute(run.context)
    (decision,) = DecisionsHook("llama").read().decisions
    assert (decision.outcome, decision.by, decision.digest) == (Outcome.PROMOTED, "alice", DIGEST)
    assert event.extra == said
    assert said == {
        "release": OFFERED,
        "digest": DIGEST,
        "before": SERVING,
        "approved_by": "alice",
        "at": decision.at.isoformat(),
        "size": said["size"],
        "copied_bytes": said["copied_bytes"],
        "copy_seconds": 100.0,
        "verify_seconds": 50.0,
    }
