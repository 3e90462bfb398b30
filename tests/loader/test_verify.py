"""Reading back: a wrong byte on the volume is found, and the next run mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model_refresh.contract import PinnedRelease
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.loader.hashing import Seen, read_back
from tests.loader.world import World, a_model, noise


def flip(path: Path, at: int = 1000) -> None:
    """Flip one bit, and leave size and times alone as bit rot does."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def failure(world: World, release: PinnedRelease, **more: Any) -> RefreshError:
    with pytest.raises(RefreshError) as caught:
        world.verify(release, **more)
    return caught.value


def test_every_byte_of_the_shard_is_read(world: World) -> None:
    release = world.upload("v1", a_model())
    planned = world.bring(release)
    results = [world.verify(release, shard) for shard in planned.verify_shards]
    assert sum(result.bytes for result in results) == planned.size
    assert sum(result.files for result in results) == planned.files


def test_a_flipped_bit_is_a_mismatch_and_the_next_run_mends_it(world: World) -> None:
    release = world.upload("v1", a_model())
    world.plan(release, pods=1)
    world.copy(release)
    flip(world.tree(release) / "model-1.safetensors")
    error = failure(world, release)
    assert error.reason is Reason.HASH_MISMATCH
    assert not error.retryable
    assert "model-1.safetensors" in error.message
    fetched = len(world.fetched)
    world.bring(release, pods=1)
    assert world.fetched[fetched:] == ["llama/v1/model-1.safetensors"]
    world.publish(release)


def test_a_truncated_file_is_a_mismatch(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000)})
    world.plan(release)
    world.copy(release)
    with (world.tree(release) / "a.bin").open("r+b") as file:
        file.truncate(4000)
    assert "4000 bytes" in failure(world, release).message


def test_a_missing_file_is_incomplete(world: World) -> None:
    release = world.upload("v1", a_model())
    world.plan(release, pods=1)
    world.copy(release)
    (world.tree(release) / "LICENSE").unlink()
    error = failure(world, release)
    assert error.reason is Reason.INCOMPLETE
    assert "LICENSE" in error.message


def test_a_published_release_is_verified_in_place_and_never_touched(world: World) -> None:
    release = world.refresh("v1", a_model())
    world.bring(release, pods=1)
    damaged = world.release(release) / "model-1.safetensors"
    flip(damaged)
    damaged.chmod(0o444)
    error = failure(world, release)
    assert error.reason is Reason.HASH_MISMATCH
    assert "under a new folder" in error.mend
    assert damaged.exists()


def test_a_file_that_was_damaged_where_it_was_linked_from_is_copied_the_next_time(world: World) -> None:
    first = world.refresh("v1", a_model())
    flip(world.release(first) / "model-1.safetensors")
    second = world.upload("v2", a_model())
    planned = world.plan(second, pods=1)
    assert planned.copied_bytes == 0
    world.copy(second)
    error = failure(world, second)
    assert error.reason is Reason.HASH_MISMATCH
    assert f"It is the same file as in {first.release_id}" in error.message
    assert first.release_id in error.mend
    assert "under a new folder" in error.mend
    assert (world.release(first) / "model-1.safetensors").exists()
    again = world.bring(second, pods=1)
    assert again.copied_bytes == len(a_model()["model-1.safetensors"])
    world.publish(second)
    mended = world.release(second) / "model-1.safetensors"
    assert mended.read_bytes() == a_model()["model-1.safetensors"]
    assert not mended.samefile(world.release(first) / "model-1.safetensors")


def test_only_releases_with_the_damaged_file_itself_are_named(world: World) -> None:
    files = {"a.bin": noise(1, 5000), "b.bin": noise(2, 5000)}
    releases = [world.refresh("v1", files), world.refresh("v2", {"c.bin": files["a.bin"]})]
    third = world.upload("v3", files | {"d.bin": noise(3, 5000)})
    world.plan(third, pods=1)
    world.copy(third)
    # The first is linked in both; the second was fetched, and is in none.
    flip(world.tree(third) / "a.bin")
    flip(world.tree(third) / "d.bin")
    error = failure(world, third)
    assert " and ".join(release.release_id for release in releases) in error.message
    world.bring(third, pods=1)
    flip(world.tree(third) / "a.bin")
    error = failure(world, third)
    assert not any(release.release_id in error.message + error.mend for release in releases)


def test_the_checksum_is_what_cloud_storage_gives(tmp_path: Path) -> None:
    path = tmp_path / "check"
    # The check value of CRC-32C, as RFC 3720 and every catalogue has it: E3069283.
    path.write_bytes(b"123456789")
    counted: list[int] = []
    assert read_back(path, cold=True, on_bytes=counted.append) == Seen(size=9, crc32c="4waSgw==")
    assert counted == [9]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="link"):
        read_back(tmp_path / "link")
