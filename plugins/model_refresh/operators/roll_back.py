"""``roll_back``: back to the release that served before, when the promotion or its rollout failed."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from model_refresh import handover
from model_refresh.config import ModelConfig
from model_refresh.domain.decisions import Outcome
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.failing import refresh_errors
from model_refresh.hooks.connect import serving_hook
from model_refresh.hooks.decisions import DecisionsHook
from model_refresh.hooks.deployment import ServingDeployment
from model_refresh.names import APPROVE_RELEASE
from model_refresh.operators.approve import responder
from model_refresh.sensors.rollout import derived_deadline, require_arrival, rollout_trigger


class RollBackOperator(BaseOperator):
    """Puts the annotation back and watches the old release arrive; the run fails all the same.

    Airflow starts it after any failure upstream of the promotion too (``one_failed`` counts ``upstream_failed``),
    so it first makes sure that something was switched at all.

    Args:
        model: the model.
    """

    def __init__(self, *, model: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    def execute(self, context: Any) -> None:
        """Switch back, unless there is nothing to switch back from."""
        model = self.model
        switch = handover.switch(context)
        if switch is None:
            raise AirflowSkipException("Nothing was promoted, so there is nothing to roll back.")
        with refresh_errors():
            hook = serving_hook(model)
            deployment = hook.get(model.deployment)
            _require_nobody_stepped_in(deployment, switch)
            if deployment.view.release == switch.after:
                hook.switch(
                    model.deployment,
                    switch.before,
                    check=lambda current: _require_nobody_stepped_in(current, switch),
                    force=True,
                )
                self.log.warning("Deployment %s: back from %s to %s.", model.deployment, switch.after, switch.before)
                self._remember(switch.after, context)
            deadline = model.rollout.deadline or derived_deadline(context)
        if switch.before is None:
            # Nothing served before, so nothing can arrive: the pods wait for the first release again.
            return
        self.defer(trigger=rollout_trigger(model, switch.before, deadline), method_name="conclude")

    def _remember(self, release_id: str, context: Any) -> None:
        """Keep the release from being offered again by itself.

        The old release is on its way back by now; a record that cannot be written must not stop that, and only
        means that a person is asked about the release once more.
        """
        try:
            DecisionsHook(self.model.name).add(
                Outcome.ROLLED_BACK,
                release_id=release_id,
                digest=handover.evidence(context).digest,
                run_id=context["run_id"],
                by=responder(context["ti"].xcom_pull(task_ids=APPROVE_RELEASE) or {}),
                note="the promotion or its rollout failed",
            )
        except Exception:  # whatever Airflow's API raises, see above
            self.log.exception("The roll back could not be recorded; the schedule may offer %s again.", release_id)

    def conclude(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow passes it
        """Make sure that the old release serves again."""
        with refresh_errors():
            return require_arrival(self.model, event)


def _require_nobody_stepped_in(deployment: ServingDeployment, switch: handover.Switch) -> None:
    named = deployment.view.release
    if named not in {switch.after, switch.before}:
        raise RefreshError(
            Reason.ROLLOUT_FAILED,
            f"Deployment {deployment.view.name} names {named}, which is neither {switch.after} nor {switch.before}: "
            "somebody stepped in, and is not overruled.",
            mend="Look at the Deployment; promote the release you want by hand.",
        )
