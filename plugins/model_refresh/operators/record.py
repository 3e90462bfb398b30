"""``record``: writes the promotion down and tells the rest of Airflow that the model serves another release."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, BaseOperator

from model_refresh import handover
from model_refresh.config import ModelConfig
from model_refresh.domain.decisions import Outcome
from model_refresh.failing import refresh_errors
from model_refresh.hooks.decisions import DecisionsHook
from model_refresh.names import APPROVE_RELEASE
from model_refresh.operators.approve import responder


class RecordOperator(BaseOperator):
    """Emits the model's asset event.

    Args:
        model: the model.
        asset: the asset ``model://<name>``.
    """

    def __init__(self, *, model: ModelConfig, asset: Asset, **kwargs: Any) -> None:
        super().__init__(outlets=[asset], **kwargs)
        self.model = model
        self.asset = asset

    def execute(self, context: Any) -> dict[str, Any]:
        """Keep the decision and fill the event."""
        evidence = handover.evidence(context)
        by = responder(context["ti"].xcom_pull(task_ids=APPROVE_RELEASE) or {})
        with refresh_errors():
            decision = DecisionsHook(self.model.name).add(
                Outcome.PROMOTED,
                release_id=evidence.release_id,
                digest=evidence.digest,
                run_id=context["run_id"],
                by=by,
            )
        said = {
            "release": evidence.release_id,
            "digest": evidence.digest,
            "before": evidence.serving,
            "approved_by": by,
            "at": decision.at.isoformat(),
            "size": evidence.size,
            "copied_bytes": evidence.copied_bytes,
            "copy_seconds": evidence.copy_seconds,
            "verify_seconds": evidence.verify_seconds,
        }
        context["outlet_events"][self.asset].extra.update(said)
        return said
