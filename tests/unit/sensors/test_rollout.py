"""The watch hands over to the triggerer and fails with the pods' own words."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from model_refresh.sensors.rollout import RolloutSensor
from tests.unit.given import model
from tests.unit.run import OFFERED, Run


def deferred(config):
    before = time.time()
    with pytest.raises(TaskDeferred) as caught:
        RolloutSensor(task_id="watch_rollout", model=config).execute(Run().switched().context)
    return caught.value.trigger, caught.value.trigger.until - before


def test_it_watches_what_was_promoted_for_as_long_as_the_load_suggests(outside):
    trigger, seconds = deferred(model())
    assert (trigger.release_id, trigger.namespace, trigger.deployment) == (OFFERED, "models", "llama")
    # The evidence forecasts 150 s a replica, and two replicas: ten minutes and three times that.
    assert seconds == pytest.approx(timedelta(minutes=25).total_seconds(), abs=10)


def test_the_models_file_can_set_the_deadline_and_the_namespace(outside):
    trigger, seconds = deferred(model(namespace="prod", rollout={"deadline": "2m", "patience": "1m", "poll": "9s"}))
    assert (trigger.namespace, trigger.patience, trigger.poll) == ("prod", 60, 9)
    assert seconds == pytest.approx(120, abs=10)


def test_without_a_promotion_there_is_nothing_to_watch(outside):
    with pytest.raises(AirflowException, match="Nothing was promoted"):
        RolloutSensor(task_id="watch_rollout", model=model()).execute(Run().context)


def test_arriving_is_told_and_failing_fails_for_good(outside):
    sensor = RolloutSensor(task_id="watch_rollout", model=model())
    event = {"outcome": "done", "reason": "", "detail": "2 of 2 serve"}
    assert sensor.conclude(Run().context, event) == event
    with pytest.raises(AirflowFailException, match=r"RolloutFailed.*llama: CrashLoopBackOff: Pod x"):
        sensor.conclude(Run().context, {"outcome": "failed", "reason": "CrashLoopBackOff", "detail": "Pod x"})
