"""``wait_for_release``: the newest complete release that nobody has decided about yet."""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from model_refresh import handover
from model_refresh.config import ModelConfig
from model_refresh.contract import PinnedRelease
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.failing import refresh_errors
from model_refresh.hooks.connect import bucket_hook, serving_hook
from model_refresh.hooks.decisions import DecisionsHook
from model_refresh.settings import get_settings
from model_refresh.triggers.release import ReleaseSearch, ReleaseTrigger


class WaitForReleaseSensor(BaseOperator):
    """Looks once, at once; then leaves the looking to the triggerer. Skips the run when nothing comes.

    It also makes sure that the Deployment is wired for promotions, before the first byte is copied.

    Args:
        model: the model.
    """

    def __init__(self, *, model: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    def execute(self, context: Any) -> dict[str, Any]:
        """Check the Deployment, look once, defer when there is nothing yet."""
        model = self.model
        if context["dag_run"].run_type == "backfill":
            # Airflow does not count backfills among the DAG's active runs, and two runs of a model must never meet.
            raise AirflowSkipException("A backfill has no past releases to look for; trigger the DAG instead.")
        wanted = context["params"]["release"]
        with refresh_errors():
            deployment = serving_hook(model).check_wiring(model.deployment, model=model.name, claim=model.claim)
            serving = deployment.view.release
            decided = sorted(DecisionsHook(model.name).read().decided)
            search = ReleaseSearch(model, bucket_hook(), serving=serving, decided=decided, wanted=wanted)
            found = search.look()
        if found is not None:
            return self._offer(found, serving)
        detection = model.detection
        wait = detection.wait if detection.marker else detection.wait + detection.settle
        self.log.info("Nothing to offer besides %s yet; looking on for %s.", serving, wait)
        raise TaskDeferred(
            trigger=ReleaseTrigger(
                model=model.model_dump(mode="json", by_alias=True),
                gcp_conn_id=get_settings().gcp_conn_id,
                serving=serving,
                decided=decided,
                wanted=wanted,
                until=time.time() + wait.total_seconds(),
            ),
            method_name="go_on",
            kwargs={"serving": serving},
        )

    def go_on(self, context: Any, event: dict[str, Any], serving: str | None) -> dict[str, Any]:
        """Offer what the trigger found."""
        if "error" in event:
            with refresh_errors():
                said = event["error"]
                raise RefreshError(Reason(said["reason"]), said["message"], mend=said["mend"])
        if event["release"] is None:
            wanted = context["params"]["release"]
            if wanted is not None:
                with refresh_errors():
                    raise RefreshError(
                        Reason.SOURCE_MISSING, f"No complete release {wanted!r} below {self.model.source}."
                    )
            raise AirflowSkipException(
                f"No new release below {self.model.source}; {serving or 'nothing'} goes on serving."
            )
        return self._offer(PinnedRelease.model_validate(event["release"]), serving)

    def _offer(self, release: PinnedRelease, serving: str | None) -> dict[str, Any]:
        if release.release_id == serving:
            raise AirflowSkipException(f"{serving} is what the Deployment serves already.")
        self.log.info("Offering %s (digest %s) over %s.", release.release_id, release.digest, serving)
        return handover.dump(handover.Offer(release=release, serving=serving))
