"""The volume as the loader sees it: the layout bound to the mount, and writes that survive a crash."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from model_refresh.domain.evidence import Space
from model_refresh.domain.layout import ModelLayout
from model_refresh.domain.receipt import Receipt

FILE_MODE = 0o444
FOLDER_MODE = 0o555
_WRITABLE_FOLDER_MODE = 0o755
_STAT_BLOCK = 512
"""Bytes of a block as stat counts them, whatever the file system's own are (POSIX)."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """Bytes of a file system, for a user without privileges."""

    total: int
    free: int


def _statvfs(path: Path) -> Room:
    seen = os.statvfs(path)
    return Room(total=seen.f_blocks * seen.f_frsize, free=seen.f_bavail * seen.f_frsize)


@dataclass(frozen=True)
class Volume:
    """The mounted claim.

    Attributes:
        root: where it is mounted.
        measure: how its room is measured; tests give their own.
    """

    root: Path
    measure: Callable[[Path], Room] = _statvfs

    def __truediv__(self, relative: PurePosixPath) -> Path:
        return self.root / relative

    def room(self) -> Room:
        """Bytes now."""
        return self.measure(self.root)

    def space(self, *, before: Room, taken: int = 0) -> Space:
        """For a result: the room before the step and now, less what is still to be taken."""
        now = self.room()
        return Space(total=now.total, free_before=before.free, free_after=max(0, now.free - taken))

    def receipt(self, layout: ModelLayout, release_id: str) -> Receipt | None:
        """A published release's receipt, or None where there is none or it cannot be read.

        A receipt that names another release (a folder copied by hand, say) proves nothing about this one.
        """
        path = self / layout.receipt(release_id)
        try:
            receipt = Receipt.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError as error:
            note("receipt_unreadable", path=str(path), error=str(error))
            return None
        if receipt.release_id != release_id or receipt.manifest.digest != receipt.digest:
            note("receipt_of_another_release", path=str(path), names=receipt.release_id)
            return None
        return receipt

    def receipts(self, layout: ModelLayout) -> list[Receipt]:
        """All published releases of a model."""
        found = (self.receipt(layout, folder.name) for folder in folders(self / layout.releases))
        return [receipt for receipt in found if receipt is not None]

    def discard(self, folder: Path, layout: ModelLayout) -> None:
        """Delete a folder so that it is gone at once or not at all: renamed into the trash first."""
        trash = make_folder(self / layout.trash)
        target = trash / f"{folder.name}-{uuid.uuid4().hex[:8]}"
        # Moving a folder to another parent rewrites its "..", for which its owner needs write permission.
        folder.chmod(_WRITABLE_FOLDER_MODE)
        folder.rename(target)
        sync_folder(folder.parent)
        sync_folder(trash)
        delete(target)


def note(event: str, **facts: object) -> None:
    """Say something in the log, as one JSON line."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


def folders(parent: Path) -> list[Path]:
    """The real folders directly below, by name; none where the parent is missing."""
    try:
        return sorted(entry for entry in parent.iterdir() if entry.is_dir() and not entry.is_symlink())
    except FileNotFoundError:
        return []


def make_folder(path: Path) -> Path:
    """Make a folder and its parents, so that they are there after a crash."""
    if path.is_dir():
        return path
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)
    return path


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable; over NFS this is also where a lost write is reported."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a whole file so that a reader finds the old one or the new one, even after a crash."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def entries(tree: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below a folder but the folders: path with ``/``, and its own (not its target's) status."""
    for folder, names, files in os.walk(tree, onerror=_raise):
        # os.walk lists a link to a folder among the folders, and does not follow it.
        links = [name for name in names if Path(folder, name).is_symlink()]
        for name in (*files, *links):
            path = Path(folder, name)
            yield path.relative_to(tree).as_posix(), path.lstat()


def is_file(seen: os.stat_result) -> bool:
    """Whether it is a plain file: no link, socket or device."""
    return stat.S_ISREG(seen.st_mode)


def _raise(error: OSError) -> None:
    raise error


def seal(tree: Path) -> None:
    """Make everything below a folder read-only, but not the folder itself, which is yet to be moved."""
    for folder, names, files in os.walk(tree, topdown=False, onerror=_raise):
        for name in files:
            _set_mode(Path(folder, name), FILE_MODE)
        for name in names:
            _set_mode(Path(folder, name), FOLDER_MODE)


def unseal(tree: Path) -> None:
    """Make the folders of a tree writable again; files stay as they are: links of other releases' files."""
    for folder, _, _ in os.walk(tree, onerror=_raise):
        _set_mode(Path(folder), _WRITABLE_FOLDER_MODE)


def _set_mode(path: Path, mode: int) -> None:
    # A hard link's mode is its release's, which is not to be touched, not even its change time.
    if stat.S_IMODE(path.lstat().st_mode) != mode:
        path.chmod(mode)


def delete(tree: Path) -> None:
    """Delete a tree, read-only folders included; someone else may be deleting it too."""
    while tree.exists():
        with contextlib.suppress(FileNotFoundError):
            unseal(tree)
            shutil.rmtree(tree)


def freed_by_deleting(trees: Iterable[Path]) -> int:
    """Bytes that deleting these trees gives back: those of files of which no other tree holds a link."""
    links: dict[int, int] = {}
    freed = 0
    for tree in trees:
        for _, seen in entries(tree):
            links[seen.st_ino] = links.get(seen.st_ino, 0) + 1
            if links[seen.st_ino] == seen.st_nlink:
                freed += seen.st_blocks * _STAT_BLOCK
    return freed
