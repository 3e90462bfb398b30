"""A release pinned: every object by name, generation, size and crc32c, and the digest that names it all."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated

from pydantic import Field, StringConstraints

from model_refresh.domain.document import Document
from model_refresh.domain.errors import Reason, RefreshError

RECEIPT_NAME = "release.json"

# Cloud Storage allows object names of 1024 bytes; ext4, and so Longhorn, file names of 255.
_MAX_PATH_BYTES = 1024
_MAX_SEGMENT_BYTES = 255
_ID_TAIL_BYTES = len("-") + 12
"""What a release id adds to its folder's name."""
# gcloud and gsutil expand these in URLs, '#' starts a generation, and neither knows an escape.
_WILDCARDS = frozenset("*?[]#")
# gcloud and gsutil write a download under this name first.
_ENGINE_TEMPORARY = "_.gstmp"

Crc32c = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{6}==$")]
"""A crc32c as Cloud Storage gives it: base64 of the big-endian 32-bit value, 8 characters."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A manifest's sha256, in hex."""


class ManifestFile(Document):
    """One object of a release.

    Attributes:
        path: name below the release's folder, with ``/`` between its parts.
        generation: Cloud Storage's version number of the object.
        size: bytes.
        crc32c: the object's checksum as Cloud Storage gives it.
    """

    path: str
    generation: int
    size: Annotated[int, Field(ge=0)]
    crc32c: Crc32c


class Manifest(Document):
    """The list that pins a release.

    Attributes:
        prefix: ``gs://bucket/…/`` under which every file's path stands; ends in ``/``.
        files: sorted by path, each path once.
    """

    prefix: Annotated[str, StringConstraints(pattern=r"^gs://[^/]+/(.+/)$")]
    files: tuple[ManifestFile, ...]

    @classmethod
    def pin(cls, prefix: str, files: Iterable[ManifestFile]) -> Manifest:
        """Make the manifest of a release, refusing names that a volume cannot safely hold.

        Raises:
            RefreshError: ``UnsafeFile`` for a name that leaves the folder, collides or cannot be written, the
                release's own folder included; ``SourceMissing`` when there is no file at all.
        """
        _check_prefix(prefix)
        pinned = tuple(sorted(files, key=lambda file: file.path))
        if not pinned:
            raise RefreshError(Reason.SOURCE_MISSING, f"{prefix} holds no file besides its marker.")
        check_paths(file.path for file in pinned)
        return cls(prefix=prefix, files=pinned)

    @property
    def folder(self) -> str:
        """The release's folder name: the last part of the prefix."""
        return self.prefix.rstrip("/").rsplit("/", 1)[-1]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @cached_property
    def digest(self) -> str:
        """The release's identity: sha256, in hex, of the canonical JSON (sorted keys, no white space)."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def release_id(self) -> str:
        """What the release is called on the volume and in the Deployment's annotation."""
        return release_id(self.folder, self.digest)


def release_id(folder: str, digest: str) -> str:
    """``<folder name>-<first 12 hex of the digest>``: the same name with other bytes is another release."""
    return f"{folder}-{digest[:12]}"


def _check_prefix(prefix: str) -> None:
    path = prefix.removeprefix("gs://").partition("/")[2].removesuffix("/")
    problem = _problem(path)
    if not problem and len(path.rsplit("/", 1)[-1].encode()) + _ID_TAIL_BYTES > _MAX_SEGMENT_BYTES:
        problem = "is too long for a release id, which must be a folder's name on the volume"
    if problem:
        raise RefreshError(Reason.UNSAFE_FILE, f"Release folder {prefix!r} {problem}.")


def check_paths(paths: Iterable[str]) -> None:
    """Refuse a set of object names that a folder on the volume cannot hold one to one.

    Raises:
        RefreshError: ``UnsafeFile``, naming the first bad name and what is wrong with it.
    """
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        problem = _problem(path)
        if problem:
            raise RefreshError(Reason.UNSAFE_FILE, f"Object name {path!r} {problem}.")
        folded = _fold(path)
        if folded in seen:
            raise RefreshError(
                Reason.UNSAFE_FILE,
                f"Object names {seen[folded]!r} and {path!r} differ only by case or Unicode form.",
            )
        seen[folded] = path
        parts = folded.split("/")
        for depth in range(1, len(parts)):
            folders.setdefault("/".join(parts[:depth]), path)
    for folded, path in seen.items():
        if folded in folders:
            raise RefreshError(
                Reason.UNSAFE_FILE,
                f"Object name {path!r} is a file, and a folder for {folders[folded]!r}.",
            )


def _fold(path: str) -> str:
    # Unicode's canonical caseless matching (The Unicode Standard, D145).
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _problem(path: str) -> str | None:
    parts = path.split("/")
    # Some characters only look like a dot or a slash, until something on the way normalises them into one.
    plain = unicodedata.normalize("NFKC", path).split("/")
    encoded = [len(part.encode(errors="surrogatepass")) for part in (path, *parts)]
    problems = (
        (path.startswith("/"), "is absolute"),
        (
            any(part in {"", ".", ".."} for part in (*parts, *plain)),
            "has an empty, '.' or '..' part and could leave its folder",
        ),
        (not path.isprintable() or "\\" in path, "has a control character, an unprintable one or a backslash"),
        (not _WILDCARDS.isdisjoint(path), "has one of * ? [ ] #, which the copy engines take for patterns"),
        (
            encoded[0] > _MAX_PATH_BYTES or max(encoded[1:]) > _MAX_SEGMENT_BYTES,
            f"is longer than {_MAX_PATH_BYTES} bytes, or a part of it than {_MAX_SEGMENT_BYTES}",
        ),
        (_fold(parts[0]) == RECEIPT_NAME, "is the name of the loader's own receipt"),
        (path.endswith(_ENGINE_TEMPORARY), f"ends in {_ENGINE_TEMPORARY}, the engines' name for unfinished files"),
    )
    return next((problem for applies, problem in problems if applies), None)
