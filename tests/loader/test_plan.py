"""Planning: what is pinned, what is reused, what fits, and what a former run left."""

from __future__ import annotations

import pytest

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.plan import CopyPlan
from model_refresh.loader.volume import Room
from tests.loader.world import LONG_AGO, World, a_model, noise

MIB = 1024 * 1024


def test_a_first_release_is_copied_in_balanced_shards(world: World) -> None:
    files = a_model()
    release = world.upload("v1", files)
    planned = world.plan(release)
    assert planned.copy_shards == (0, 1)
    assert planned.copied_bytes == planned.size == sum(map(len, files.values()))
    assert (planned.diff.added, planned.diff.unchanged, planned.reused_bytes) == (len(files), 0, 0)
    assert not planned.published


def test_the_marker_and_empty_folder_objects_are_no_part_of_a_release(world: World) -> None:
    world.bucket.put("llama/v1/sub/", b"")
    release = world.upload("v1", {"sub/config.json": b"{}"})
    assert world.plan(release).files == 1


def test_an_overwritten_object_is_drift_before_the_first_byte(world: World) -> None:
    release = world.upload("v1", a_model())
    world.bucket.put("llama/v1/config.json", b"{}")
    with pytest.raises(RefreshError) as caught:
        world.plan(release)
    assert caught.value.reason is Reason.GENERATION_DRIFT
    assert not caught.value.retryable
    assert list(world.root.iterdir()) == []


def test_drift_names_the_paths_once_they_are_known(world: World) -> None:
    release = world.upload("v1", a_model())
    world.plan(release)
    world.bucket.put("llama/v1/config.json", b"{}")
    world.bucket.put("llama/v1/new.json", b"{}")
    world.bucket.delete("llama/v1/LICENSE")
    with pytest.raises(RefreshError, match=r"LICENSE deleted, config\.json overwritten, new\.json added"):
        world.plan(release)


def test_a_release_that_is_gone_is_missing(world: World) -> None:
    release = world.upload("v1", {"config.json": b"{}"})
    world.bucket.delete("llama/v1/_SUCCESS")
    with pytest.raises(RefreshError, match="_SUCCESS") as caught:
        world.plan(release)
    assert caught.value.reason is Reason.SOURCE_MISSING


def test_a_dry_run_says_the_same_and_writes_nothing(world: World) -> None:
    release = world.upload("v1", a_model())
    dry = world.plan(release, dry_run=True)
    assert list(world.root.iterdir()) == []
    told = world.plan(release)
    assert dry.model_dump(exclude={"seconds"}) == told.model_dump(exclude={"seconds"})


def test_what_a_release_on_the_volume_holds_is_linked_under_any_name(world: World) -> None:
    first = world.refresh("v1", a_model())
    files = a_model()
    files["renamed.safetensors"] = files.pop("model-1.safetensors")
    files["config.json"] = b'{"new": true}'
    del files["model.safetensors.index.json"]
    planned = world.plan(world.upload("v2", files), serving=first.release_id)
    assert planned.copied_bytes == len(b'{"new": true}')
    assert planned.reused_bytes == planned.size - planned.copied_bytes
    assert (planned.diff.added, planned.diff.changed, planned.diff.removed) == (1, 1, 2)


def test_force_reuses_nothing(world: World) -> None:
    world.refresh("v1", a_model())
    planned = world.plan(world.upload("v2", a_model()), force=True)
    assert planned.reused_bytes == 0
    assert planned.copied_bytes == planned.size


def test_force_does_not_trust_what_another_run_proved(world: World) -> None:
    release = world.upload("v1", a_model())
    world.bring(release, run_id="run-1")
    before = len(world.fetched)
    # The first run is over: its lock is old.
    world.bring(release, run_id="run-1", force=True)
    assert len(world.fetched) == before, "a retry of the same run keeps what it proved"
    world.bring(release, run_id="run-2", force=True, lock_stale_seconds=LONG_AGO)
    assert len(world.fetched) == 2 * before


def test_a_folder_without_a_receipt_is_never_reused(world: World) -> None:
    first = world.refresh("v1", a_model())
    folder = world.release(first)
    folder.chmod(0o755)
    (folder / "release.json").unlink()
    assert world.plan(world.upload("v2", a_model())).reused_bytes == 0


def test_too_little_room_is_said_before_the_first_byte(world: World) -> None:
    old = world.refresh("v0", {"old.bin": noise(7, 2 * MIB)})
    world.room = Room(total=100 * MIB, free=64 * MIB)
    release = world.upload("v1", {"big.bin": noise(1, MIB)})
    with pytest.raises(RefreshError) as caught:
        world.plan(release)
    assert caught.value.reason is Reason.NO_SPACE
    assert "65.0 MiB" in caught.value.message, "needed, headroom included"
    assert "64.0 MiB of 100.0 MiB free" in caught.value.message
    assert f"2.0 MiB: {old.release_id}" in caught.value.message, "what pruning could give"


def test_too_little_room_names_what_other_unfinished_copies_hold(world: World) -> None:
    unfinished = world.upload("v0", {"old.bin": noise(7, 3 * MIB)})
    world.plan(unfinished)
    world.copy(unfinished)
    world.room = Room(total=100 * MIB, free=64 * MIB)
    release = world.upload("v1", {"big.bin": noise(1, MIB)})
    with pytest.raises(RefreshError) as caught:
        world.plan(release)
    assert f"unfinished copies in incoming/ hold 3.0 MiB: {unfinished.release_id}." in caught.value.message
    assert f": {release.release_id}" not in caught.value.message, "its own copy is what needs the room"


def test_only_what_is_not_proven_yet_needs_room(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, MIB), "b.bin": noise(2, 1000)})
    world.plan(release)
    world.copy(release, 0)
    world.room = Room(total=100 * MIB, free=65 * MIB - MIB // 2)
    world.plan(release)


def test_a_published_release_is_not_copied_again_not_even_by_force(world: World) -> None:
    release = world.refresh("v1", a_model())
    before = len(world.fetched)
    planned = world.bring(release, force=True)
    assert planned.published
    assert planned.copy_shards == (0,)
    assert (planned.copied_bytes, planned.reused_bytes) == (0, 0)
    assert len(world.fetched) == before
    assert world.publish(release).release_id == release.release_id
    assert not world.arrival(release).exists()


def test_a_tree_that_was_renamed_but_got_no_receipt_is_taken_back(world: World) -> None:
    release = world.upload("v1", a_model())
    world.bring(release)
    (world.root / "llama/releases").mkdir()
    world.tree(release).rename(world.release(release))
    before = len(world.fetched)
    world.bring(release)
    assert len(world.fetched) == before, "what it holds is proven"
    assert not world.release(release).exists()
    world.publish(release)


def test_a_folder_that_serves_is_not_taken_back(world: World) -> None:
    release = world.upload("v1", a_model())
    world.release(release).mkdir(parents=True)
    with pytest.raises(RefreshError) as caught:
        world.plan(release, serving=release.release_id)
    assert caught.value.reason is Reason.INCOMPLETE
    assert world.release(release).exists()


def test_a_receipt_that_cannot_be_read_is_not_written_over(world: World) -> None:
    release = world.refresh("v1", a_model())
    receipt = world.release(release) / "release.json"
    receipt.chmod(0o644)
    receipt.write_text("{")
    with pytest.raises(RefreshError, match="no receipt that can be read"):
        world.plan(release)
    assert receipt.read_text() == "{"


def test_strange_files_left_in_the_tree_are_removed(world: World) -> None:
    release = world.upload("v1", a_model())
    world.bring(release)
    (world.tree(release) / "strange").write_text("?")
    (world.tree(release) / "link").symlink_to("/etc")
    world.bring(release)
    world.publish(release)
    assert not (world.release(release) / "strange").exists()


def test_the_plan_on_the_volume_names_every_file_once(world: World) -> None:
    release = world.upload("v1", a_model())
    world.plan(release, pods=3)
    plan = CopyPlan.model_validate_json((world.arrival(release) / "plan.json").read_bytes())
    paths = sorted(file.path for shard in plan.copy_shards for file in shard.files)
    assert paths == sorted(a_model())
