"""One run at a time writes a release: a folder on the volume is the lock, and a heartbeat says it is alive.

Making the folder is the one step that only one can win, over NFS too. All pods of a run share its lock. Age is
the difference of two times that the volume's own server wrote, so that nodes' clocks do not matter.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.layout import Arrival
from model_refresh.loader.volume import Volume, make_folder, note, write_durably

_BEAT_SECONDS = 10.0


@dataclass(frozen=True)
class _Heartbeat:
    owner: str
    token: str


class Lock:
    """The lock of one release, as one run sees it. A context in which the heartbeat goes on.

    Args:
        volume: where it is.
        arrival: the release's folder.
        owner: the run.
        stale_seconds: after how long without a heartbeat it counts as left behind.
        beat_seconds: time between two heartbeats.
    """

    def __init__(
        self,
        volume: Volume,
        arrival: Arrival,
        *,
        owner: str,
        stale_seconds: float,
        beat_seconds: float = _BEAT_SECONDS,
    ) -> None:
        self._folder = volume / arrival.lock
        self._path = volume / arrival.heartbeat
        self._owner = owner
        self._stale_seconds = stale_seconds
        self._beat_seconds = min(beat_seconds, stale_seconds / 3)
        self._token = ""
        self._lost: RefreshError | None = None
        self._stop = threading.Event()
        self._beating = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def take(self) -> Self:
        """Take it, anew, again, or over from a run that is gone.

        Raises:
            RefreshError: ``Locked`` while another run is alive.
        """
        make_folder(self._folder.parent)
        try:
            self._folder.mkdir()
        except FileExistsError:
            held = self._read()
            if held is None or held.owner != self._owner:
                self._take_over(held)
                return self
            self._token = held.token
        else:
            self._token = uuid.uuid4().hex
        self._beat()
        return self

    def join(self) -> Self:
        """Go on under the lock that the run's plan took.

        Raises:
            RefreshError: ``Locked`` when it is no longer this run's.
        """
        held = self._read()
        if held is None or held.owner != self._owner:
            raise self._taken(held)
        self._token = held.token
        self._beat()
        return self

    def check(self, *, anew: bool = False) -> None:
        """Refuse to go on once another run has taken it over.

        Args:
            anew: look now, not only at what the last heartbeat saw; a pod that was frozen has missed some.

        Raises:
            RefreshError: ``Locked``.
        """
        if self._lost is not None:
            raise self._lost
        if anew:
            held = self._read()
            if held is None or held.token != self._token:
                raise self._taken(held)

    def is_owned(self) -> bool:
        """Whether it is this run's."""
        held = self._read()
        return held is not None and held.owner == self._owner

    def is_stale(self) -> bool:
        """Whether whoever held it is gone, or nobody holds it."""
        return not self._folder.exists() or self._age() > self._stale_seconds

    def silent_seconds(self) -> float:
        """How long nobody has written this release; 0 without a lock, which tells nothing.

        A lock that was given back early, so that the next run need not wait, has not been silent for long: its
        change time says when, which no one can set.
        """
        for path in (self._path, self._folder):
            if path.exists():
                return self._now() - path.stat().st_ctime
        return 0

    def __enter__(self) -> Self:
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if isinstance(error, RefreshError) and not error.retryable and self.is_owned():
            # The run will not come back: the next one need not wait until this lock has grown old. A pod of this run
            # that is still at work makes it young again.
            os.utime(self._path, (0, 0))

    def stop(self) -> None:
        """Stop the heartbeat; the lock stays the run's."""
        self._stop.set()
        if self._beating.is_alive():
            # A heartbeat that hangs on a dead NFS server must not keep the pod.
            self._beating.join(timeout=self._beat_seconds)

    def _take_over(self, held: _Heartbeat | None) -> None:
        age = self._age()
        if age <= self._stale_seconds:
            raise RefreshError(
                Reason.LOCKED,
                f"{self._who(held)} is writing this release (lock {self._folder}, last heartbeat {age:.0f} s ago).",
            )
        # Of several that find it stale, only the one that makes this folder goes on. It is named after the
        # lock that it ends, so that it cannot end the next one.
        claim = self._folder / f"ended-{held.token if held else 'unborn'}"
        try:
            claim.mkdir()
        except FileExistsError:
            if self._now() - claim.stat().st_mtime <= self._stale_seconds:
                raise RefreshError(Reason.LOCKED, f"Another run is just taking over the lock {self._folder}.") from None
            # Whoever claimed it died before the first heartbeat.
            claim.rmdir()
            claim.mkdir()
        self._token = uuid.uuid4().hex
        self._beat()
        note("lock_taken_over", lock=str(self._folder), was=self._who(held), silent_seconds=round(age))

    def _beat_on(self) -> None:
        while not self._stop.wait(self._beat_seconds):
            try:
                held = self._read()
                if held is None or held.token != self._token:
                    self._lost = self._taken(held)
                    return
                self._beat()
            except OSError as error:
                # The step itself meets the same error, and says it better.
                note("heartbeat_failed", lock=str(self._folder), error=str(error))

    def _beat(self) -> None:
        beat = {"owner": self._owner, "token": self._token, "at": datetime.now(UTC).isoformat()}
        write_durably(self._path, json.dumps(beat).encode())

    def _read(self) -> _Heartbeat | None:
        try:
            beat = json.loads(self._path.read_bytes())
            return _Heartbeat(owner=str(beat["owner"]), token=str(beat["token"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _age(self) -> float:
        path: Path = self._path if self._path.exists() else self._folder
        return self._now() - path.stat().st_mtime

    def _now(self) -> float:
        """Now, by the clock of the volume's server."""
        probe = self._folder.parent / f".now-{uuid.uuid4().hex[:8]}"
        try:
            write_durably(probe, b"")
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _taken(self, held: _Heartbeat | None) -> RefreshError:
        if held is None:
            return RefreshError(
                Reason.LOCKED,
                f"The lock {self._folder} is gone: another run finished this release, or someone removed it.",
                mend="Start a new run.",
            )
        return RefreshError(
            Reason.LOCKED,
            f"{self._who(held)} has taken over the lock {self._folder}: this run was silent for too long.",
            mend="Wait for that run, or end it; then start a new one.",
        )

    @staticmethod
    def _who(held: _Heartbeat | None) -> str:
        return f"Run {held.owner}" if held else "A run that has not said its name"
