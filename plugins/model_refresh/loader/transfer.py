"""Runs an engine over a set of files, tells which are there, and leaves no process behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from pathlib import Path
from types import TracebackType
from typing import Self

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.evidence import MIB
from model_refresh.domain.manifest import ManifestFile
from model_refresh.loader.engines import Batch, Engine
from model_refresh.loader.volume import sync_file

_TAIL_LINES = 12
_LINE_LENGTH = 300
_GRACE_SECONDS = 5
_SYNC_BYTES = 256 * MIB
"""Measured by others on NFS: a pod of 512 MiB dies of unwritten pages every 2 to 3 GiB."""


def batches(prefix: str, files: Iterable[ManifestFile], folder: Path) -> list[Batch]:
    """As few batches as can be: files of one name in different folders may not land in one."""
    seen: dict[str, int] = {}
    sets: list[list[ManifestFile]] = []
    for file in files:
        name = file.path.rsplit("/", 1)[-1]
        number = seen.get(name, 0)
        seen[name] = number + 1
        if number == len(sets):
            sets.append([])
        sets[number].append(file)
    return [
        Batch(prefix=prefix, files=tuple(members), folder=folder / f"{number:03d}")
        for number, members in enumerate(sets)
    ]


class _Process:
    """One engine at work on one batch."""

    def __init__(self, engine: Engine, batch: Batch, *, workers: int, scratch: Path) -> None:
        self.batch = batch
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        batch.folder.mkdir(parents=True)
        scratch.mkdir(parents=True)
        command = engine.command(batch, workers=workers, scratch=scratch)
        sources = scratch / "sources"
        sources.write_text(command.stdin)
        with sources.open() as stdin:
            try:
                self.popen = subprocess.Popen(
                    command.argv,
                    env={**os.environ, **command.environment},
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    # A group of its own, so that its children can be ended with it.
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise RefreshError(
                    Reason.BAD_REQUEST,
                    f"The loader's image has no {command.argv[0]!r} on its PATH.",
                    mend="Build the image on a base that has it, or choose another engine.",
                ) from error
        self._reader = threading.Thread(target=self._read, name="engine output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as output:
            for line in output:
                sys.stderr.write(line)
                # gcloud says that it is alive by dots.
                if line.strip(" .\n"):
                    self.tail.append(line.strip()[:_LINE_LENGTH])

    def end(self) -> None:
        """End it and all its children, now; what it said is complete then."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self._reader.join(timeout=_GRACE_SECONDS)


class Transfer:
    """An engine's processes. A context: none is left when it ends.

    Args:
        engine: which.
        batches: what to fetch; batches of one transfer run side by side, ``workers`` at most.
        workers: files in flight at once, over all batches.
        scratch: a folder for what the engine wants to keep besides.
    """

    def __init__(self, engine: Engine, batches: list[Batch], *, workers: int, scratch: Path) -> None:
        self._engine = engine
        self._waiting = deque(batches)
        self._side_by_side = max(1, min(workers, len(batches)))
        self._workers = max(1, workers // self._side_by_side)
        self._scratch = scratch
        self._running: list[_Process] = []
        self._ended: list[_Process] = []
        self._fetching = {batch.landing(file): file for batch in batches for file in batch.files}
        self._folders = [batch.folder for batch in batches]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running:
            process.end()

    def step(self) -> bool:
        """Start what may start; False once all have ended."""
        for process in list(self._running):
            if process.popen.poll() is not None:
                # A child that outlives its parent would write into a file that is already judged.
                process.end()
                self._running.remove(process)
                self._ended.append(process)
        while self._waiting and len(self._running) < self._side_by_side:
            batch = self._waiting.popleft()
            self._running.append(
                _Process(self._engine, batch, workers=self._workers, scratch=self._scratch / batch.folder.name)
            )
        return bool(self._running)

    def landed(self) -> list[tuple[ManifestFile, Path]]:
        """Files that have become complete since the last call, as the engine says."""
        names = [Path(entry.path) for folder in self._folders if folder.exists() for entry in os.scandir(folder)]
        return [(self._fetching.pop(path), path) for path in names if path in self._fetching]

    def bytes_on_volume(self) -> int:
        """Bytes of all that the engine has written and nobody has taken away yet."""
        return sum(_size(entry) for folder in self._folders if folder.exists() for entry in os.scandir(folder))

    def sync(self) -> None:
        """Send what is written so far to the volume."""
        for folder in self._folders:
            for path in folder.glob("*"):
                # It may have been renamed or taken away meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    sync_file(path)

    @property
    def unfinished(self) -> tuple[ManifestFile, ...]:
        """Files that have not landed."""
        return tuple(self._fetching.values())

    @property
    def failed(self) -> bool:
        """Whether any of its processes ended with an error."""
        return any(process.popen.returncode != 0 for process in self._ended)

    @property
    def last_words(self) -> str:
        """What failed processes said last."""
        return " | ".join(line for process in self._ended if process.popen.returncode for line in process.tail)


class Writeback:
    """Sends what is written to the volume again and again.

    Unwritten pages count as the pod's memory, and NFS may keep gigabytes of them.

    Args:
        transfer: what is writing.
        pool: who waits for the volume.
    """

    def __init__(self, transfer: Transfer, pool: Executor) -> None:
        self._transfer = transfer
        self._pool = pool
        self._sent = 0
        self._syncs: list[Future[None]] = []

    def look(self, written: int) -> None:
        """Send what is due.

        Args:
            written: bytes that the engine has written and nobody has taken away yet.

        Raises:
            OSError: a write was lost; NFS reports that once, to whoever asks first.
        """
        self._sent = min(self._sent, written)
        if written - self._sent >= _SYNC_BYTES:
            self._sent = written
            self._syncs.append(self._pool.submit(self._transfer.sync))
        for sync in self._syncs:
            if sync.done():
                sync.result()


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        # Renamed from its temporary name in between.
        return 0
