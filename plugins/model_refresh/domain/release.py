"""Which folders of a bucket are complete releases, and which of them to offer next."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
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


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A folder that cannot be pinned.

    Attributes:
        published: as a release's.
        error: what is wrong with it.
    """

    folder: str
    published: datetime
    error: RefreshError


def find_releases(
    source: Source, objects: Iterable[ListedObject], *, marker: str | None, overwritten: bool = False
) -> tuple[list[Release], list[Refused]]:
    """Group a listing into releases, newest first.

    A folder without its marker is not a release yet and is left out, and so is one with a file newer than its
    marker: a publisher is overwriting it. A folder that cannot be pinned (an unsafe name, say) is returned
    with its error, so that it neither hides nor takes away the others.

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
    refused: list[Refused] = []
    for folder, members in folders.items():
        found = _release(source, folder, members, marker, overwritten=overwritten)
        if isinstance(found, Release):
            releases.append(found)
        elif found is not None:
            refused.append(found)
    releases.sort(key=lambda release: (release.published, release.manifest.folder), reverse=True)
    return releases, refused


def _release(
    source: Source, folder: str, members: list[ListedObject], marker: str | None, *, overwritten: bool
) -> Release | Refused | None:
    inside = f"{source.prefix}{folder}/"
    marks = [member for member in members if member.name == f"{inside}{marker}"] if marker else []
    if marker and not marks:
        return None
    # A console's "new folder" is an empty object whose name ends in a slash; it carries nothing.
    carrying = [m for m in members if m not in marks and not (m.name.endswith("/") and m.size == 0)]
    if marks and not overwritten and any(member.created > marks[0].created for member in carrying):
        return None
    published = marks[0].created if marks else max(member.created for member in members)
    try:
        manifest = _pin(f"gs://{source.bucket}/", inside, carrying)
    except RefreshError as error:
        return Refused(folder=folder, published=published, error=error)
    return Release(manifest=manifest, marker_generation=marks[0].generation if marks else None, published=published)


def _pin(bucket: str, inside: str, carrying: list[ListedObject]) -> Manifest:
    try:
        files = [
            ManifestFile(
                path=member.name.removeprefix(inside),
                generation=member.generation,
                size=member.size,
                crc32c=member.crc32c,
            )
            for member in carrying
        ]
        return Manifest.pin(f"{bucket}{inside}", files)
    except ValidationError as error:
        # An object without a crc32c, say: nothing that a manifest can pin.
        what = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors())
        raise RefreshError(Reason.UNSAFE_FILE, f"Folder {bucket}{inside} cannot be pinned: {what}.") from error


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """When a release without a marker was first seen with exactly these bytes."""

    digest: str
    at: datetime


def is_settled(sighting: Sighting | None, release: Release, *, now: datetime, settle: timedelta) -> bool:
    """The settle rule: two equal listings at least ``settle`` apart make a release without marker complete."""
    return sighting is not None and sighting.digest == release.manifest.digest and now - sighting.at >= settle


def release_of_folder(releases: Iterable[Release], name: str | None) -> Release | None:
    """What the folder of a release id holds now, be it that release or one published there since."""
    return next((each for each in releases if is_folder_of(each.manifest.folder, name)), None)


def is_folder_of(folder: str, name: str | None) -> bool:
    """Whether a person's or the Deployment's name for a release, folder name or release id, means this folder."""
    return name is not None and re.fullmatch(rf"{re.escape(folder)}(-[0-9a-f]{{12}})?", name) is not None


def choose_release(releases: Sequence[Release], *, serving: str | None, decided: Collection[str]) -> Release | None:
    """The newest release that is neither promoted nor turned down, or None.

    Only what is newer than the serving release is offered: going back is a person's decision. Where the serving
    release's folder is gone nothing tells what is newer, and nothing is offered.

    Args:
        releases: newest first.
        serving: release id that the Deployment names now.
        decided: digests that a person or a rollout has already decided about.
    """
    now_there = release_of_folder(releases, serving)
    if serving is not None and now_there is None:
        return None
    for release in releases:
        if release.manifest.release_id == serving:
            return None
        if release.manifest.digest not in decided:
            return release
        if release is now_there:
            return None
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
