"""Reads a shard back from the volume, every byte: hashing while copying does not prove what the volume holds."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model_refresh.contract import VerifyRequest, VerifyResult
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.layout import ModelLayout
from model_refresh.domain.manifest import ManifestFile
from model_refresh.loader.copy import shard_of
from model_refresh.loader.hashing import Seen, read_back
from model_refresh.loader.ledger import Ledger
from model_refresh.loader.lock import Lock
from model_refresh.loader.plan import load
from model_refresh.loader.progress import Progress
from model_refresh.loader.volume import Volume, sync_folder


def run(request: VerifyRequest, *, volume: Volume) -> VerifyResult:
    """Verify one shard; see ``VerifyRequest``.

    A file that is wrong is taken out of the tree and of what later runs may link, so that the next run fetches it
    anew. A published release is never touched.

    Raises:
        RefreshError: ``HashMismatch``, ``Incomplete``, ``Locked``.
    """
    started = time.monotonic()
    layout = ModelLayout(request.model)
    release_id = request.release.release_id
    arrival = layout.arrival(release_id)
    shard = shard_of(load(volume, layout, request.release).verify_shards, request.shard)
    published = volume.receipt(layout, release_id) is not None
    tree = volume / (layout.release(release_id) if published else arrival.tree)
    lock = Lock(volume, arrival, owner=request.run_id, stale_seconds=request.lock_stale_seconds)
    with lock.join():
        progress = Progress("verify", shard=request.shard, total=shard.size)
        wrong = _read_all(request, shard.files, tree=tree, lock=lock, progress=progress)
        holders = _holders(wrong, tree=tree, volume=volume, layout=layout, release_id=release_id)
        if wrong and not published:
            with Ledger(volume / arrival.ledger(request.shard)) as ledger:
                for file, _ in wrong:
                    ledger.condemn(file)
                    (tree / file.path).unlink(missing_ok=True)
                    sync_folder((tree / file.path).parent)
        if wrong:
            raise _mismatch(wrong, tree=tree, holders=holders, published=published)
        progress.finish()
    return VerifyResult(
        shard=request.shard, files=len(shard.files), bytes=shard.size, seconds=time.monotonic() - started
    )


def _read_all(
    request: VerifyRequest, files: tuple[ManifestFile, ...], *, tree: Path, lock: Lock, progress: Progress
) -> list[tuple[ManifestFile, Seen]]:
    def count(read: int) -> None:
        lock.check()
        progress.add(read)

    def read(file: ManifestFile) -> tuple[ManifestFile, Seen]:
        try:
            return file, read_back(tree / file.path, cold=True, on_bytes=count)
        except FileNotFoundError as error:
            raise RefreshError(Reason.INCOMPLETE, f"{tree / file.path} is not on the volume.") from error

    pool = ThreadPoolExecutor(max_workers=request.workers, thread_name_prefix="verify")
    try:
        return [(file, seen) for file, seen in pool.map(read, files) if not seen.matches(file)]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _holders(
    wrong: list[tuple[ManifestFile, Seen]], *, tree: Path, volume: Volume, layout: ModelLayout, release_id: str
) -> list[str]:
    """Other releases that hold one of these very files, linked: what is wrong here is wrong there."""
    if not wrong:
        return []
    inodes = {(tree / file.path).lstat().st_ino for file, _ in wrong}
    content = {(file.crc32c, file.size) for file, _ in wrong}
    return [
        receipt.release_id
        for receipt in volume.receipts(layout)
        if receipt.release_id != release_id
        and any(
            _inode(volume / layout.release(receipt.release_id) / file.path) in inodes
            for file in receipt.manifest.files
            if (file.crc32c, file.size) in content
        )
    ]


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except (FileNotFoundError, NotADirectoryError):
        return None


def _mismatch(
    wrong: list[tuple[ManifestFile, Seen]], *, tree: Path, holders: list[str], published: bool
) -> RefreshError:
    file, seen = wrong[0]
    named = " and ".join(holders)
    linked = f" It is the same file as in {named}, which may be serving." if holders else ""
    mend = None
    if holders:
        mend = (
            f"The volume damaged a file of {named}, which is never rewritten: check the volume's health, serve a "
            f"release without that file, and publish {named} again under a new folder name. Run again; this "
            "release's bad file is copied anew."
        )
    if published:
        mend = (
            "The volume damaged a published release, which is never rewritten: serve another one, check the volume's "
            "health, and publish this one again under a new folder name."
        )
    more = f" {len(wrong) - 1} more files of this shard are wrong too." if len(wrong) > 1 else ""
    return RefreshError(
        Reason.HASH_MISMATCH,
        f"{tree / file.path} holds {seen.size} bytes with crc32c {seen.crc32c}; "
        f"expected are {file.size} bytes with {file.crc32c}.{more}{linked}",
        mend=mend,
    )
