"""The bucket as the loader sees it: what is listed under a prefix now."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from model_refresh.contract import PinnedRelease
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.manifest import Manifest, ManifestFile
from model_refresh.domain.release import ListedObject, Source, find_releases
from model_refresh.listing import list_objects

if TYPE_CHECKING:
    from google.cloud.storage import Client

_SHOWN = 5
"""Paths named in a message; more would not be read."""


class Bucket(Protocol):
    """What the loader needs of a bucket."""

    def list(self, url: str) -> list[ListedObject]:
        """All live objects under ``gs://bucket/prefix/``.

        Raises:
            RefreshError: ``SourceMissing`` without such a bucket, ``PermissionDenied`` where it may not be read.
        """


class CloudBucket:
    """Cloud Storage, or the emulator that STORAGE_EMULATOR_HOST names."""

    def list(self, url: str) -> list[ListedObject]:
        """See ``Bucket``."""
        with closing(_client()) as client:
            return list_objects(client, Source.parse(url))


def _client() -> Client:
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415 - half a second that copy pods do not need
    from google.cloud.storage import Client  # noqa: PLC0415 - half a second that copy pods do not need

    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return Client(project="emulator", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call] # google-auth's
    # The project is asked for by the client, and used by nothing that reads objects.
    return Client(project=os.environ.get("GOOGLE_CLOUD_PROJECT", "unused"))


def pin_again(bucket: Bucket, release: PinnedRelease, *, known: Manifest | None = None) -> Manifest:
    """The release as it is in the bucket now, which must be the very one that was pinned.

    Args:
        bucket: where it is.
        release: which one.
        known: the pinned manifest where there is one, to say what differs.

    Raises:
        RefreshError: ``GenerationDrift`` when it differs in any object; ``SourceMissing`` when it is gone.
    """
    parent, folder = release.prefix.rstrip("/").rsplit("/", 1)
    # One that is being overwritten since has drifted: that says more than that it is not complete.
    found, refused = find_releases(
        Source.parse(parent), bucket.list(release.prefix), marker=release.marker, overwritten=True
    )
    for folder_now in refused:
        raise folder_now.error
    if not found:
        mark = f" with its marker {release.marker!r}" if release.marker else ""
        raise RefreshError(Reason.SOURCE_MISSING, f"{release.prefix} is not in the bucket{mark}.")
    manifest = found[0].manifest
    if manifest.digest != release.digest:
        what = f" ({differences(known, manifest)})" if known is not None else ""
        raise RefreshError(
            Reason.GENERATION_DRIFT,
            f"{release.prefix} was pinned as {release.release_id}, and is {folder}-{manifest.digest[:12]} now{what}.",
        )
    return manifest


def differences(pinned: Manifest, now: Manifest) -> str:
    """Which paths differ, for a person; the first few by name."""
    before = {file.path: file for file in pinned.files}
    after = {file.path: file for file in now.files}
    changes = [
        *(f"{path} overwritten" for path in before.keys() & after.keys() if before[path] != after[path]),
        *(f"{path} deleted" for path in before.keys() - after.keys()),
        *(f"{path} added" for path in after.keys() - before.keys()),
    ]
    shown = ", ".join(sorted(changes)[:_SHOWN])
    return f"{shown} and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else shown


def live_files(bucket: Bucket, manifest: Manifest) -> dict[str, ManifestFile]:
    """The manifest's files as they are in the bucket now; a deleted one is missing."""
    wanted = {file.path for file in manifest.files}
    _, _, inside = manifest.prefix.removeprefix("gs://").partition("/")
    live: dict[str, ManifestFile] = {}
    for listed in bucket.list(manifest.prefix):
        path = listed.name.removeprefix(inside)
        if path in wanted:
            live[path] = ManifestFile(path=path, generation=listed.generation, size=listed.size, crc32c=listed.crc32c)
    return live
