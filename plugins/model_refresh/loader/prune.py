"""Deletes the releases that retention no longer keeps, and what crashes left behind."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import ValidationError

from model_refresh.contract import PruneRequest, PruneResult
from model_refresh.domain.layout import ModelLayout
from model_refresh.domain.plan import CopyPlan
from model_refresh.domain.retention import Published, expendable
from model_refresh.loader.lock import Lock
from model_refresh.loader.volume import Volume, delete, folders, freed_by_deleting, note

_LISTED_BYTES = 1500
"""Of release ids in a result, pruned and kept each: both and the rest must fit the termination message."""


def run(request: PruneRequest, *, volume: Volume) -> PruneResult:
    """Prune one model; see ``PruneRequest``. More releases than a result can name are left for the next time."""
    started = time.monotonic()
    layout = ModelLayout(request.model)
    receipts = volume.receipts(layout)
    arriving, left_behind = _arriving(request, volume=volume, layout=layout)
    held = {*request.held, *arriving}
    spare = expendable(
        (Published(release_id=receipt.release_id, published_at=receipt.published_at) for receipt in receipts),
        keep=request.keep,
        held=held,
    )
    pruned = _fitting(spare)
    known = {receipt.release_id for receipt in receipts}
    for folder in folders(volume / layout.releases):
        if folder.name not in known:
            note("left_alone", folder=str(folder), why="it has no receipt of its own, so it may be anything")
    doomed = [volume / layout.release(release_id) for release_id in pruned]
    leftovers = [*folders(volume / layout.trash), *left_behind]
    freed = freed_by_deleting([*doomed, *leftovers])
    if not request.dry_run:
        for folder in (*doomed, *left_behind):
            volume.discard(folder, layout)
        for folder in folders(volume / layout.trash):
            delete(folder)
    return PruneResult(
        pruned=tuple(pruned),
        kept=tuple(_fitting(sorted(known.difference(pruned)))),
        freed_bytes=freed,
        seconds=time.monotonic() - started,
    )


def _arriving(request: PruneRequest, *, volume: Volume, layout: ModelLayout) -> tuple[set[str], list[Path]]:
    """Releases that a run is just linking files of, and folders of runs that are over or were given up."""
    linked: set[str] = set()
    over: list[Path] = []
    for folder in folders(volume / layout.incoming):
        arrival = layout.arrival(folder.name)
        lock = Lock(volume, arrival, owner=request.run_id, stale_seconds=request.lock_stale_seconds)
        if volume.receipt(layout, folder.name) is not None and lock.is_stale():
            over.append(folder)
            continue
        silent = lock.silent_seconds()
        if silent > request.abandoned_seconds:
            note("abandoned", folder=str(folder), silent_seconds=round(silent))
            over.append(folder)
            continue
        try:
            plan = CopyPlan.model_validate_json((volume / arrival.plan).read_bytes())
        except (FileNotFoundError, ValidationError):
            continue
        linked.update(entry.release_id for entry in plan.reuse)
        linked.add(folder.name)
    return linked, over


def _fitting(release_ids: list[str]) -> list[str]:
    fitting: list[str] = []
    size = 0
    for release_id in release_ids:
        size += len(release_id.encode()) + len(',""')
        if size > _LISTED_BYTES:
            break
        fitting.append(release_id)
    return fitting
