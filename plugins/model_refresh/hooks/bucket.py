"""Looks for releases in Cloud Storage through Airflow's own connection."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from model_refresh.domain.release import ListedObject, Source
from model_refresh.hooks.clients import clients
from model_refresh.listing import list_objects

if TYPE_CHECKING:
    from google.cloud.storage import Client


class BucketHook:
    """Cloud Storage, as one Airflow connection sees it.

    Args:
        gcp_conn_id: Airflow connection of type ``google_cloud_platform``.
    """

    def __init__(self, gcp_conn_id: str) -> None:
        self._conn_id = gcp_conn_id

    @cached_property
    def _client(self) -> Client:
        return clients().storage(self._conn_id)

    def list_objects(self, source: Source) -> list[ListedObject]:
        """Everything below a source; see :func:`model_refresh.listing.list_objects`."""
        return list_objects(self._client, source)
