"""Nothing is promoted but what a person saw and said yes to, onto what they saw it replace."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from model_refresh import handover
from model_refresh.names import APPROVE_RELEASE, GATHER_EVIDENCE, PROMOTE_RELEASE, PUBLISH_RELEASE, WAIT_FOR_RELEASE
from model_refresh.operators.promote import PromoteReleaseOperator
from tests.unit.given import model
from tests.unit.kube import SERVING, deployment
from tests.unit.run import DIGEST, OFFERED, Run, published, shown


@pytest.fixture
def promote():
    return PromoteReleaseOperator(task_id=PROMOTE_RELEASE, model=model())


def serving(outside):
    return (outside.cluster.deployments["models", "llama"].spec.template.metadata.annotations or {}).get(
        "model-refresh/release"
    )


def test_an_approved_release_is_promoted_and_the_way_back_is_written_down(outside, promote):
    run = Run(PROMOTE_RELEASE)
    promote.execute(run.context)
    assert serving(outside) == OFFERED
    assert handover.switch(run.context) == handover.Switch(before=SERVING, after=OFFERED)
    assert len(outside.cluster.applied) == 1
    assert not outside.cluster.applied[0].force


def test_the_way_back_is_written_down_before_the_switch(outside, promote):
    run = Run(PROMOTE_RELEASE)
    seen = []
    outside.cluster.before_apply = lambda: seen.append(handover.switch(run.context))
    promote.execute(run.context)
    assert seen == [handover.Switch(before=SERVING, after=OFFERED)]


DOUBTS = {
    "nobody answered": lambda run: run.without(APPROVE_RELEASE),
    "an empty answer": lambda run: run.left(APPROVE_RELEASE, {}),
    "a no": lambda run: run.left(APPROVE_RELEASE, {"chosen_options": ["Reject"]}),
    "nothing asked": lambda run: run.without(APPROVE_RELEASE, key=handover.QUESTION_KEY),
    "another digest asked about": lambda run: run.left(
        APPROVE_RELEASE,
        {"release_id": OFFERED, "digest": "cd" * 32, "serving": SERVING},
        key=handover.QUESTION_KEY,
    ),
    "another release asked to be replaced": lambda run: run.left(
        APPROVE_RELEASE, {"release_id": OFFERED, "digest": DIGEST, "serving": "v0"}, key=handover.QUESTION_KEY
    ),
    "both": lambda run: run.left(APPROVE_RELEASE, {"chosen_options": ["Approve", "Reject"]}),
    "no evidence": lambda run: run.without(GATHER_EVIDENCE),
    "nothing published": lambda run: run.without(PUBLISH_RELEASE),
    "nothing offered": lambda run: run.without(WAIT_FOR_RELEASE),
    "another digest published": lambda run: run.left(PUBLISH_RELEASE, handover.dump(published(digest="cd" * 32))),
    "another digest shown": lambda run: run.left(
        GATHER_EVIDENCE, handover.dump(shown(serving=SERVING, digest="cd" * 32))
    ),
    "another release shown to serve": lambda run: run.left(GATHER_EVIDENCE, handover.dump(shown(serving="v0"))),
    "nothing shown to serve": lambda run: run.left(GATHER_EVIDENCE, handover.dump(shown(serving=None))),
    "another release shown under the same digest": lambda run: run.left(
        GATHER_EVIDENCE, handover.dump(shown(serving=SERVING, release_id="v3-abababababab"))
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_any_doubt_promotes_nothing(outside, promote, doubt):
    run = Run(PROMOTE_RELEASE)
    DOUBTS[doubt](run)
    with pytest.raises(AirflowException):
        promote.execute(run.context)
    assert outside.cluster.applied == []
    assert handover.switch(run.context) is None


def test_a_deployment_that_was_unwired_meanwhile_is_not_touched(outside, promote):
    outside.cluster.deployments["models", "llama"] = deployment(read_only=False)
    with pytest.raises(AirflowFailException, match="NotWired"):
        promote.execute(Run(PROMOTE_RELEASE).context)
    assert outside.cluster.applied == []


def test_a_change_between_look_and_switch_is_not_overwritten(outside, promote):
    outside.cluster.before_apply = lambda: outside.cluster.annotate("models", "llama", "v3")
    with pytest.raises(AirflowFailException, match="StaleApproval"):
        promote.execute(Run(PROMOTE_RELEASE).context)
    assert serving(outside) == "v3"


def test_an_annotation_that_somebody_else_manages_is_not_taken_over(outside, promote):
    outside.cluster.annotation_owner = "argocd"
    with pytest.raises(AirflowFailException, match="argocd"):
        promote.execute(Run(PROMOTE_RELEASE).context)
    assert serving(outside) == SERVING


def test_a_status_update_between_look_and_switch_costs_no_approval(outside, promote):
    current = outside.cluster.deployments["models", "llama"]
    updates = iter(["101", "102"])

    def update_status():
        current.metadata.resource_version = next(updates, current.metadata.resource_version)

    outside.cluster.before_apply = update_status
    promote.execute(Run(PROMOTE_RELEASE).context)
    assert serving(outside) == OFFERED


def test_a_second_start_of_the_task_leaves_the_way_back_in_place(outside, promote):
    """A lost worker, or a person's clear: Airflow forgets the first start's XComs, the Deployment is switched."""
    promote.execute(Run(PROMOTE_RELEASE).context)
    again = Run(PROMOTE_RELEASE)
    promote.execute(again.context)
    assert handover.switch(again.context) == handover.Switch(before=SERVING, after=OFFERED)
    assert len(outside.cluster.applied) == 1


def test_an_answer_of_somebody_who_is_no_approver_is_no_yes(outside):
    asking = PromoteReleaseOperator(task_id=PROMOTE_RELEASE, model=model(approval={"approvers": ["bob"]}))
    with pytest.raises(AirflowFailException, match="alice approved, who is not one of bob"):
        asking.execute(Run(PROMOTE_RELEASE).context)
    assert outside.cluster.applied == []


@pytest.mark.parametrize("unwired", [{"volume_read_only": False}, {"read_only": False}, {"claim": "other"}])
def test_a_deployment_that_could_serve_an_empty_folder_is_not_promoted(outside, promote, unwired):
    outside.cluster.deployments["models", "llama"] = deployment(**unwired)
    with pytest.raises(AirflowFailException, match="NotWired"):
        promote.execute(Run(PROMOTE_RELEASE).context)


def test_a_first_release_is_promoted_over_nothing(outside, promote):
    outside.cluster.deployments["models", "llama"] = deployment(None)
    run = Run(PROMOTE_RELEASE, serving=None)
    promote.execute(run.context)
    assert handover.switch(run.context) == handover.Switch(before=None, after=OFFERED)


def test_it_is_never_tried_again_by_itself():
    with DAG("refresh__llama", schedule=None, default_args={"retries": 2}):
        assert PromoteReleaseOperator(task_id=PROMOTE_RELEASE, model=model()).retries == 0
