"""Looks for a release again and again, in the triggerer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from model_refresh.config import ModelConfig
from model_refresh.contract import PinnedRelease
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.release import (
    Refused,
    Release,
    Sighting,
    choose_release,
    find_releases,
    is_folder_of,
    is_settled,
    named_release,
    release_of_folder,
)
from model_refresh.hooks.bucket import BucketHook
from model_refresh.triggers import parked_seconds

log = logging.getLogger(__name__)


class ReleaseSearch:
    """One search for a release: what was seen so far, and what to offer.

    Args:
        config: the model.
        bucket: where to look.
        serving: release id that the Deployment names now.
        decided: digests that are not offered again, unless asked for by name.
        wanted: folder name or release id that a person asked for; None for the newest.
        now: the clock.
    """

    def __init__(
        self,
        config: ModelConfig,
        bucket: BucketHook,
        *,
        serving: str | None,
        decided: Sequence[str],
        wanted: str | None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._config = config
        self._bucket = bucket
        self._serving = serving
        self._decided = frozenset(decided)
        self._wanted = wanted
        self._now = now
        self._sightings: dict[str, Sighting] = {}
        self._told: set[str] = set()

    def look(self) -> PinnedRelease | None:
        """List the bucket once; the release to offer, or None when there is none yet.

        Raises:
            RefreshError: when the bucket cannot be listed, or when there is nothing to offer and a folder that
                cannot be pinned is the wanted one, or is newer than what serves.
        """
        marker = self._config.detection.marker
        source = self._config.parsed_source
        releases, refused = find_releases(source, self._bucket.list_objects(source), marker=marker)
        if marker is None:
            releases = self._complete(releases)
        chosen = self._choose(releases)
        if chosen is None:
            self._explain(releases, refused)
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

    def _explain(self, releases: list[Release], refused: list[Refused]) -> None:
        """Say why there is nothing to offer, if there is more to say than that nothing new came."""
        if self._wanted is not None:
            for folder in refused:
                if is_folder_of(folder.folder, self._wanted):
                    raise folder.error
            return
        serving = release_of_folder(releases, self._serving)
        if self._serving is not None and serving is None:
            self._tell(
                f"Serving release {self._serving} is gone from {self._config.parsed_source}; name a release to go on."
            )
        for folder in refused:
            if self._serving is None or (serving is not None and folder.published > serving.published):
                raise folder.error
            self._tell(f"Passed over folder {folder.folder}: {folder.error}")

    def _tell(self, warning: str) -> None:
        # Once a search: it looks every few seconds.
        if warning not in self._told:
            self._told.add(warning)
            log.warning("%s", warning)

    def _complete(self, releases: list[Release]) -> list[Release]:
        """Those that have settled, each by its own bytes: one that still grows does not hold up another."""
        now, settle = self._now(), self._config.detection.settle
        before = self._sightings
        self._sightings = {}
        complete = []
        for release in releases:
            seen = before.get(release.manifest.prefix)
            if seen is None or seen.digest != release.manifest.digest:
                seen = Sighting(digest=release.manifest.digest, at=now)
            self._sightings[release.manifest.prefix] = seen
            # The serving release stays, settled or not: nothing older than it is offered.
            if is_settled(seen, release, now=now, settle=settle) or release.manifest.release_id == self._serving:
                complete.append(release)
        return complete


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
            # Before the first look too: the sensor has just looked, and a task that resumes within seconds of
            # parking is taken for a killed one (docs/adr/0011-quick-resumes.md).
            await asyncio.sleep(max(pause, parked_seconds()))
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
