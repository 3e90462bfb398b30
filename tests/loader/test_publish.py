"""Publishing: what is refused, what a release looks like, and every place where a crash can come between."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from model_refresh.contract import PinnedRelease
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.receipt import Receipt
from model_refresh.loader import publish
from model_refresh.loader.lock import Lock
from model_refresh.loader.volume import seal
from tests.loader.world import LAYOUT, World, a_model


def modes(folder: Path) -> set[tuple[str, str]]:
    return {
        ("folder" if path.is_dir() else "file", oct(stat.S_IMODE(path.stat().st_mode)))
        for path in (folder, *folder.rglob("*"))
    }


def failure(world: World, release: PinnedRelease, **more: object) -> RefreshError:
    with pytest.raises(RefreshError) as caught:
        world.publish(release, **more)
    return caught.value


@pytest.fixture
def brought(world: World) -> PinnedRelease:
    """A release that is copied and verified."""
    release = world.upload("v1", a_model())
    world.bring(release)
    return release


def test_a_release_is_read_only_with_its_receipt(world: World, brought: PinnedRelease) -> None:
    result = world.publish(brought, seconds={"copy": 1.5})
    folder = world.release(brought)
    assert modes(folder) == {("folder", "0o555"), ("file", "0o444")}
    receipt = Receipt.model_validate_json((folder / "release.json").read_bytes())
    assert receipt.digest == receipt.manifest.digest == brought.digest == result.digest
    assert receipt.seconds["copy"] == 1.5
    assert receipt.copied_bytes == sum(map(len, a_model().values()))
    assert [check.name for check in result.checks] == ["Complete", "Safety", "Weights", "Index", "JSON"]
    assert {path.name for path in folder.iterdir()} == {*(path.split("/")[0] for path in a_model()), "release.json"}
    assert not world.arrival(brought).exists()


def test_publishing_again_answers_the_same(world: World, brought: PinnedRelease) -> None:
    first = world.publish(brought)
    again = world.publish(brought)
    ignored = {"seconds", "space"}
    assert again.model_dump(exclude=ignored) == first.model_dump(exclude=ignored)


def test_a_published_release_keeps_the_one_it_shares_files_with_as_it_was(world: World, brought: PinnedRelease) -> None:
    world.publish(brought)
    before = {path: path.stat().st_mode for path in world.release(brought).rglob("*")}
    second = world.upload("v2", a_model())
    world.bring(second)
    world.publish(second)
    assert {path: path.stat().st_mode for path in world.release(brought).rglob("*")} == before


def test_a_bucket_that_changed_meanwhile_is_drift(world: World, brought: PinnedRelease) -> None:
    world.bucket.put("llama/v1/config.json", b"{}")
    error = failure(world, brought)
    assert error.reason is Reason.GENERATION_DRIFT
    assert "config.json overwritten" in error.message
    assert not world.release(brought).exists()


def test_a_missing_file_is_incomplete(world: World, brought: PinnedRelease) -> None:
    (world.tree(brought) / "LICENSE").unlink()
    assert "LICENSE" in failure(world, brought).message
    assert not world.release(brought).exists()


def test_a_file_too_many_is_incomplete(world: World, brought: PinnedRelease) -> None:
    (world.tree(brought) / "extra").write_text("")
    error = failure(world, brought)
    assert error.reason is Reason.INCOMPLETE
    assert "extra" in error.message


def test_a_file_that_no_ledger_proves_is_incomplete(world: World, brought: PinnedRelease) -> None:
    shutil.rmtree(world.arrival(brought) / "ledger")
    assert failure(world, brought).reason is Reason.INCOMPLETE


@pytest.mark.parametrize("target", ["/etc/hostname", "/etc", "LICENSE"])
def test_links_are_refused(world: World, brought: PinnedRelease, target: str) -> None:
    (world.tree(brought) / "link").symlink_to(target)
    error = failure(world, brought)
    assert error.reason is Reason.UNSAFE_FILE
    assert "link" in error.message


def test_a_crash_after_sealing_is_no_matter(world: World, brought: PinnedRelease) -> None:
    tree = world.tree(brought)
    (tree / "tokenizer/config.json").chmod(0o444)
    (tree / "tokenizer").chmod(0o555)
    world.publish(brought)
    assert modes(world.release(brought)) == {("folder", "0o555"), ("file", "0o444")}


def test_a_crash_between_rename_and_receipt_is_gone_on_from(world: World, brought: PinnedRelease) -> None:
    folder = world.release(brought)
    folder.parent.mkdir()
    world.tree(brought).rename(folder)
    (folder / ".release.json.0123abcd.tmp").write_text('{"half": ')
    world.publish(brought)
    assert (folder / "release.json").exists()
    assert not list(folder.glob(".release*"))


def test_a_crash_after_the_receipt_only_leaves_things_to_clear(world: World, brought: PinnedRelease) -> None:
    kept = world.folder / "kept"
    shutil.copytree(world.arrival(brought), kept)
    first = world.publish(brought)
    shutil.copytree(kept, world.arrival(brought))
    world.release(brought).chmod(0o755)
    again = world.publish(brought)
    assert again.published_at == first.published_at
    assert not world.arrival(brought).exists()
    assert modes(world.release(brought)) == {("folder", "0o555"), ("file", "0o444")}


def test_another_runs_work_on_the_same_release_is_left_alone(world: World, brought: PinnedRelease) -> None:
    world.publish(brought)
    world.plan(brought, run_id="run-2")
    world.publish(brought, run_id="run-1")
    assert world.arrival(brought).exists()


@pytest.mark.parametrize("renamed", [False, True], ids=["before the rename", "before the receipt"])
def test_a_run_that_loses_the_lock_on_the_way_publishes_nothing(
    world: World, brought: PinnedRelease, monkeypatch: pytest.MonkeyPatch, *, renamed: bool
) -> None:
    folder = world.release(brought)
    if renamed:
        folder.parent.mkdir()
        world.tree(brought).rename(folder)

    def seal_slowly(tree: Path) -> None:
        seal(tree)
        arrival = LAYOUT.arrival(brought.release_id)
        Lock(world.volume, arrival, owner="run-2", stale_seconds=-1).take()

    monkeypatch.setattr(publish, "seal", seal_slowly)
    assert failure(world, brought).reason is Reason.LOCKED
    assert folder.exists() == renamed
    assert not (folder / "release.json").exists()


def test_the_receipt_counts_as_reused_what_was_linked_indeed(world: World, brought: PinnedRelease) -> None:
    world.publish(brought)
    gone = "model-1.safetensors"
    second = world.upload("v2", a_model())
    assert world.plan(second, pods=1).copied_bytes == 0
    world.release(brought).chmod(0o755)
    (world.release(brought) / gone).unlink()
    world.copy(second)
    world.publish(second)
    receipt = Receipt.model_validate_json((world.release(second) / "release.json").read_bytes())
    assert receipt.copied_bytes == len(a_model()[gone])
    assert receipt.reused_bytes == sum(map(len, a_model().values())) - receipt.copied_bytes


def test_a_run_without_the_lock_publishes_nothing(world: World, brought: PinnedRelease) -> None:
    assert failure(world, brought, run_id="run-2").reason is Reason.LOCKED
    assert not (world.root / LAYOUT.releases).exists()
