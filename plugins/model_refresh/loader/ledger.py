"""Which files of a release are proven, so that a pod that was killed loses only what it had not finished."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from model_refresh.domain.manifest import ManifestFile
from model_refresh.loader.volume import make_folder, sync_folder


@dataclass(frozen=True)
class Proven:
    """What the ledgers of a release say, all shards together.

    Attributes:
        files: files that were proven, by path; what they are, not whether they are still there.
        damaged: content (crc32c, size) that was read back wrong, and is never to be linked again.
    """

    files: dict[str, ManifestFile] = field(default_factory=dict)
    damaged: set[tuple[str, int]] = field(default_factory=set)

    @classmethod
    def read(cls, folder: Path) -> Proven:
        """Read all ledgers; a line that a crash tore is a line that was never written."""
        proven = cls()
        for line in _lines(folder):
            try:
                entry = json.loads(line)
                file = ManifestFile.model_validate(entry["file"])
                damaged = bool(entry.get("damaged"))
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
            if damaged:
                proven.damaged.add((file.crc32c, file.size))
            else:
                proven.files[file.path] = file
        return proven

    def holds(self, file: ManifestFile, tree: Path) -> bool:
        """Whether exactly this file was proven and is still there."""
        return self.files.get(file.path) == file and size_of(tree / file.path) == file.size


def _lines(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.jsonl")):
        yield from path.read_bytes().split(b"\n")


def size_of(path: Path) -> int | None:
    """A file's size, or None where there is none."""
    try:
        return path.lstat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


class Ledger:
    """The ledger that one pod appends to, from several threads. A context that gives the file back.

    Args:
        path: its shard's; the file gets a name of its own after it, as an earlier pod of the shard that is still
            ending may have its own open, and two writers of one file can hang over NFS.
    """

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._lock = threading.Lock()
        own = path.with_stem(f"{path.stem}-{uuid.uuid4().hex[:8]}")
        self._handle = os.open(own, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        sync_folder(path.parent)

    def prove(self, file: ManifestFile) -> None:
        """Write down, durably, that a file is proven."""
        self._append({"file": file.model_dump()})

    def condemn(self, file: ManifestFile) -> None:
        """Write down, durably, that the volume held this file wrong."""
        self._append({"file": file.model_dump(), "damaged": True})

    def _append(self, entry: dict[str, object]) -> None:
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            os.write(self._handle, line)
            os.fsync(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)
