"""``watch_rollout``: waits until every replica serves the promoted release, or says why it never will."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator

from model_refresh import handover
from model_refresh.config import ModelConfig
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.rollout import Outcome, rollout_deadline
from model_refresh.failing import refresh_errors
from model_refresh.settings import get_settings
from model_refresh.triggers.rollout import RolloutTrigger


class RolloutSensor(BaseOperator):
    """Watches the Deployment from the triggerer.

    Args:
        model: the model.
    """

    def __init__(self, *, model: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    def execute(self, context: Any) -> None:
        """Hand the watching to the triggerer."""
        with refresh_errors():
            switch = handover.switch(context)
            if switch is None:
                raise RefreshError(Reason.UNEXPECTED, "Nothing was promoted, so there is no rollout to watch.")
            deadline = self.model.rollout.deadline or derived_deadline(context)
        self.log.info("Release %s has %s to arrive.", switch.after, deadline)
        self.defer(trigger=rollout_trigger(self.model, switch.after, deadline), method_name="conclude")

    def conclude(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow passes it
        """Return the verdict, or fail with the pods' own reason."""
        with refresh_errors():
            return require_arrival(self.model, event)


def rollout_trigger(model: ModelConfig, release_id: str | None, deadline: timedelta) -> RolloutTrigger:
    """The trigger that watches a model's Deployment arrive at a release."""
    settings = get_settings()
    return RolloutTrigger(
        kubernetes_conn_id=settings.kubernetes_conn_id,
        namespace=model.namespace or settings.namespace,
        deployment=model.deployment,
        release_id=release_id,
        until=time.time() + deadline.total_seconds(),
        patience=model.rollout.patience.total_seconds(),
        poll=model.rollout.poll.total_seconds(),
    )


def derived_deadline(context: Any) -> timedelta:
    """A deadline from the speed at which the volume was read back; see :func:`rollout_deadline`."""
    forecast = handover.evidence(context).forecast
    return rollout_deadline(forecast.load, replicas=forecast.replicas)


def require_arrival(model: ModelConfig, event: dict[str, Any]) -> dict[str, Any]:
    """The verdict of a rollout that arrived.

    Raises:
        RefreshError: ``RolloutFailed`` with the cluster's own word and message otherwise.
    """
    if event["outcome"] != Outcome.DONE:
        raise RefreshError(
            Reason.ROLLOUT_FAILED, f"Deployment {model.deployment}: {event['reason']}: {event['detail']}"
        )
    return event
