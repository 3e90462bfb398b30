"""Says how far a step is, every few seconds, and ends one that no longer moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.evidence import MIB
from model_refresh.loader.volume import note


class Progress:
    """Bytes done of bytes in all, said as JSON lines on stdout. Safe to use from several threads.

    Args:
        step: the step's name.
        shard: the shard's number.
        total: bytes in all.
        kept: bytes of them that were done before, which say nothing about the speed now.
        every: seconds between two lines.
    """

    def __init__(self, step: str, *, shard: int, total: int, kept: int = 0, every: float = 3) -> None:
        self._step = step
        self._shard = shard
        self._total = total
        self._kept = kept
        self._done = kept
        self._every = every
        self._started = self._said = time.monotonic()
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """So many more are done."""
        with self._lock:
            self._done += count
            self._say_if_due()

    def reach(self, done: int) -> None:
        """So many are done in all."""
        with self._lock:
            self._done = done
            self._say_if_due()

    def finish(self) -> None:
        """All is done: say the last line."""
        with self._lock:
            self._done = self._total
            self._say()

    def _say_if_due(self) -> None:
        if time.monotonic() - self._said >= self._every:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        speed = (self._done - self._kept) / max(self._said - self._started, 1e-3)
        note(
            "progress",
            step=self._step,
            shard=self._shard,
            done_bytes=self._done,
            total_bytes=self._total,
            mib_per_s=round(speed / MIB, 1),
            eta_seconds=round(max(self._total - self._done, 0) / speed) if speed > 0 else None,
        )


class StallWatch:
    """Notices that nothing has moved for too long; a stalled transfer can hang for ever.

    Args:
        what: what is watched, for the message.
        seconds: how long nothing may move.
        clock: seconds, only ever growing.
    """

    def __init__(self, what: str, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._seconds = seconds
        self._clock = clock
        self._seen: object = None
        self._moved = clock()

    def look(self, seen: object) -> None:
        """Take one look.

        Args:
            seen: whatever changes while things move.

        Raises:
            RefreshError: ``Stalled``, when it was the same for too long.
        """
        now = self._clock()
        if seen != self._seen:
            self._seen, self._moved = seen, now
        elif now - self._moved >= self._seconds:
            raise RefreshError(Reason.STALLED, f"{self._what}: no byte arrived on the volume for {self._seconds:g} s.")
