"""Going back restores what served, overrules nobody, and is remembered."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from model_refresh.domain.decisions import Outcome
from model_refresh.hooks.decisions import DecisionsHook
from model_refresh.operators.roll_back import RollBackOperator
from tests.unit.given import model
from tests.unit.kube import SERVING, deployment
from tests.unit.operators.test_promote import serving
from tests.unit.run import DIGEST, OFFERED, Run


@pytest.fixture
def roll_back():
    return RollBackOperator(task_id="roll_back", model=model())


def test_nothing_switched_is_nothing_to_go_back_from(outside, roll_back):
    with pytest.raises(AirflowSkipException):
        roll_back.execute(Run().context)
    assert outside.cluster.applied == []


def test_it_restores_records_and_watches(outside, roll_back):
    outside.cluster.deployments["models", "llama"] = deployment(OFFERED)
    with pytest.raises(TaskDeferred) as caught:
        roll_back.execute(Run().switched().context)
    assert serving(outside) == SERVING
    assert caught.value.trigger.release_id == SERVING
    (decision,) = DecisionsHook("llama").read().decisions
    assert (decision.outcome, decision.release_id, decision.digest) == (Outcome.ROLLED_BACK, OFFERED, DIGEST)
    assert decision.by == "alice"


def test_it_takes_the_annotation_back_even_from_who_took_it_over(outside, roll_back):
    outside.cluster.deployments["models", "llama"] = deployment(OFFERED)
    outside.cluster.annotation_owner = "argocd"
    with pytest.raises(TaskDeferred):
        roll_back.execute(Run().switched().context)
    assert serving(outside) == SERVING


def test_a_strangers_change_is_not_overruled(outside, roll_back):
    outside.cluster.deployments["models", "llama"] = deployment("v3")
    with pytest.raises(AirflowFailException, match="somebody stepped in"):
        roll_back.execute(Run().switched().context)
    assert outside.cluster.applied == []
    assert DecisionsHook("llama").read().decisions == ()


def test_a_strangers_change_between_look_and_switch_is_not_overruled(outside, roll_back):
    outside.cluster.deployments["models", "llama"] = deployment(OFFERED)
    outside.cluster.before_apply = lambda: outside.cluster.annotate("models", "llama", "v3")
    with pytest.raises(AirflowFailException, match="somebody stepped in"):
        roll_back.execute(Run().switched().context)
    assert serving(outside) == "v3"


def test_a_status_update_between_look_and_switch_does_not_stop_it(outside, roll_back):
    """The controller writes the status of a failing rollout all the time, and moves the resourceVersion each time."""
    broken = outside.cluster.deployments["models", "llama"] = deployment(OFFERED)
    updates = iter(["101", "102"])

    def update_status():
        broken.metadata.resource_version = next(updates, broken.metadata.resource_version)

    outside.cluster.before_apply = update_status
    with pytest.raises(TaskDeferred):
        roll_back.execute(Run().switched().context)
    assert serving(outside) == SERVING


def test_where_nothing_served_before_the_annotation_goes(outside, roll_back):
    outside.cluster.deployments["models", "llama"] = deployment(OFFERED)
    roll_back.execute(Run(serving=None).switched(before=None).context)
    assert serving(outside) is None
    assert outside.cluster.deployments["models", "llama"].spec.template.metadata.annotations == {"other": "kept"}


def test_a_promotion_that_never_reached_the_cluster_is_not_undone_but_watched(outside, roll_back):
    with pytest.raises(TaskDeferred):
        roll_back.execute(Run().switched().context)
    assert outside.cluster.applied == []
    assert DecisionsHook("llama").read().decisions == ()


def test_a_second_try_only_watches(outside, roll_back):
    outside.cluster.deployments["models", "llama"] = deployment(OFFERED)
    for _ in range(2):
        with pytest.raises(TaskDeferred):
            roll_back.execute(Run().switched().context)
    assert len(outside.cluster.applied) == 1
    assert len(DecisionsHook("llama").read().decisions) == 1


def test_a_roll_back_that_does_not_arrive_says_so(roll_back):
    with pytest.raises(AirflowFailException, match="FailedMount"):
        roll_back.conclude(Run().context, {"outcome": "failed", "reason": "FailedMount", "detail": "x"})
    assert roll_back.conclude(Run().context, {"outcome": "done", "reason": "", "detail": "x"})["outcome"] == "done"


def test_a_broken_record_of_decisions_does_not_keep_the_old_release_away(outside, roll_back):
    """Service first: the switch back happens and is watched, whatever Airflow's API says about the record."""
    outside.cluster.deployments["models", "llama"] = deployment(OFFERED)
    outside.variables["model_refresh__llama__decisions"] = "nonsense"
    with pytest.raises(TaskDeferred):
        roll_back.execute(Run().switched().context)
    assert serving(outside) == SERVING


def test_a_record_that_cannot_be_written_does_not_keep_the_old_release_away(outside, roll_back):
    outside.cluster.deployments["models", "llama"] = deployment(OFFERED)

    def refuse(key, text):
        raise ConnectionError("Airflow's API is away")

    outside.set_variable = refuse
    with pytest.raises(TaskDeferred):
        roll_back.execute(Run().switched().context)
    assert serving(outside) == SERVING
