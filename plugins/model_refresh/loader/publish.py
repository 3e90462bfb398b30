"""Turns a proven tree into a release: checked, read-only, renamed into place, receipt last.

Every step can be the last one before a crash; run again, it goes on from there:
renamed but without receipt: it is checked and gets its receipt; with receipt: only the leftovers are removed.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from model_refresh.contract import PublishRequest, PublishResult
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.evidence import human_bytes
from model_refresh.domain.layout import ModelLayout
from model_refresh.domain.manifest import RECEIPT_NAME, Manifest
from model_refresh.domain.plan import CopyPlan
from model_refresh.domain.receipt import Check, Receipt
from model_refresh.loader.bucket import Bucket, pin_again
from model_refresh.loader.ledger import Proven
from model_refresh.loader.lock import Lock
from model_refresh.loader.plan import load
from model_refresh.loader.volume import (
    FILE_MODE,
    FOLDER_MODE,
    Room,
    Volume,
    entries,
    is_file,
    make_folder,
    seal,
    sync_folder,
    write_durably,
)

_SHOWN = 3


def run(request: PublishRequest, *, volume: Volume, bucket: Bucket) -> PublishResult:
    """Publish one release; see ``PublishRequest``.

    Raises:
        RefreshError: ``GenerationDrift``, ``Incomplete``, ``UnsafeFile``, ``BadFormat``, ``Locked``.
    """
    started = time.monotonic()
    room = volume.room()
    layout = ModelLayout(request.model)
    release_id = request.release.release_id
    arrival = layout.arrival(release_id)
    lock = Lock(volume, arrival, owner=request.run_id, stale_seconds=request.lock_stale_seconds)
    receipt = volume.receipt(layout, release_id)
    if receipt is None:
        plan = load(volume, layout, request.release)
        pin_again(bucket, request.release, known=plan.manifest)
        with lock.join():
            receipt = _publish(request, plan, volume=volume, layout=layout, lock=lock, started=started)
    else:
        pin_again(bucket, request.release, known=receipt.manifest)
    # A crash may have come before this.
    release = volume / layout.release(release_id)
    release.chmod(FOLDER_MODE)
    sync_folder(release)
    if (volume / arrival.root).exists() and (lock.is_owned() or lock.is_stale()):
        volume.discard(volume / arrival.root, layout)
    return _result(receipt, volume=volume, room=room, started=started)


def _publish(
    request: PublishRequest, plan: CopyPlan, *, volume: Volume, layout: ModelLayout, lock: Lock, started: float
) -> Receipt:
    release_id = request.release.release_id
    arrival = layout.arrival(release_id)
    release = volume / layout.release(release_id)
    tree = volume / arrival.tree
    if release.exists():
        if tree.exists():
            raise RefreshError(Reason.INCOMPLETE, f"{release} is in the way of {tree}, and has no receipt.")
        tree = release
    proven = Proven.read(volume / arrival.ledgers)
    checks = _check(request, plan.manifest, tree=tree, proven=proven)
    seal(tree)
    if tree != release:
        make_folder(release.parent)
        lock.check(anew=True)
        tree.rename(release)
        sync_folder(release.parent)
        sync_folder(tree.parent)
    reused = _reused_bytes(plan, release)
    receipt = Receipt(
        model=request.model,
        release_id=release_id,
        digest=plan.manifest.digest,
        manifest=plan.manifest,
        run_id=request.run_id,
        published_at=datetime.now(UTC),
        copied_bytes=plan.manifest.size - reused,
        reused_bytes=reused,
        checks=tuple(checks),
        seconds={**request.seconds, "publish": round(time.monotonic() - started, 3)},
    )
    lock.check(anew=True)
    write_durably(volume / layout.receipt(release_id), receipt.model_dump_json(indent=1).encode(), mode=FILE_MODE)
    return receipt


def _reused_bytes(plan: CopyPlan, release: Path) -> int:
    """Bytes that share their place with another release; what was to be linked may have been copied after all."""
    return sum(entry.file.size for entry in plan.reuse if (release / entry.file.path).lstat().st_nlink > 1)


def _check(request: PublishRequest, manifest: Manifest, *, tree: Path, proven: Proven) -> list[Check]:
    # Imported here: the library of tensors is slow to load, and only this step opens any.
    from model_refresh.loader.formats import check_formats, check_safety  # noqa: PLC0415 - see above

    _check_complete(manifest, tree=tree, proven=proven)
    return [
        Check(
            name="Complete",
            outcome=f"{len(manifest.files)} files, {human_bytes(manifest.size)}, each proven by crc32c; "
            "none missing, none extra",
        ),
        check_safety(tree, manifest.files, allowed=request.allow_unsafe),
        *check_formats(tree, manifest.files),
    ]


def _check_complete(manifest: Manifest, *, tree: Path, proven: Proven) -> None:
    wanted = {file.path for file in manifest.files}
    # What a crash left of the receipt's temporary file goes with it.
    for leftover in tree.glob(f".{RECEIPT_NAME}.*.tmp"):
        leftover.unlink()
    found = dict(entries(tree)) if tree.exists() else {}
    special = sorted(path for path, seen in found.items() if not is_file(seen))
    if special:
        raise RefreshError(Reason.UNSAFE_FILE, f"{_some(special)} in {tree}: links or devices, not files.")
    missing = sorted(file.path for file in manifest.files if not proven.holds(file, tree))
    if missing:
        raise RefreshError(Reason.INCOMPLETE, f"{_some(missing)}: missing in {tree}, or not proven.")
    extra = sorted(found.keys() - wanted)
    if extra:
        raise RefreshError(Reason.INCOMPLETE, f"{_some(extra)} in {tree}: no part of the release.")


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more


def _result(receipt: Receipt, *, volume: Volume, room: Room, started: float) -> PublishResult:
    return PublishResult(
        release_id=receipt.release_id,
        digest=receipt.digest,
        files=len(receipt.manifest.files),
        size=receipt.manifest.size,
        checks=receipt.checks,
        space=volume.space(before=room),
        published_at=receipt.published_at,
        seconds=time.monotonic() - started,
    )
