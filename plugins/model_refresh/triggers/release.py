"""Looks for a release again and again, in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from model_refresh.config import ModelConfig
from model_refresh.contract import PinnedRelease
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.release import (
    Release,
    Sighting,
    choose_release,
    find_releases,
    is_settled,
    named_release,
)
from model_refresh.hooks.bucket import BucketHook
from model_refresh.triggers import PARKED_SECONDS


class ReleaseSearch:
    """One search for a release: what was seen so far, and what to offer.

    Args:
        config: the model.
        bucket: where to look.
        serving: release id that the Deployment names now.
        decided: digests that are not offered again, unless asked for by name.
        wanted: folder name or release id that a person asked for; None for the newest.
    """

    def __init__(
        self,
        config: ModelConfig,
        bucket: BucketHook,
        *,
        serving: str | None,
        decided: Sequence[str],
        wanted: str | None,
    ) -> None:
        self._config = config
        self._bucket = bucket
        self._serving = serving
        self._decided = frozenset(decided)
        self._wanted = wanted
        self._sighting: Sighting | None = None

    def look(self) -> PinnedRelease | None:
        """List the bucket once; the release to offer, or None when there is none yet.

        Raises:
            RefreshError: when the bucket cannot be listed, or holds folders that cannot be pinned and nothing
                to offer besides.
        """
        marker = self._config.detection.marker
        source = self._config.parsed_source
        releases, errors = find_releases(source, self._bucket.list_objects(source), marker=marker)
        chosen = self._choose(releases)
        if chosen is None:
            if errors:
                raise errors[0]
            return None
        if marker is None and not self._settled(chosen):
            return None
        manifest = chosen.manifest
        return PinnedRelease(
            release_id=manifest.release_id,
            digest=manifest.digest,
            prefix=manifest.prefix,
            marker=marker,
            marker_generation=chosen.marker_generation,
        )

    def _choose(self, releases: list[Release]) -> Release | None:
        if self._wanted is None:
            return choose_release(releases, serving=self._serving, decided=self._decided)
        try:
            return named_release(releases, self._wanted)
        except RefreshError as error:
            if error.reason is Reason.SOURCE_MISSING:
                return None
            raise

    def _settled(self, release: Release) -> bool:
        now = datetime.now(UTC)
        if is_settled(self._sighting, release, now=now, settle=self._config.detection.settle):
            return True
        if self._sighting is None or self._sighting.digest != release.manifest.digest:
            self._sighting = Sighting(digest=release.manifest.digest, at=now)
        return False


class ReleaseTrigger(BaseTrigger):
    """Fires with ``{"release": …}``, with ``{"release": None}`` when time is up, or with ``{"error": …}``.

    Args:
        model: the model, as plain data.
        gcp_conn_id: Airflow connection to Cloud Storage.
        serving: see :class:`ReleaseSearch`; ``decided`` and ``wanted`` likewise.
        until: when to give up, as seconds since the epoch.
    """

    def __init__(
        self,
        *,
        model: dict[str, Any],
        gcp_conn_id: str,
        serving: str | None,
        decided: list[str],
        wanted: str | None,
        until: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's own
        self.model = model
        self.gcp_conn_id = gcp_conn_id
        self.serving = serving
        self.decided = decided
        self.wanted = wanted
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Every argument, so that the triggerer can make it again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "model": self.model,
                "gcp_conn_id": self.gcp_conn_id,
                "serving": self.serving,
                "decided": self.decided,
                "wanted": self.wanted,
                "until": self.until,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, sleep, look again."""
        config = ModelConfig.model_validate(self.model)
        pause = config.detection.poll.total_seconds()
        deadline = datetime.fromtimestamp(self.until, UTC)
        # Clients and connections are synchronous; a thread keeps them off the triggerer's loop.
        bucket = await sync_to_async(BucketHook, thread_sensitive=False)(self.gcp_conn_id)
        search = ReleaseSearch(config, bucket, serving=self.serving, decided=self.decided, wanted=self.wanted)
        look = sync_to_async(search.look, thread_sensitive=False)
        while True:
            # Before the first look too: the sensor has just looked, and a task that resumes within a second of
            # parking is taken for a killed one (docs/adr/0011-quick-resumes.md).
            await asyncio.sleep(max(pause, PARKED_SECONDS))
            try:
                found = await look()
            except RefreshError as error:
                yield TriggerEvent({"error": {"reason": error.reason, "message": error.message, "mend": error.mend}})
                return
            if found is not None:
                yield TriggerEvent({"release": found.model_dump(mode="json")})
                return
            if datetime.now(UTC) + timedelta(seconds=pause) > deadline:
                yield TriggerEvent({"release": None})
                return
