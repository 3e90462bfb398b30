"""Which folders of a bucket are complete releases, and which of them to offer next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.manifest import Manifest, ManifestFile


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a model's releases are published: every folder directly below is one.

    Attributes:
        bucket: the bucket's name.
        prefix: object name prefix of all releases; empty, or ends in ``/``.
    """

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Source:
        """Read ``gs://bucket`` or ``gs://bucket/path``, with or without a last slash.

        Raises:
            ValueError: when it is not such a URL.
        """
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.partition("/")
        if scheme != "gs" or not bucket:
            raise ValueError(f"{url!r} is not gs://<bucket>/<folder>")
        prefix = prefix.strip("/")
        return cls(bucket=bucket, prefix=f"{prefix}/" if prefix else "")

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, kw_only=True)
class ListedObject:
    """One object as a bucket's listing gives it.

    Attributes:
        name: full object name.
        created: when this generation was written; time zone aware. Not Cloud Storage's ``updated``, which a change
            of metadata or of the storage class moves too.
    """

    name: str
    generation: int
    size: int
    crc32c: str
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Release:
    """One folder of the bucket, as one listing saw it.

    Attributes:
        manifest: what it holds, pinned.
        marker_generation: generation of the marker object, or None where the source uses no marker.
        published: when its marker, or without one its newest object, was written.
    """

    manifest: Manifest
    marker_generation: int | None
    published: datetime


def find_releases(
    source: Source, objects: Iterable[ListedObject], *, marker: str | None, overwritten: bool = False
) -> tuple[list[Release], list[RefreshError]]:
    """Group a listing into releases, newest first.

    A folder without its marker is not a release yet and is left out, and so is one with a file newer than its
    marker: a publisher is overwriting it. A folder that cannot be pinned (an unsafe name, say) is returned as
    an error, so that it neither hides nor takes away the others.

    Args:
        source: where the objects were listed.
        objects: everything below the source.
        marker: name of the object that a publisher writes last, or None where there is none.
        overwritten: whether a folder that is being overwritten counts all the same.
    """
    folders: dict[str, list[ListedObject]] = defaultdict(list)
    for listed in objects:
        folder, slash, path = listed.name.removeprefix(source.prefix).partition("/")
        if folder and slash and path:
            folders[folder].append(listed)
    releases: list[Release] = []
    errors: list[RefreshError] = []
    for folder, members in folders.items():
        try:
            release = _release(source, folder, members, marker, overwritten=overwritten)
        except RefreshError as error:
            errors.append(error)
        except ValidationError as error:
            # An object without a crc32c, say: nothing that a manifest can pin.
            what = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors())
            errors.append(RefreshError(Reason.UNSAFE_FILE, f"Folder {source}{folder}/ cannot be pinned: {what}."))
        else:
            if release is not None:
                releases.append(release)
    releases.sort(key=lambda release: (release.published, release.manifest.folder), reverse=True)
    return releases, errors


def _release(
    source: Source, folder: str, members: list[ListedObject], marker: str | None, *, overwritten: bool
) -> Release | None:
    inside = f"{source.prefix}{folder}/"
    marks = [member for member in members if member.name == f"{inside}{marker}"] if marker else []
    if marker and not marks:
        return None
    # A console's "new folder" is an empty object whose name ends in a slash; it carries nothing.
    carrying = [m for m in members if m not in marks and not (m.name.endswith("/") and m.size == 0)]
    if marks and not overwritten and any(member.created > marks[0].created for member in carrying):
        return None
    files = [
        ManifestFile(
            path=member.name.removeprefix(inside),
            generation=member.generation,
            size=member.size,
            crc32c=member.crc32c,
        )
        for member in carrying
    ]
    return Release(
        manifest=Manifest.pin(f"gs://{source.bucket}/{inside}", files),
        marker_generation=marks[0].generation if marks else None,
        published=marks[0].created if marks else max(member.created for member in members),
    )


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """When a release without a marker was first seen with exactly these bytes."""

    digest: str
    at: datetime


def is_settled(sighting: Sighting | None, release: Release, *, now: datetime, settle: timedelta) -> bool:
    """The settle rule: two equal listings at least ``settle`` apart make a release without marker complete."""
    return sighting is not None and sighting.digest == release.manifest.digest and now - sighting.at >= settle


def choose_release(releases: Iterable[Release], *, serving: str | None, decided: Collection[str]) -> Release | None:
    """The newest release that is neither promoted nor turned down, or None.

    Only what is newer than the serving release is offered: going back is a person's decision.

    Args:
        releases: newest first.
        serving: release id that the Deployment names now.
        decided: digests that a person or a rollout has already decided about.
    """
    for release in releases:
        if release.manifest.release_id == serving:
            return None
        if release.manifest.digest not in decided:
            return release
    return None


def named_release(releases: Iterable[Release], name: str) -> Release:
    """The release that a person asked for, by folder name or release id.

    Raises:
        RefreshError: ``SourceMissing``, listing the names there are.
    """
    known = list(releases)
    for release in known:
        if name in {release.manifest.folder, release.manifest.release_id}:
            return release
    names = ", ".join(release.manifest.folder for release in known[:10]) or "none"
    raise RefreshError(Reason.SOURCE_MISSING, f"No complete release {name!r}; complete ones: {names}.")
