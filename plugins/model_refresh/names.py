"""Every name that others see and must not change lightly: DAG and task ids, labels, annotations, assets."""

from __future__ import annotations

from typing import Final

RELEASE_ANNOTATION: Final = "model-refresh/release"
"""Annotation of the Deployment's pod template that names the release to serve."""
FIELD_MANAGER: Final = "model-refresh"
"""Who the API server says owns that annotation."""
MODEL_LABEL: Final = "model-refresh/model"
STEP_LABEL: Final = "model-refresh/step"

WAIT_FOR_RELEASE: Final = "wait_for_release"
PLAN_COPY: Final = "plan_copy"
COPY_SHARD: Final = "copy_shard"
VERIFY_SHARD: Final = "verify_shard"
PUBLISH_RELEASE: Final = "publish_release"
GATHER_EVIDENCE: Final = "gather_evidence"
APPROVE_RELEASE: Final = "approve_release"
PROMOTE_RELEASE: Final = "promote_release"
WATCH_ROLLOUT: Final = "watch_rollout"
ROLL_BACK: Final = "roll_back"
PRUNE_RELEASES: Final = "prune_releases"
RECORD: Final = "record"


def refresh_dag_id(model: str) -> str:
    """The DAG that refreshes a model."""
    return f"refresh__{model}"


def asset_uri(model: str) -> str:
    """The asset that is updated when a model serves another release."""
    return f"model://{model}"


def decisions_variable(model: str) -> str:
    """The Airflow Variable that holds what was decided about a model's releases."""
    return f"model_refresh__{model}__decisions"
