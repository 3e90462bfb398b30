"""Lets only one process at a time do what two at once would spoil: a cache entry, or a checkout's state."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.progress import say


@contextmanager
def locked(file: Path, what: str) -> Iterator[None]:
    """Holds an exclusive lock on a file; the kernel lets go of it even if this process is killed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is busy with {what}: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
