"""A no is remembered with who said it; silence fails clearly; a yes passes through."""

from __future__ import annotations

import pytest
from airflow.providers.standard.exceptions import HITLTriggerEventError
from airflow.providers.standard.operators import hitl
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, DownstreamTasksSkipped, TaskAwaitingInput

from model_refresh import handover
from model_refresh.domain.decisions import Outcome
from model_refresh.hooks.decisions import DecisionsHook
from model_refresh.operators.approve import ApproveReleaseOperator, responder
from tests.unit.given import NOON, model
from tests.unit.kube import SERVING
from tests.unit.run import DIGEST, OFFERED, Run

ALICE = {"id": "alice", "name": "Alice"}


def answer(option, by=ALICE):
    return {"chosen_options": [option], "params_input": {}, "responded_at": NOON, "responded_by_user": by}


@pytest.fixture
def approve():
    return ApproveReleaseOperator(task_id="approve_release", model=model(approval={"approvers": ["alice"]}))


def context(approve):
    return Run("approve_release").context | {"task": approve}


def test_it_writes_down_what_it_asks_about_and_parks(outside, approve, monkeypatch):
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **question: None)
    run = Run("approve_release")
    run.ti.id = "one"
    with pytest.raises(TaskAwaitingInput):
        approve.execute(run.context)
    asked = handover.question(run.context)
    assert (asked.release_id, asked.digest, asked.serving) == (OFFERED, DIGEST, SERVING)


def test_it_never_asks_under_the_card_of_an_earlier_question(outside, approve):
    """A cleared task keeps its first card in Airflow: a person would say yes to what is not there any more."""
    outside.card = ("Promote another release of llama?", "its evidence")
    run = Run("approve_release")
    run.ti.id = "one"
    with pytest.raises(AirflowFailException, match="start a new run"):
        approve.execute(run.context)


def test_a_yes_passes_through_and_decides_nothing_yet(outside, approve):
    said = approve.execute_complete(context(approve), answer("Approve"))
    assert said["chosen_options"] == ["Approve"]
    assert said["responded_by_user"] == ALICE
    assert DecisionsHook("llama").read().decisions == ()


def test_a_no_is_remembered_with_who_said_it_before_the_rest_is_skipped(outside):
    with DAG("refresh__llama", schedule=None):
        asking = ApproveReleaseOperator(task_id="approve_release", model=model())
        asking >> EmptyOperator(task_id="promote_release")
    with pytest.raises(DownstreamTasksSkipped):
        asking.execute_complete(context(asking), answer("Reject"))
    (decision,) = DecisionsHook("llama").read().decisions
    assert (decision.outcome, decision.by) == (Outcome.REJECTED, "alice")
    assert (decision.release_id, decision.digest, decision.run_id) == (OFFERED, DIGEST, "manual__1")


def test_nobody_answering_fails_for_good_and_decides_nothing(outside, approve):
    with pytest.raises(AirflowFailException, match="Nobody answered within 3 days"):
        approve.execute_complete(context(approve), {"error": "timed out", "error_type": "timeout"})
    assert DecisionsHook("llama").read().decisions == ()


def test_any_other_error_decides_nothing(outside, approve):
    with pytest.raises(HITLTriggerEventError):
        approve.execute_complete(context(approve), {"error": "lost", "error_type": "unexpected"})
    assert DecisionsHook("llama").read().decisions == ()


def test_an_answer_that_was_not_offered_is_no_yes(outside, approve):
    with pytest.raises(ValueError, match="not in"):
        approve.execute_complete(context(approve), answer("approve"))


def test_a_no_that_cannot_be_remembered_is_still_no_yes(outside, approve):
    outside.variables["model_refresh__llama__decisions"] = "nonsense"
    with pytest.raises(AirflowFailException, match="BadConfig"):
        approve.execute_complete(context(approve), answer("Reject"))


def test_a_lost_task_asks_once_more_and_no_default_answers_for_anybody(approve):
    assert approve.retries == 1
    assert approve.defaults is None
    assert approve.response_timeout == model().approval.timeout
    assert approve.assigned_users == [{"id": "alice", "name": "alice"}]
    assert ApproveReleaseOperator(task_id="x", model=model()).assigned_users is None


def test_an_answer_without_a_name_names_nobody():
    assert responder({"responded_by_user": None}) == ""
    assert responder({}) == ""
    assert responder({"responded_by_user": ALICE}) == "alice"
