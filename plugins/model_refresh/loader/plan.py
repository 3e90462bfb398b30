"""Freezes what a release is, and says what the volume still lacks of it and who fetches that."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import ValidationError

from model_refresh.contract import PinnedRelease, PlanRequest, PlanResult
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.evidence import MIB, Diff, human_bytes
from model_refresh.domain.layout import Arrival, ModelLayout
from model_refresh.domain.manifest import Manifest
from model_refresh.domain.plan import CopyPlan, Shard, make_plan
from model_refresh.domain.receipt import Receipt
from model_refresh.loader.bucket import Bucket, pin_again
from model_refresh.loader.ledger import Proven
from model_refresh.loader.lock import Lock
from model_refresh.loader.volume import (
    Room,
    Volume,
    delete,
    entries,
    folders,
    freed_by_deleting,
    is_file,
    sync_folder,
    unseal,
    write_durably,
)

_HEADROOM_SHARE = 0.01
"""Of the bytes to copy: what the file system itself takes for them."""
_HEADROOM = 64 * MIB
"""For ledgers, receipts and folders."""


def run(request: PlanRequest, *, volume: Volume, bucket: Bucket) -> PlanResult:
    """Plan one release; see ``PlanRequest``.

    Raises:
        RefreshError: ``GenerationDrift``, ``SourceMissing``, ``UnsafeFile``, ``Locked``, ``NoSpace``.
    """
    started = time.monotonic()
    layout = ModelLayout(request.model)
    arrival = layout.arrival(request.release.release_id)
    former = _read(volume, arrival)
    manifest = pin_again(bucket, request.release, known=former.manifest if former else None)
    if request.dry_run:
        return _plan(request, manifest, volume=volume, started=started, write=False)
    lock = Lock(volume, arrival, owner=request.run_id, stale_seconds=request.lock_stale_seconds)
    with lock.take():
        _recover(request, volume=volume, layout=layout)
        _tidy(request, manifest, former, volume=volume, layout=layout)
        return _plan(request, manifest, volume=volume, started=started, write=True)


def load(volume: Volume, layout: ModelLayout, release: PinnedRelease) -> CopyPlan:
    """The plan that the run's first pod wrote.

    Raises:
        RefreshError: ``Incomplete`` without one; ``GenerationDrift`` when it is for other bytes.
    """
    arrival = layout.arrival(release.release_id)
    plan = _read(volume, arrival)
    if plan is None:
        raise RefreshError(
            Reason.INCOMPLETE, f"There is no plan {volume / arrival.plan}.", mend="Start a new run, which plans anew."
        )
    if plan.manifest.digest != release.digest:
        raise RefreshError(
            Reason.GENERATION_DRIFT,
            f"The plan {volume / arrival.plan} is for digest {plan.manifest.digest[:12]}, "
            f"this run for {release.digest[:12]}.",
            mend="Start a new run, which plans anew.",
        )
    return plan


def _read(volume: Volume, arrival: Arrival) -> CopyPlan | None:
    try:
        return CopyPlan.model_validate_json((volume / arrival.plan).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _recover(request: PlanRequest, *, volume: Volume, layout: ModelLayout) -> None:
    """A publish that ended between rename and receipt left no release: take its tree back."""
    release_id = request.release.release_id
    folder = volume / layout.release(release_id)
    if volume.receipt(layout, release_id) is not None or not folder.exists():
        return
    if (volume / layout.receipt(release_id)).exists() or request.serving == release_id:
        raise RefreshError(
            Reason.INCOMPLETE,
            f"{folder} has no receipt that can be read, and may be in use.",
            mend="Point the Deployment elsewhere, move the folder away by hand, and run again.",
        )
    tree = volume / layout.arrival(release_id).tree
    if tree.exists():
        volume.discard(folder, layout)
        return
    unseal(folder)
    folder.rename(tree)
    sync_folder(tree.parent)
    sync_folder(folder.parent)


def _tidy(
    request: PlanRequest, manifest: Manifest, former: CopyPlan | None, *, volume: Volume, layout: ModelLayout
) -> None:
    """Leave nothing of earlier runs but proven files of exactly this release."""
    arrival = layout.arrival(request.release.release_id)
    tree = volume / arrival.tree
    delete((volume / arrival.partial(0)).parent)
    other_bytes = former is not None and former.manifest.digest != manifest.digest
    other_run = former is None or former.run_id != request.run_id
    if other_bytes or (request.force and other_run):
        for folder in (tree, volume / arrival.ledgers):
            if folder.exists():
                volume.discard(folder, layout)
    if not tree.exists():
        return
    # A publish that ended early may have made it read-only.
    unseal(tree)
    wanted = {file.path for file in manifest.files}
    for path, seen in list(entries(tree)):
        if path not in wanted or not is_file(seen):
            (tree / path).unlink()


def _plan(request: PlanRequest, manifest: Manifest, *, volume: Volume, started: float, write: bool) -> PlanResult:
    layout = ModelLayout(request.model)
    arrival = layout.arrival(manifest.release_id)
    room = volume.room()
    proven = Proven.read(volume / arrival.ledgers)
    published = volume.receipt(layout, manifest.release_id) is not None
    plan = make_plan(
        manifest,
        model=request.model,
        run_id=request.run_id,
        on_volume=[] if request.force else _reusable(volume.receipts(layout), proven),
        pods=request.pods,
    )
    if published:
        # A published release never changes, not even by force: there is nothing to copy, all to verify.
        plan = plan.model_copy(update={"copy_shards": (Shard(index=0, files=()),), "reuse": ()})
    tree = volume / arrival.tree
    # Without writing, what a forced run would throw away is still there.
    trusted = Proven() if request.force and not write else proven
    missing = sum(file.size for shard in plan.copy_shards for file in shard.files if not trusted.holds(file, tree))
    _check_room(request, missing=missing, volume=volume, room=room, layout=layout)
    if write:
        write_durably(volume / arrival.plan, plan.model_dump_json(indent=1).encode())
    serving = volume.receipt(layout, request.serving) if request.serving else None
    return PlanResult(
        release_id=manifest.release_id,
        copy_shards=tuple(shard.index for shard in plan.copy_shards),
        verify_shards=tuple(shard.index for shard in plan.verify_shards),
        files=len(manifest.files),
        size=manifest.size,
        copied_bytes=plan.copied_bytes,
        reused_bytes=plan.reused_bytes,
        diff=Diff.between(serving.manifest if serving else None, manifest),
        space=volume.space(before=room, taken=missing),
        published=published,
        seconds=time.monotonic() - started,
    )


def _reusable(receipts: list[Receipt], proven: Proven) -> list[Receipt]:
    """Receipts without what an earlier run of this release read back wrong: linked again, it would be wrong again."""
    if not proven.damaged:
        return receipts
    return [
        receipt.model_copy(
            update={
                "manifest": receipt.manifest.model_copy(
                    update={
                        "files": tuple(
                            file for file in receipt.manifest.files if (file.crc32c, file.size) not in proven.damaged
                        )
                    }
                )
            }
        )
        for receipt in receipts
    ]


def _check_room(request: PlanRequest, *, missing: int, volume: Volume, room: Room, layout: ModelLayout) -> None:
    if missing == 0:
        return
    needed = missing + int(missing * _HEADROOM_SHARE) + _HEADROOM
    if needed <= room.free:
        return
    spare = [folder for folder in folders(volume / layout.releases) if folder.name != request.serving]
    own = request.release.release_id
    unfinished = [folder for folder in folders(volume / layout.incoming) if folder.name != own]
    raise RefreshError(
        Reason.NO_SPACE,
        f"{own} needs {human_bytes(needed)} more on the volume {volume.root}, "
        f"which has {human_bytes(room.free)} of {human_bytes(room.total)} free. Releases of {request.model} that do "
        f"not serve hold {_held_by(spare)}. Other unfinished copies in incoming/ hold {_held_by(unfinished)}.",
    )


def _held_by(trees: list[Path]) -> str:
    return f"{human_bytes(freed_by_deleting(trees))}: {', '.join(tree.name for tree in trees) or 'none'}"
