"""Brings one shard onto the volume: links what is there, fetches the rest, believes no one about either."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from model_refresh.contract import CopyRequest, CopyResult
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.layout import ModelLayout
from model_refresh.domain.manifest import ManifestFile
from model_refresh.domain.plan import CopyPlan, Reuse, Shard
from model_refresh.loader.bucket import Bucket, live_files
from model_refresh.loader.engines import Engine, engine
from model_refresh.loader.hashing import Seen, read_back
from model_refresh.loader.ledger import Ledger, Proven, size_of
from model_refresh.loader.lock import Lock
from model_refresh.loader.plan import load
from model_refresh.loader.progress import Progress, StallWatch
from model_refresh.loader.transfer import Transfer, Writeback, batches
from model_refresh.loader.volume import Volume, delete, make_folder, note, sync_file, sync_folder

_LOOK_SECONDS = 0.1
_NOTHING = Seen(size=0, crc32c="AAAAAA==")
"""What is seen of a file that did not arrive: no byte, and the crc32c of none."""
_ROUNDS = 2
"""How often a file is fetched before its wrong bytes are called a mismatch: once for the network, once to be sure."""

# What an engine's output tells about a failure that is not the engine's own, in the words of errno(3), of Cloud
# Storage and of the two CLIs.
_TELLTALES = (
    (re.compile(r"no space left|disk quota exceeded", re.IGNORECASE), Reason.NO_SPACE),
    (re.compile(r"read-only file system", re.IGNORECASE), Reason.READ_ONLY_VOLUME),
    (
        re.compile(r"\b40[13]\b|permission denied|AccessDenied|does not have (permission|storage\.)", re.IGNORECASE),
        Reason.PERMISSION_DENIED,
    ),
)
# A hard link may be refused where nothing is wrong with the file: it went with a pruned release, belongs to another
# user (fs.protected_hardlinks), or has as many links as the file system allows.
_UNLINKABLE = frozenset({errno.ENOENT, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV})


def run(request: CopyRequest, *, volume: Volume, bucket: Bucket) -> CopyResult:
    """Copy one shard; see ``CopyRequest``.

    Args:
        request: what to copy.
        volume: where to.
        bucket: asked why, when a file does not arrive.

    Raises:
        RefreshError: ``HashMismatch``, ``GenerationDrift``, ``SourceMissing``, ``PermissionDenied``, ``NoSpace``,
            ``Stalled``, ``EngineFailed``, ``Locked``.
    """
    layout = ModelLayout(request.model)
    arrival = layout.arrival(request.release.release_id)
    plan = load(volume, layout, request.release)
    lock = Lock(volume, arrival, owner=request.run_id, stale_seconds=request.lock_stale_seconds)
    with lock.join(), Ledger(volume / arrival.ledger(request.shard)) as ledger:
        copying = _Copying(
            request=request,
            plan=plan,
            shard=shard_of(plan.copy_shards, request.shard),
            volume=volume,
            bucket=bucket,
            engine=engine(request.engine),
            lock=lock,
            ledger=ledger,
            proven=Proven.read(volume / arrival.ledgers),
            tree=make_folder(volume / arrival.tree),
            partial=volume / arrival.partial(request.shard),
        )
        return copying.run()


def shard_of(shards: tuple[Shard, ...], index: int) -> Shard:
    """The shard of that number.

    Raises:
        RefreshError: ``BadRequest`` without one.
    """
    for shard in shards:
        if shard.index == index:
            return shard
    raise RefreshError(Reason.BAD_REQUEST, f"The plan has shards 0 to {len(shards) - 1}, and no shard {index}.")


@dataclass(kw_only=True)
class _Copying:
    request: CopyRequest
    plan: CopyPlan
    shard: Shard
    volume: Volume
    bucket: Bucket
    engine: Engine
    lock: Lock
    ledger: Ledger
    proven: Proven
    tree: Path
    partial: Path
    started: float = field(default_factory=time.monotonic)
    engine_seconds: float = 0
    linked: int = 0
    copied: int = 0

    def run(self) -> CopyResult:
        delete(self.partial)
        reuse = self.plan.reuse if self.request.shard == 0 else ()
        not_linked = [entry.file for entry in reuse if not self._link(entry)]
        missing = [file for file in (*self.shard.files, *not_linked) if not self._keep(file)]
        total = self.shard.size + sum(file.size for file in not_linked)
        kept = total - sum(file.size for file in missing)
        progress = Progress("copy", shard=self.request.shard, total=total, kept=kept)
        self._fetch_all(missing, progress, kept=kept)
        delete(self.partial)
        progress.finish()
        return CopyResult(
            shard=self.request.shard,
            files=len(self.shard.files) + len(reuse),
            copied_bytes=self.copied,
            kept_bytes=kept,
            linked_bytes=self.linked,
            engine_seconds=self.engine_seconds,
            seconds=time.monotonic() - self.started,
        )

    def _link(self, entry: Reuse) -> bool:
        """Link a file of another release; False when it has to be copied instead."""
        if not self.proven.holds(entry.file, self.tree):
            source = self.volume / ModelLayout(self.request.model).release(entry.release_id) / entry.path
            target = self.tree / entry.file.path
            if size_of(source) != entry.file.size:
                note("not_linked", path=entry.file.path, source=str(source), why="gone or of another size")
                return False
            make_folder(target.parent)
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError as error:
                if error.errno not in _UNLINKABLE:
                    raise
                note("not_linked", path=entry.file.path, source=str(source), why=str(error))
                return False
            sync_folder(target.parent)
            self.ledger.prove(entry.file)
        self.linked += entry.file.size
        return True

    def _keep(self, file: ManifestFile) -> bool:
        """Whether an earlier pod has brought the file already."""
        if self.proven.holds(file, self.tree):
            return True
        target = self.tree / file.path
        if size_of(target) != file.size:
            return False
        # Renamed, but its ledger line was lost with the pod.
        if not read_back(target).matches(file):
            return False
        sync_file(target)
        self.ledger.prove(file)
        return True

    def _fetch_all(self, files: list[ManifestFile], progress: Progress, *, kept: int) -> None:
        for left in reversed(range(_ROUNDS)):
            if not files:
                return
            wrong = self._fetch(files, progress, kept=kept, is_last=left == 0)
            if wrong:
                self._refuse_drift([file for file, _ in wrong])
            for file, seen in wrong:
                note("fetched_wrong", path=file.path, expected=file.crc32c, seen=seen.crc32c, size=seen.size)
            files = [file for file, _ in wrong]
        if files:
            file, seen = wrong[0]
            raise RefreshError(
                Reason.HASH_MISMATCH,
                f"{file.path} arrived {_ROUNDS} times as {seen.size} bytes with crc32c {seen.crc32c}; "
                f"the bucket has {file.size} bytes with {file.crc32c}.",
            )

    def _fetch(
        self, files: list[ManifestFile], progress: Progress, *, kept: int, is_last: bool
    ) -> list[tuple[ManifestFile, Seen]]:
        """Fetch and prove files; those that arrived wrong, or not at all, come back."""
        began = time.monotonic()
        copied = self.copied
        # A folder of its own: an earlier pod of this shard may still be ending.
        folder = make_folder(self.partial / uuid.uuid4().hex[:8])
        watch = StallWatch(f"Copy of shard {self.request.shard}", seconds=self.request.stall_seconds)
        proofs: list[Future[tuple[ManifestFile, Seen | None]]] = []
        pool = ThreadPoolExecutor(max_workers=self.request.workers, thread_name_prefix="prove")
        try:
            with (
                tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True) as scratch,
                Transfer(
                    self.engine,
                    batches(self.plan.manifest.prefix, files, folder),
                    workers=self.request.workers,
                    scratch=Path(scratch),
                ) as transfer,
            ):
                writeback = Writeback(transfer, pool)
                running = True
                while running:
                    running = transfer.step()
                    proofs += [pool.submit(self._prove, file, path) for file, path in transfer.landed()]
                    self.lock.check()
                    done = copied + sum(proof.result()[0].size for proof in proofs if proof.done())
                    unproven = transfer.bytes_on_volume()
                    writeback.look(unproven)
                    watch.look((unproven, done, len(transfer.unfinished)))
                    progress.reach(kept + done + unproven)
                    time.sleep(_LOOK_SECONDS if running else 0)
                self.engine_seconds += time.monotonic() - began
                results = [proof.result() for proof in proofs]
            self.copied += sum(file.size for file, seen in results if seen is None)
            if transfer.unfinished and (transfer.failed or is_last):
                raise self._explained(transfer)
            if transfer.failed:
                # Every file landed, and its bytes decide: the engine's own opinion adds nothing.
                note("engine_complained", said=transfer.last_words)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        # gsutil 5.38 has been seen to end well without the last of several files: what is left is fetched again.
        left_out = [(file, _NOTHING) for file in transfer.unfinished]
        return [*((file, seen) for file, seen in results if seen is not None), *left_out]

    def _prove(self, file: ManifestFile, landed: Path) -> tuple[ManifestFile, Seen | None]:
        """Hash a file that landed and move it to its place; what was seen comes back when it is wrong."""
        sync_file(landed)
        seen = read_back(landed)
        if not seen.matches(file):
            landed.unlink()
            return file, seen
        target = self.tree / file.path
        make_folder(target.parent)
        landed.rename(target)
        sync_folder(target.parent)
        self.ledger.prove(file)
        return file, None

    def _refuse_drift(self, files: list[ManifestFile]) -> None:
        """Say so when the bucket no longer holds exactly these objects."""
        live = live_files(self.bucket, self.plan.manifest)
        if not live:
            raise RefreshError(Reason.SOURCE_MISSING, f"{self.plan.manifest.prefix} holds none of its files any more.")
        for file in files:
            now = live.get(file.path)
            if now != file:
                state = f"is generation {now.generation} now" if now else "is deleted"
                raise RefreshError(
                    Reason.GENERATION_DRIFT,
                    f"{self.plan.manifest.prefix}{file.path} was pinned at generation {file.generation} and {state}.",
                )

    def _explained(self, transfer: Transfer) -> RefreshError:
        """Why an engine ended without all of its files."""
        self._refuse_drift(list(transfer.unfinished))
        said = transfer.last_words or "nothing"
        paths = ", ".join(file.path for file in transfer.unfinished[:3])
        reason = next((reason for words, reason in _TELLTALES if words.search(said)), Reason.ENGINE_FAILED)
        return RefreshError(
            reason,
            f"The engine {self.request.engine} ended without {len(transfer.unfinished)} of the shard's files "
            f"({paths}); it said: {said}.",
        )
