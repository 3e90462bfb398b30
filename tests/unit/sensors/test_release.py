"""The sensor offers, waits or skips; and it looks at the Deployment before the first byte is copied."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred

from model_refresh.domain.decisions import Outcome
from model_refresh.hooks.decisions import DecisionsHook
from model_refresh.sensors.release import WaitForReleaseSensor
from tests.unit.given import NOON, listed, model
from tests.unit.kube import SERVING, deployment
from tests.unit.run import Run

LATER = NOON + timedelta(hours=1)
COMPLETE = [
    # The folder of what serves; without it nothing would tell what is newer.
    listed("llama/v1/model.bin"),
    listed("llama/v1/_SUCCESS"),
    listed("llama/v2/model.bin", at=LATER),
    listed("llama/v2/_SUCCESS", at=LATER),
]


@pytest.fixture
def sensor():
    return WaitForReleaseSensor(task_id="wait_for_release", model=model())


def test_what_is_there_is_offered_at_once_with_what_serves(outside, sensor):
    outside.buckets.buckets["bucket"] = COMPLETE
    offer = sensor.execute(Run().context)
    assert offer["serving"] == SERVING
    assert offer["release"]["prefix"] == "gs://bucket/llama/v2/"


def test_what_is_not_there_yet_is_looked_for_in_the_triggerer(outside, sensor):
    DecisionsHook("llama").add(Outcome.REJECTED, release_id="v1", digest="1" * 64, run_id="r")
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(Run(release="v2").context)
    trigger = caught.value.trigger
    assert (trigger.serving, trigger.decided, trigger.wanted) == (SERVING, ["1" * 64], "v2")
    assert caught.value.method_name == "go_on"
    assert caught.value.kwargs == {"serving": SERVING}


def test_a_rejected_release_is_not_offered_by_itself_but_by_name(outside, sensor):
    outside.buckets.buckets["bucket"] = COMPLETE
    first = sensor.execute(Run(release="v1").context)["release"]["release_id"]
    outside.cluster.deployments["models", "llama"] = deployment(first)
    digest = sensor.execute(Run().context)["release"]["digest"]
    DecisionsHook("llama").add(Outcome.REJECTED, release_id="v2", digest=digest, run_id="r")
    with pytest.raises(TaskDeferred):
        sensor.execute(Run().context)
    assert sensor.execute(Run(release="v2").context)["release"]["digest"] == digest


def test_what_serves_already_is_nothing_to_do(outside, sensor):
    outside.buckets.buckets["bucket"] = COMPLETE
    release_id = sensor.execute(Run().context)["release"]["release_id"]
    outside.cluster.deployments["models", "llama"] = deployment(release_id)
    with pytest.raises(AirflowSkipException, match="serves already"):
        sensor.execute(Run(release="v2").context)


def test_a_deployment_that_is_not_wired_ends_the_run_before_it_begins(outside, sensor):
    outside.buckets.buckets["bucket"] = COMPLETE
    outside.cluster.deployments["models", "llama"] = deployment(claim="others")
    with pytest.raises(AirflowFailException, match="NotWired"):
        sensor.execute(Run().context)


def test_a_broken_record_of_decisions_offers_nothing(outside, sensor):
    outside.buckets.buckets["bucket"] = COMPLETE
    outside.variables["model_refresh__llama__decisions"] = "nonsense"
    with pytest.raises(AirflowFailException, match="BadConfig"):
        sensor.execute(Run().context)


def test_going_on_offers_what_the_trigger_found(outside, sensor):
    outside.buckets.buckets["bucket"] = COMPLETE
    offer = sensor.execute(Run().context)
    assert sensor.go_on(Run().context, {"release": offer["release"]}, serving=SERVING) == offer


def test_finding_nothing_skips_the_run_unless_somebody_asked_by_name(outside, sensor):
    with pytest.raises(AirflowSkipException, match=f"{SERVING} goes on serving"):
        sensor.go_on(Run().context, {"release": None}, serving=SERVING)
    with pytest.raises(AirflowFailException, match=r"SourceMissing.*'v9'"):
        sensor.go_on(Run(release="v9").context, {"release": None}, serving=SERVING)


@pytest.mark.parametrize(
    ("reason", "kind"), [("PermissionDenied", AirflowFailException), ("Unexpected", AirflowException)]
)
def test_the_triggers_error_fails_the_task_and_is_retried_where_that_may_help(outside, sensor, reason, kind):
    event = {"error": {"reason": reason, "message": "It broke.", "mend": "Mend it."}}
    with pytest.raises(AirflowException, match=r"It broke\. Mend it\.") as caught:
        sensor.go_on(Run().context, event, serving=SERVING)
    assert type(caught.value) is kind
