"""Watches a rollout from the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.rollout import Outcome, Verdict, judge
from model_refresh.hooks.deployment import DeploymentHook
from model_refresh.triggers import parked_seconds

_BLIND_LOOKS = 5
"""Looks in a row that may fail: an API server's restart is not a failed rollout."""
_LOOK_SECONDS = 120
"""Longest that one look may take: each of its calls has a time limit of its own, but they add up."""


class RolloutTrigger(BaseTrigger):
    """Fires once, with ``{"outcome": …, "reason": …, "detail": …}`` of the final verdict.

    Args:
        kubernetes_conn_id: Airflow connection to the cluster.
        namespace: where the Deployment lives.
        deployment: its name.
        release_id: what it is to serve; None after a roll back to nothing.
        until: when to give up, as seconds since the epoch.
        patience: seconds that a pod may be unschedulable or unable to mount.
        poll: seconds between two looks.
    """

    def __init__(
        self,
        *,
        kubernetes_conn_id: str,
        namespace: str,
        deployment: str,
        release_id: str | None,
        until: float,
        patience: float,
        poll: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's own
        self.kubernetes_conn_id = kubernetes_conn_id
        self.namespace = namespace
        self.deployment = deployment
        self.release_id = release_id
        self.until = until
        self.patience = patience
        self.poll = poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Every argument, so that the triggerer can make it again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "kubernetes_conn_id": self.kubernetes_conn_id,
                "namespace": self.namespace,
                "deployment": self.deployment,
                "release_id": self.release_id,
                "until": self.until,
                "patience": self.patience,
                "poll": self.poll,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the verdict is final or time is up."""
        hook = DeploymentHook(self.kubernetes_conn_id, self.namespace)
        # Clients and connections are synchronous; a thread keeps them off the triggerer's loop.
        look = sync_to_async(self._look, thread_sensitive=False)
        blind = 0
        last = ""
        # A task that resumes within seconds of parking is taken for a killed one (docs/adr/0011-quick-resumes.md).
        await asyncio.sleep(parked_seconds())
        while True:
            try:
                verdict = await self._see(look(hook))
                blind = 0
            except RefreshError as error:
                blind += 1
                verdict = Verdict(outcome=Outcome.PROGRESSING, detail=str(error))
                if blind >= _BLIND_LOOKS:
                    verdict = Verdict(outcome=Outcome.FAILED, reason=error.reason, detail=str(error))
            if verdict.outcome is Outcome.PROGRESSING and datetime.now(UTC).timestamp() >= self.until:
                verdict = Verdict(
                    outcome=Outcome.FAILED, reason="DeadlineExceeded", detail=f"Time is up; last seen: {verdict.detail}"
                )
            if verdict.outcome is not Outcome.PROGRESSING:
                yield TriggerEvent(
                    {"outcome": verdict.outcome.value, "reason": verdict.reason, "detail": verdict.detail}
                )
                return
            if verdict.detail != last:
                self.log.info("%s: %s", self.deployment, verdict.detail)
                last = verdict.detail
            await asyncio.sleep(self.poll)

    @staticmethod
    async def _see(look: Awaitable[Verdict]) -> Verdict:
        try:
            return await asyncio.wait_for(look, _LOOK_SECONDS)
        except TimeoutError as error:
            raise RefreshError(Reason.UNEXPECTED, f"A look at the cluster took over {_LOOK_SECONDS} s.") from error

    def _look(self, hook: DeploymentHook) -> Verdict:
        deployment = hook.get(self.deployment)
        return judge(
            deployment.view,
            hook.pods(deployment, self.release_id),
            release=self.release_id,
            now=datetime.now(UTC),
            patience=timedelta(seconds=self.patience),
        )
