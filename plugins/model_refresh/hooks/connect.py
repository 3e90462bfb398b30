"""Makes each hook with the connections that this Airflow deployment has set."""

from __future__ import annotations

from model_refresh.config import ModelConfig
from model_refresh.hooks.bucket import BucketHook
from model_refresh.hooks.deployment import DeploymentHook
from model_refresh.settings import get_settings


def serving_hook(config: ModelConfig) -> DeploymentHook:
    """The way to the Deployment of a model."""
    settings = get_settings()
    return DeploymentHook(settings.kubernetes_conn_id, config.namespace or settings.namespace)


def bucket_hook() -> BucketHook:
    """The way to the releases."""
    return BucketHook(get_settings().gcp_conn_id)
