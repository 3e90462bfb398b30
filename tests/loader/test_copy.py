"""Copying: what is proven, what is kept after a crash, and how each way to fail is told apart."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from model_refresh.contract import CopyRequest, PinnedRelease
from model_refresh.domain.errors import Reason, RefreshError
from tests.loader.world import LONG_AGO, World, a_model, noise


def contents(tree: Path) -> dict[str, bytes]:
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def failure(world: World, release: PinnedRelease, **more: Any) -> RefreshError:
    with pytest.raises(RefreshError) as caught:
        world.copy(release, **more)
    return caught.value


def test_every_byte_arrives_under_its_own_path(world: World) -> None:
    files = a_model()
    release = world.upload("v1", files)
    results = [world.copy(release, shard) for shard in world.plan(release).copy_shards]
    assert contents(world.tree(release)) == files
    assert sum(result.copied_bytes for result in results) == sum(map(len, files.values()))
    assert not list((world.arrival(release) / "partial").iterdir())


def test_copying_again_copies_nothing(world: World) -> None:
    release = world.upload("v1", a_model())
    size = world.plan(release, pods=1).size
    world.copy(release)
    before = len(world.fetched)
    again = world.copy(release)
    assert (again.copied_bytes, again.kept_bytes) == (0, size)
    assert len(world.fetched) == before


def test_a_torn_ledger_line_costs_its_file_a_read_and_no_other(world: World) -> None:
    release = world.upload("v1", {f"{number}.bin": noise(number, 100_000) for number in range(4)})
    world.plan(release, pods=1)
    world.copy(release)
    (ledger,) = (world.arrival(release) / "ledger").iterdir()
    ledger.write_bytes(ledger.read_bytes()[:-30])
    before = len(world.fetched)
    assert world.copy(release).kept_bytes == 400_000
    assert len(world.fetched) == before, "the file is there: reading it proves it again"
    assert world.copy(release).kept_bytes == 400_000


def test_no_two_pods_of_one_shard_write_the_same_ledger(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 1000)})
    world.plan(release)
    world.copy(release)
    folder = world.arrival(release) / "ledger"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    # The pod before may still be ending, with its file open.
    world.copy(release)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()
    assert all(re.fullmatch(r"shard-000-[0-9a-f]{8}\.jsonl", name) for name in after)


def test_a_file_in_the_tree_that_the_ledger_does_not_prove_is_not_believed(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 1000)})
    world.plan(release)
    world.tree(release).mkdir()
    (world.tree(release) / "a.bin").write_bytes(noise(2, 1000))
    assert world.copy(release).copied_bytes == 1000
    assert (world.tree(release) / "a.bin").read_bytes() == noise(1, 1000)


def test_a_killed_pod_loses_only_what_it_had_not_finished(world: World) -> None:
    files = {f"{number}.bin": noise(number, 256 * 1024) for number in range(8)}
    release = world.upload("v1", files)
    world.plan(release, pods=1)
    world.tell(delay=0.05)
    pod = world.start(world.copy_request(release, workers=1))
    tree = world.tree(release)
    while not tree.exists() or len(contents(tree)) < 3:
        assert pod.poll() is None
        time.sleep(0.02)
    pod.send_signal(signal.SIGKILL)
    pod.communicate()
    # In a cluster the kernel ends the container's other processes with its first.
    os.kill(int(world.log.read_text().split()[0]), signal.SIGKILL)
    proven = len(contents(tree))
    world.tell()
    resumed = world.copy(release)
    assert resumed.kept_bytes >= (proven - 1) * 256 * 1024
    assert resumed.kept_bytes + resumed.copied_bytes == 8 * 256 * 1024
    assert contents(tree) == files


def test_reused_files_are_the_same_inode(world: World) -> None:
    first = world.refresh("v1", a_model())
    second = world.upload("v2", a_model())
    fetched = len(world.fetched)
    result = world.copy(second, world.plan(second).copy_shards[0])
    assert (result.copied_bytes, result.linked_bytes) == (0, sum(map(len, a_model().values())))
    assert (world.tree(second) / "model-1.safetensors").samefile(world.release(first) / "model-1.safetensors")
    assert len(world.fetched) == fetched


def test_a_reused_file_that_went_away_is_copied(world: World) -> None:
    first = world.refresh("v1", a_model())
    second = world.upload("v2", a_model())
    world.plan(second, pods=1)
    world.release(first).chmod(0o755)
    (world.release(first) / "model-1.safetensors").unlink()
    assert world.copy(second).copied_bytes == len(a_model()["model-1.safetensors"])
    assert contents(world.tree(second)) == a_model()


def test_wrong_bytes_are_fetched_once_more(world: World) -> None:
    files = {"a.bin": noise(1, 5000), "b.bin": noise(2, 5000)}
    release = world.upload("v1", files)
    world.plan(release, pods=1)
    world.tell(wrong=["a.bin"], wrong_times=1)
    assert world.copy(release).copied_bytes == 10_000
    assert contents(world.tree(release)) == files
    assert world.fetched.count("llama/v1/a.bin") == 2
    assert world.fetched.count("llama/v1/b.bin") == 1


def test_bytes_that_stay_wrong_are_a_mismatch_and_never_reach_the_tree(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000), "b.bin": noise(2, 5000)})
    world.plan(release, pods=1)
    world.tell(wrong=["a.bin"])
    error = failure(world, release)
    assert error.reason is Reason.HASH_MISMATCH
    assert "a.bin" in error.message
    assert list(contents(world.tree(release))) == ["b.bin"]


def test_an_object_overwritten_in_the_middle_is_drift(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000), "b.bin": noise(2, 5000)})
    world.plan(release, pods=1)
    world.bucket.put("llama/v1/b.bin", noise(3, 5000))
    error = failure(world, release)
    assert error.reason is Reason.GENERATION_DRIFT
    assert "b.bin" in error.message
    assert list(contents(world.tree(release))) == ["a.bin"]


def test_an_object_deleted_in_the_middle_is_drift(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000), "b.bin": noise(2, 5000)})
    world.plan(release, pods=1)
    world.bucket.delete("llama/v1/b.bin")
    assert failure(world, release).reason is Reason.GENERATION_DRIFT


def test_a_release_deleted_in_the_middle_is_missing(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000)})
    world.plan(release)
    world.bucket.delete("llama/v1/a.bin")
    world.bucket.delete("llama/v1/_SUCCESS")
    assert failure(world, release).reason is Reason.SOURCE_MISSING


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("HTTPError 403: loader@x does not have storage.objects.get access", Reason.PERMISSION_DENIED),
        ("[Errno 28] No space left on device", Reason.NO_SPACE),
        ("[Errno 122] Disk quota exceeded", Reason.NO_SPACE),
        ("[Errno 30] Read-only file system: '/models/x'", Reason.READ_ONLY_VOLUME),
        ("Something new at #1795461943542461", Reason.ENGINE_FAILED),
    ],
)
def test_a_failed_engine_is_told_apart_by_what_it_said(world: World, words: str, reason: Reason) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000)})
    world.plan(release)
    world.tell(fail=words)
    error = failure(world, release)
    assert error.reason is reason
    assert words in error.message


def test_a_missing_engine_is_the_images_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000)})
    world.plan(release)
    monkeypatch.setenv("PATH", str(world.folder))
    error = failure(world, release)
    assert error.reason is Reason.BAD_REQUEST
    assert "gcloud" in error.message


def test_a_transfer_that_hangs_is_ended(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000), "b.bin": noise(2, 5000)})
    world.plan(release, pods=1)
    world.tell(hang="b.bin")
    began = time.monotonic()
    error = failure(world, release, stall_seconds=1)
    assert error.reason is Reason.STALLED
    assert error.retryable
    assert time.monotonic() - began < 10
    pid = int(world.log.read_text().split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list(contents(world.tree(release))) == ["a.bin"], "what was proven stays"


def test_a_run_that_lost_its_lock_stops(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000)})
    world.plan(release)
    world.plan(release, run_id="run-2", lock_stale_seconds=LONG_AGO)
    error = failure(world, release)
    assert error.reason is Reason.LOCKED
    assert "run-2" in error.message


def test_without_a_plan_nothing_is_copied(world: World) -> None:
    release = world.upload("v1", {"a.bin": b"x"})
    assert failure(world, release).reason is Reason.INCOMPLETE


def test_a_shard_that_the_plan_does_not_have_is_refused(world: World) -> None:
    release = world.upload("v1", {"a.bin": b"x"})
    world.plan(release)
    assert failure(world, release, shard=5).reason is Reason.BAD_REQUEST


def test_progress_is_said_in_json(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000)})
    world.plan(release)
    assert isinstance(world.copy_request(release), CopyRequest)
    world.copy(release)
    assert '{"event": "progress", "step": "copy", "shard": 0, "done_bytes": 5000' in capfd.readouterr().out


def test_a_file_that_an_engine_leaves_out_without_a_word_is_fetched_again(world: World) -> None:
    """gsutil 5.38 has been seen to end well without the last of several files."""
    files = {"a.bin": noise(1, 5000), "b.bin": noise(2, 5000), "c.json": b"{}"}
    release = world.upload("v1", files)
    world.plan(release, pods=1)
    world.tell(forget_last=True)
    assert world.copy(release).copied_bytes == 10_002
    assert contents(world.tree(release)) == files
