"""One run at a time writes a release; a dead one does not keep it for ever."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.layout import ModelLayout
from model_refresh.loader.lock import Lock
from model_refresh.loader.volume import Volume, make_folder

ARRIVAL = ModelLayout("llama").arrival("v1-0123456789ab")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path)


def lock(volume: Volume, owner: str = "run-1", stale: float = 60, beat: float = 10) -> Lock:
    return Lock(volume, ARRIVAL, owner=owner, stale_seconds=stale, beat_seconds=beat)


def grow_old(volume: Volume, seconds: float) -> None:
    then = time.time() - seconds
    for path in (volume / ARRIVAL.heartbeat, volume / ARRIVAL.lock):
        if path.exists():
            os.utime(path, (then, then))


def owner(volume: Volume) -> str:
    return str(json.loads((volume / ARRIVAL.heartbeat).read_text())["owner"])


def check_for(held: Lock, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        held.check()
        time.sleep(0.02)


def test_another_run_is_kept_out_and_told_by_whom(volume: Volume) -> None:
    lock(volume).take()
    with pytest.raises(RefreshError, match="run-1") as caught:
        lock(volume, "run-2").take()
    assert caught.value.reason is Reason.LOCKED
    assert caught.value.retryable


def test_the_same_run_comes_in_again(volume: Volume) -> None:
    lock(volume).take()
    lock(volume).take()
    lock(volume).join()


def test_a_silent_lock_is_taken_over(volume: Volume) -> None:
    first = lock(volume).take()
    grow_old(volume, 61)
    assert first.is_stale()
    second = lock(volume, "run-2").take()
    assert owner(volume) == "run-2"
    assert second.is_owned()
    assert not first.is_owned()
    with pytest.raises(RefreshError, match="run-2 has taken over"):
        lock(volume).join()


def test_only_one_of_many_takes_a_silent_lock_over(volume: Volume) -> None:
    lock(volume).take()
    grow_old(volume, 61)

    def attempt(number: int) -> str | None:
        try:
            lock(volume, f"run-{number}").take()
        except RefreshError:
            return None
        return f"run-{number}"

    with ThreadPoolExecutor(8) as pool:
        winners = [winner for winner in pool.map(attempt, range(2, 10)) if winner]
    assert winners == [owner(volume)]


def test_a_lock_that_never_got_a_heartbeat_is_taken_over_when_it_is_old(volume: Volume) -> None:
    make_folder(volume / ARRIVAL.lock)
    with pytest.raises(RefreshError, match="not said its name"):
        lock(volume).take()
    grow_old(volume, 61)
    lock(volume).take()
    assert owner(volume) == "run-1"


def test_a_take_over_that_died_is_taken_over(volume: Volume) -> None:
    lock(volume).take()
    token = json.loads((volume / ARRIVAL.heartbeat).read_text())["token"]
    claim = volume / ARRIVAL.lock / f"ended-{token}"
    claim.mkdir()
    grow_old(volume, 61)
    with pytest.raises(RefreshError, match="just taking over"):
        lock(volume, "run-2").take()
    os.utime(claim, (time.time() - 61,) * 2)
    lock(volume, "run-2").take()
    assert owner(volume) == "run-2"


def test_the_heartbeat_keeps_it_fresh(volume: Volume) -> None:
    with lock(volume, stale=0.3).take() as held:
        grow_old(volume, 61)
        deadline = time.monotonic() + 5
        while held.is_stale():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        held.check()


def test_a_run_learns_that_it_was_taken_over(volume: Volume) -> None:
    with lock(volume, beat=0.05).take() as held:
        grow_old(volume, 61)
        (volume / ARRIVAL.heartbeat).write_text(json.dumps({"owner": "run-2", "token": "other"}))
        with pytest.raises(RefreshError, match="run-2 has taken over"):
            check_for(held, seconds=5)
    assert owner(volume) == "run-2", "and writes over nobody's heartbeat"


def test_without_a_lock_there_is_nothing_to_join(volume: Volume) -> None:
    with pytest.raises(RefreshError, match="is gone"):
        lock(volume).join()
    assert lock(volume).is_stale()


def test_a_run_that_failed_for_good_does_not_keep_the_next_one_waiting(volume: Volume) -> None:
    with pytest.raises(RefreshError), lock(volume).take():
        raise RefreshError(Reason.HASH_MISMATCH, "a byte is wrong.")
    lock(volume).join()
    with pytest.raises(RefreshError, match="run-1 is writing"):
        lock(volume, "run-2").take()
    with pytest.raises(RefreshError), lock(volume).take():
        raise RefreshError(Reason.HASH_MISMATCH, "a byte is wrong.")
    lock(volume, "run-2").take()
    assert owner(volume) == "run-2"


def test_a_run_that_will_try_again_keeps_its_lock(volume: Volume) -> None:
    with pytest.raises(RefreshError), lock(volume).take():
        raise RefreshError(Reason.STALLED, "nothing moves.")
    with pytest.raises(RefreshError, match="run-1 is writing"):
        lock(volume, "run-2").take()
