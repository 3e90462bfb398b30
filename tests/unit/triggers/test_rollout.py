"""The trigger watches until the verdict is final, and is patient with an API server that restarts."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from airflow.sdk.module_loading import import_string

from model_refresh.triggers import parked_seconds
from model_refresh.triggers.rollout import RolloutTrigger
from tests.unit.kube import SERVING, deployment, pod, waiting


def trigger(*, until=3600.0, **fields):
    least = {
        "kubernetes_conn_id": "kubernetes_default",
        "namespace": "models",
        "deployment": "llama",
        "release_id": SERVING,
        "until": time.time() + until,
        "patience": 300.0,
        "poll": 5.0,
    }
    return RolloutTrigger(**(least | fields))


@pytest.fixture
def fire(monkeypatch):
    """The trigger's event, and how often it slept; ``then`` happens instead of each sleep."""

    def fire(made, then=lambda count: None):
        slept = []

        async def sleep(seconds):
            slept.append(seconds)
            assert seconds in {5, parked_seconds()}
            assert len(slept) < 20
            then(len(slept))

        async def first():
            return await anext(made.run())

        monkeypatch.setattr(asyncio, "sleep", sleep)
        return asyncio.run(first()).payload, len(slept)

    return fire


def test_it_survives_the_trigger_table():
    made = trigger(release_id=None)
    path, arguments = made.serialize()
    again = import_string(path)(**json.loads(json.dumps(arguments)))
    assert type(again) is RolloutTrigger
    assert again.serialize() == made.serialize()
    assert vars(again).keys() == vars(made).keys()
    assert arguments == {name: getattr(made, name) for name in arguments}
    assert arguments == {name: getattr(again, name) for name in arguments}


def test_it_fires_when_every_replica_serves(outside, fire):
    outside.cluster.deployments["models", "llama"] = deployment(status={"updated_replicas": 1})

    def arrive(count):
        if count == 3:
            outside.cluster.deployments["models", "llama"] = deployment()

    event, slept = fire(trigger(), arrive)
    assert event == {"outcome": "done", "reason": "", "detail": "2 of 2 serve"}
    assert slept == 3


def test_it_fires_with_the_pods_own_reason(outside, fire):
    outside.cluster.deployments["models", "llama"] = deployment(status={"updated_replicas": 1})
    outside.cluster.pods = [pod(container_statuses=[waiting("ImagePullBackOff", "no such image")])]
    event, _ = fire(trigger())
    assert event == {"outcome": "failed", "reason": "ImagePullBackOff", "detail": "Pod llama-1: no such image"}


def test_it_gives_up_at_the_deadline_and_says_what_it_saw_last(outside, fire):
    outside.cluster.deployments["models", "llama"] = deployment(status={"updated_replicas": 1})
    event, _ = fire(trigger(until=-1))
    assert (event["outcome"], event["reason"]) == ("failed", "DeadlineExceeded")
    assert "1 of 2 updated" in event["detail"]


def test_arriving_at_the_last_moment_is_arriving(outside, fire):
    assert fire(trigger(until=-1))[0]["outcome"] == "done"


def test_a_blind_moment_is_no_failure(outside, fire):
    outside.cluster.refuse = 503

    def see_again(count):
        outside.cluster.refuse = None if count == 5 else 503

    assert fire(trigger(), see_again)[0]["outcome"] == "done"


def test_blindness_that_lasts_is_a_failure_with_its_reason(outside, fire):
    outside.cluster.refuse = 403
    event, slept = fire(trigger())
    assert (event["outcome"], event["reason"], slept) == ("failed", "PermissionDenied", 5)
    assert json.loads(json.dumps(event)) == event


def test_looks_that_fail_now_and_then_never_add_up(outside, fire):
    outside.cluster.deployments["models", "llama"] = deployment(status={"updated_replicas": 1})

    def flicker(count):
        outside.cluster.refuse = None if count % 5 == 0 else 503
        if count == 15:
            outside.cluster.deployments["models", "llama"] = deployment()

    assert fire(trigger(), flicker)[0]["outcome"] == "done"


def test_a_strangers_change_ends_the_watch(outside, fire):
    assert fire(trigger(release_id="v2"))[0]["reason"] == "Superseded"
