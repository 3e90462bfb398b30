"""``approve_release``: a person answers, and the answer is kept whatever it is."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowFailException

from model_refresh import handover
from model_refresh.config import ModelConfig
from model_refresh.domain.decisions import Outcome
from model_refresh.failing import refresh_errors
from model_refresh.hooks.clients import clients
from model_refresh.hooks.decisions import DecisionsHook
from model_refresh.names import GATHER_EVIDENCE
from model_refresh.operators.evidence import CARD_KEY


class ApproveReleaseOperator(ApprovalOperator):
    """Asks; a no skips the promotion and is not asked again, nobody answering fails the run.

    Args:
        model: the model.
    """

    def __init__(self, *, model: ModelConfig, **kwargs: Any) -> None:
        super().__init__(
            subject=f"Promote {{{{ ti.xcom_pull(task_ids='{GATHER_EVIDENCE}')['release_id'] }}}} of {model.name}?",
            body=f"{{{{ ti.xcom_pull(task_ids='{GATHER_EVIDENCE}', key='{CARD_KEY}') }}}}",
            response_timeout=model.approval.timeout,
            assigned_users=[{"id": user, "name": user} for user in model.approval.approvers] or None,
            # Asking again is safe; it only happens when Airflow loses the task (docs/adr/0011-quick-resumes.md).
            retries=1,
            **kwargs,
        )
        self.model = model

    def execute(self, context: Any) -> Any:
        """Write down what is asked about, and ask; but never under the card of an earlier question.

        Raises:
            AirflowFailException: when Airflow would show the card of a question that this run asked before: a
                cleared task keeps its first card, whatever the run is about by now.
        """
        evidence = handover.evidence(context)
        question = handover.Question(release_id=evidence.release_id, digest=evidence.digest, serving=evidence.serving)
        context["ti"].xcom_push(key=handover.QUESTION_KEY, value=handover.dump(question))
        shown = clients().ask(
            {
                "ti_id": context["task_instance"].id,
                "options": self.options,
                "subject": self.subject,
                "body": self.body,
                "multiple": self.multiple,
                "params": self.serialized_params,
                "assigned_users": self.assigned_users or [],
            },
        )
        if shown != (self.subject, self.body):
            raise AirflowFailException(
                "This run has asked before, and Airflow would show that card again instead of this one. Nothing was "
                "asked and nothing promoted: start a new run instead of clearing this one.",
            )
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Keep who answered what, before Airflow acts on it: a rejection leaves nothing else behind."""
        if event.get("error_type") == "timeout":
            raise AirflowFailException(
                f"Nobody answered within {self.model.approval.timeout}, which means no. Nothing was promoted; the "
                "release stays on the volume, and the next run offers it again.",
            )
        if "error" not in event and event["chosen_options"] == [self.REJECT]:
            self._record_rejection(context, event)
        return super().execute_complete(context=context, event=event)

    def _record_rejection(self, context: Any, event: dict[str, Any]) -> None:
        evidence = handover.evidence(context)
        with refresh_errors():
            decision = DecisionsHook(self.model.name).add(
                Outcome.REJECTED,
                release_id=evidence.release_id,
                digest=evidence.digest,
                run_id=context["run_id"],
                by=responder(event),
            )
        context["ti"].xcom_push(key="decision", value=handover.dump(decision))


def responder(answer: dict[str, Any]) -> str:
    """Who answered, by Airflow's user id; empty when Airflow names nobody."""
    user = answer.get("responded_by_user")
    return str(user["id"]) if user else ""
