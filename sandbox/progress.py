"""Says what is being done and for how long already; several threads may speak at once."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_STARTED = time.monotonic()
_LOCK = threading.Lock()
_QUIET_SECONDS = 1.0  # a step that takes less is not worth a second line


def say(message: str) -> None:
    """Prints one line with the seconds since the program started."""
    with _LOCK:
        print(f"[{time.monotonic() - _STARTED:6.1f}s] {message}", file=sys.stderr, flush=True)


@contextmanager
def step(message: str) -> Iterator[None]:
    """Says that a step starts, and how long it took when that was noticeable."""
    say(message)
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    if took >= _QUIET_SECONDS:
        say(f"{message}: done in {took:.0f} s")
