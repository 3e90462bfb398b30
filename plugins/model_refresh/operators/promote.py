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


class PromoteReleaseOperator(BaseOperator):
    """One server-side apply of one annotation, on the Deployment as it was approved and no other.

    Args:
        model: the model.
    """

    def __init__(self, *, model: ModelConfig, **kwargs: Any) -> None:
        # A second try would forget what the first one wrote down (Airflow clears a task's XComs when it starts),
        # and roll_back would take a switched Deployment for an untouched one.
        super().__init__(retries=0, **kwargs)
        self.model = model

    def execute(self, context: Any) -> None:
        """Check, write down what is about to happen, switch."""
        with refresh_errors():
            _require_yes(context)
            evidence = handover.evidence(context)
            _require_same_release(evidence, context)
            hook = serving_hook(self.model)
            deployment = hook.check_wiring(self.model.deployment, model=self.model.name, claim=self.model.claim)
            _require_same_serving(evidence, deployment)
            switch = handover.Switch(before=evidence.serving, after=evidence.release_id)
            # Before the switch, not after: whatever happens from here on, roll_back knows the way.
            context["ti"].xcom_push(key=handover.SWITCH_KEY, value=handover.dump(switch))
            hook.apply_release(self.model.deployment, evidence.release_id, resource_version=deployment.resource_version)
        self.log.info("Deployment %s: %s -> %s.", self.model.deployment, switch.before, switch.after)


def _require_yes(context: Any) -> None:
    answer = context["ti"].xcom_pull(task_ids=APPROVE_RELEASE)
    if not answer or answer.get("chosen_options") != ["Approve"]:
        raise RefreshError(Reason.STALE_APPROVAL, "There is no approval on record; nothing is promoted without.")


def _require_same_release(evidence: Evidence, context: Any) -> None:
    pinned, published = handover.offer(context).release, handover.publication(context)
    names = [f"{each.release_id} (digest {each.digest})" for each in (pinned, published, evidence)]
    if len(set(names)) > 1:
        raise RefreshError(
            Reason.STALE_APPROVAL,
            f"Pinned was {names[0]}, published {names[1]}, approved {names[2]}: they must be one.",
        )


def _require_same_serving(evidence: Evidence, deployment: ServingDeployment) -> None:
    if deployment.view.release != evidence.serving:
        raise RefreshError(
            Reason.STALE_APPROVAL,
            f"Approved was the step from {evidence.serving} to {evidence.release_id}, but Deployment "
            f"{deployment.view.name} names {deployment.view.release} by now.",
        )
