"""Looks for releases in Cloud Storage through Airflow's own connection."""

from __future__ import annotations

from model_refresh.domain.release import ListedObject, Source
from model_refresh.listing import list_objects


class BucketHook:
    """Cloud Storage, as one Airflow connection sees it.

    Args:
        gcp_conn_id: Airflow connection of type ``google_cloud_platform``.
    """

    def __init__(self, gcp_conn_id: str) -> None:
        from airflow.providers.google.cloud.hooks.gcs import GCSHook

        self._hook = GCSHook(gcp_conn_id=gcp_conn_id)

    def list_objects(self, source: Source) -> list[ListedObject]:
        """Everything below a source; see :func:`model_refresh.listing.list_objects`."""
        return list_objects(self._hook.get_conn(), source)
