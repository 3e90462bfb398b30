"""Who copies what: files that the volume already holds are linked, the rest is split over pods by bytes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from model_refresh.domain.document import Document
from model_refresh.domain.manifest import Manifest, ManifestFile
from model_refresh.domain.receipt import Receipt


class Reuse(Document):
    """A file that a release on the volume holds already, byte for byte.

    Attributes:
        file: the file of the new release.
        release_id: the release that holds it.
        path: its path there; a publisher may have renamed it.
    """

    file: ManifestFile
    release_id: str
    path: str


class Shard(Document):
    """The part of a manifest that one pod carries."""

    index: int
    files: tuple[ManifestFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


class CopyPlan(Document):
    """``plan.json``: all that the copy, verify and publish pods of one release need to know.

    Attributes:
        copy_shards: what comes from the bucket, at least one shard, so that a release that is all reuse still
            has a pod that links it.
        reuse: what is hard-linked; done by the pod of shard 0.
        verify_shards: every file, split anew: reading back costs reused files as much as copied ones.
    """

    model: str
    run_id: str
    manifest: Manifest
    copy_shards: tuple[Shard, ...]
    reuse: tuple[Reuse, ...]
    verify_shards: tuple[Shard, ...]

    @property
    def copied_bytes(self) -> int:
        """Bytes that come from the bucket."""
        return sum(shard.size for shard in self.copy_shards)

    @property
    def reused_bytes(self) -> int:
        """Bytes that are hard-linked."""
        return sum(reuse.file.size for reuse in self.reuse)


def make_plan(manifest: Manifest, *, model: str, run_id: str, on_volume: Iterable[Receipt], pods: int) -> CopyPlan:
    """Plan the copy of a release.

    Args:
        manifest: the release.
        model: the model's name.
        run_id: the run that plans.
        on_volume: receipts of the releases on the volume; nothing without a receipt is ever reused.
        pods: how many pods may carry it at most.
    """
    held = {
        (file.crc32c, file.size): (receipt.release_id, file.path)
        for receipt in on_volume
        for file in receipt.manifest.files
    }
    reuse: list[Reuse] = []
    missing: list[ManifestFile] = []
    for file in manifest.files:
        holder = held.get((file.crc32c, file.size))
        if holder is None:
            missing.append(file)
        else:
            reuse.append(Reuse(file=file, release_id=holder[0], path=holder[1]))
    return CopyPlan(
        model=model,
        run_id=run_id,
        manifest=manifest,
        copy_shards=split(missing, pods),
        reuse=tuple(reuse),
        verify_shards=split(manifest.files, pods),
    )


def split(files: Sequence[ManifestFile], pods: int) -> tuple[Shard, ...]:
    """Balance files over at most ``pods`` shards by bytes, longest file first to the lightest shard.

    (The longest-processing-time rule: never worse than 4/3 of the best split; R. L. Graham, 1969.)
    No shard is empty, but for the single one of an empty list.
    """
    count = max(1, min(pods, len(files)))
    shards: list[list[ManifestFile]] = [[] for _ in range(count)]
    # The count of files breaks ties, so that files of no size spread as well.
    lightest = [(0, 0, index) for index in range(count)]
    for file in sorted(files, key=lambda file: (-file.size, file.path)):
        size, held, index = heapq.heappop(lightest)
        shards[index].append(file)
        heapq.heappush(lightest, (size + file.size, held + 1, index))
    return tuple(Shard(index=index, files=tuple(members)) for index, members in enumerate(shards))
