"""``promote_release``: checks that what was approved is still true, then switches the Deployment."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator

from model_refresh import handover
from model_refresh.config import ModelConfig
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.evidence import Evidence
from model_refresh.failing import refresh_errors
from model_refresh.hooks.connect import serving_hook
from model_refresh.hooks.deployment import ServingDeployment
from model_refresh.names import APPROVE_RELEASE
from model_refresh.operators.approve import responder


class PromoteReleaseOperator(BaseOperator):
    """One server-side apply of one annotation, on the Deployment as it was approved and no other.

    Args:
        model: the model.
    """

    def __init__(self, *, model: ModelConfig, **kwargs: Any) -> None:
        # A second try would forget what the first one wrote down (Airflow clears a task's XComs when it starts).
        super().__init__(retries=0, **kwargs)
        self.model = model

    def execute(self, context: Any) -> None:
        """Check, write down what is about to happen, switch."""
        model = self.model
        with refresh_errors():
            evidence = handover.evidence(context)
            _require_yes(model, context)
            _require_same_release(evidence, context)
            hook = serving_hook(model)
            deployment = hook.check_wiring(model.deployment, model=model.name, claim=model.claim)
            switch = handover.Switch(before=evidence.serving, after=evidence.release_id)
            switched = deployment.view.release == switch.after
            if not switched:
                _require_same_serving(evidence, deployment)
            # Before the switch, not after: whatever happens from here on, roll_back knows the way.
            context["ti"].xcom_push(key=handover.SWITCH_KEY, value=handover.dump(switch))
            if switched:
                # An earlier start of this very task got that far and was lost or cleared; the rollout is watched.
                self.log.warning("Deployment %s names %s already.", model.deployment, switch.after)
                return
            hook.switch(model.deployment, switch.after, check=lambda current: _require_same_serving(evidence, current))
        self.log.info("Deployment %s: %s -> %s.", model.deployment, switch.before, switch.after)


def _require_yes(model: ModelConfig, context: Any) -> None:
    answer = context["ti"].xcom_pull(task_ids=APPROVE_RELEASE)
    if not answer or answer.get("chosen_options") != ["Approve"]:
        raise RefreshError(Reason.STALE_APPROVAL, "There is no approval on record; nothing is promoted without.")
    approvers = model.approval.approvers
    # Airflow checks it too, but not in every mode, and against the list of the day when it asked.
    if approvers and responder(answer) not in approvers:
        raise RefreshError(
            Reason.STALE_APPROVAL,
            f"{responder(answer) or 'Somebody without a name'} approved, who is not one of {', '.join(approvers)}.",
        )


def _require_same_release(evidence: Evidence, context: Any) -> None:
    pinned, published, asked = (
        handover.offer(context).release,
        handover.publication(context),
        handover.question(context),
    )
    names = [f"{each.release_id} (digest {each.digest})" for each in (pinned, published, asked, evidence)]
    if len(set(names)) > 1 or asked.serving != evidence.serving:
        raise RefreshError(
            Reason.STALE_APPROVAL,
            f"Pinned was {names[0]}, published {names[1]}, approved {names[2]} over {asked.serving}, and the evidence "
            f"is about {names[3]} over {evidence.serving}: they must be one.",
        )


def _require_same_serving(evidence: Evidence, deployment: ServingDeployment) -> None:
    if deployment.view.release != evidence.serving:
        raise RefreshError(
            Reason.STALE_APPROVAL,
            f"Approved was the step from {evidence.serving} to {evidence.release_id}, but Deployment "
            f"{deployment.view.name} names {deployment.view.release} by now.",
        )
