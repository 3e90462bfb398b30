"""Pruning: what stays, what goes, and what crashes left behind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from model_refresh.contract import PinnedRelease, dump_result
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.receipt import Receipt
from model_refresh.loader.volume import Room
from tests.loader.world import LAYOUT, LONG_AGO, World, a_model, noise


@pytest.fixture
def three(world: World) -> list[str]:
    """Three releases, oldest first."""
    return [world.refresh(f"v{number}", {"a.bin": noise(number, 100_000)}).release_id for number in (1, 2, 3)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_and_the_held_stay(world: World, three: list[str]) -> None:
    result = world.prune(keep=1, held=(three[0], "unknown"))
    assert result.pruned == (three[1],)
    assert set(result.kept) == {three[0], three[2]}
    assert result.freed_bytes >= 100_000
    assert names(world.root / LAYOUT.releases) == sorted(result.kept)
    assert names(world.root / LAYOUT.trash) == []


def test_a_dry_run_deletes_nothing_and_says_the_same(world: World, three: list[str]) -> None:
    (world.root / LAYOUT.trash / "left").mkdir()
    dry = world.prune(dry_run=True)
    assert names(world.root / LAYOUT.releases) == sorted(three)
    assert names(world.root / LAYOUT.trash) == ["left"]
    assert dry.model_dump(exclude={"seconds"}) == world.prune().model_dump(exclude={"seconds"})


def test_linked_files_free_nothing_while_another_release_holds_them(world: World) -> None:
    world.refresh("v1", a_model())
    world.refresh("v2", a_model())
    assert world.prune().freed_bytes < 10_000, "the receipt is all that was its own"


def test_links_within_what_is_pruned_are_freed_once(world: World) -> None:
    for folder in ("v1", "v2"):
        world.refresh(folder, {"a.bin": noise(1, 100_000)})
    world.refresh("v3", {"b.bin": b"x"})
    assert 100_000 <= world.prune().freed_bytes < 130_000


def test_a_folder_without_a_receipt_is_only_reported(
    world: World, three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (world.root / LAYOUT.releases / "by-hand").mkdir()
    world.prune()
    assert "by-hand" in names(world.root / LAYOUT.releases)
    assert '"left_alone"' in capsys.readouterr().out


def test_what_a_crashed_prune_or_publish_left_is_finished(world: World) -> None:
    release = world.refresh("v1", a_model())
    half = world.root / LAYOUT.trash / "v0-0123-abcd"
    (half / "sub").mkdir(parents=True)
    (half / "sub/file").write_bytes(b"x" * 10_000)
    (half / "sub").chmod(0o555)
    world.plan(release)
    assert world.arrival(release).exists()
    world.prune()
    assert not half.exists()
    assert world.arrival(release).exists(), "its lock is fresh"
    world.prune(lock_stale_seconds=LONG_AGO)
    assert not world.arrival(release).exists()


def test_unfinished_releases_are_kept_for_the_next_run(world: World) -> None:
    release = world.upload("v1", a_model())
    world.bring(release)
    world.prune(lock_stale_seconds=LONG_AGO)
    assert world.tree(release).exists()


def test_a_release_that_is_just_being_linked_from_stays(world: World) -> None:
    first = world.refresh("v1", a_model())
    world.refresh("v2", {"b.bin": b"x"})
    world.plan(world.upload("v3", a_model()))
    assert first.release_id in world.prune().kept


def test_an_abandoned_copy_goes_and_holds_no_release_any_more(world: World) -> None:
    first = world.refresh("v1", a_model())
    second = world.refresh("v2", {"b.bin": b"x"})
    abandoned = world.upload("v3", a_model())
    world.plan(abandoned)
    world.copy(abandoned)
    time.sleep(0.05)
    assert first.release_id in world.prune(abandoned_seconds=60).kept, "it may yet be gone on with"
    dry = world.prune(abandoned_seconds=0.01, dry_run=True)
    assert world.tree(abandoned).exists()
    result = world.prune(abandoned_seconds=0.01)
    assert (result.pruned, result.kept) == ((first.release_id,), (second.release_id,))
    assert dry.freed_bytes == result.freed_bytes >= sum(map(len, a_model().values()))
    assert not world.arrival(abandoned).exists()
    assert names(world.root / LAYOUT.trash) == []


def test_a_copy_that_failed_a_moment_ago_is_not_abandoned(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000)})
    world.room = Room(total=1, free=0)
    with pytest.raises(RefreshError) as caught:
        world.plan(release)
    assert caught.value.reason is Reason.NO_SPACE
    assert (world.arrival(release) / "lock/heartbeat.json").stat().st_mtime == 0, "given back, for the next run"
    world.prune()
    assert world.arrival(release).exists()


def test_what_has_no_lock_is_not_called_abandoned(world: World) -> None:
    folder = world.root / LAYOUT.incoming / "by-hand"
    folder.mkdir(parents=True)
    world.prune(abandoned_seconds=0)
    assert folder.exists()


def test_a_model_without_anything_is_nothing_to_prune(world: World) -> None:
    result = world.prune()
    assert (result.pruned, result.kept, result.freed_bytes) == ((), (), 0)


def test_more_releases_than_a_result_can_name_are_pruned_bit_by_bit(world: World) -> None:
    template = Receipt.model_validate_json((_published(world) / "release.json").read_bytes())
    for number in range(60):
        release_id = f"{'long' * 15}{number:03d}-{template.digest[:12]}"
        folder = world.root / LAYOUT.release(release_id)
        folder.mkdir()
        (folder / "release.json").write_text(template.model_copy(update={"release_id": release_id}).model_dump_json())
    first = world.prune()
    assert 0 < len(first.pruned) < 60
    assert len(dump_result(first)) <= 4096
    while world.prune().pruned:
        pass
    assert len(names(world.root / LAYOUT.releases)) == 1


def _published(world: World) -> Path:
    release: PinnedRelease = world.refresh("v1", a_model())
    return world.release(release)
