"""Which releases may leave the volume (policy only; the loader deletes)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Published:
    """A release on the volume, by its receipt."""

    release_id: str
    published_at: datetime


def expendable(releases: Iterable[Published], *, keep: int, held: Collection[str]) -> list[str]:
    """Release ids to prune, oldest first.

    The ``keep`` newest stay, and whatever is held, on top: the serving release, the one to roll back to,
    pinned ones, and all that a ReplicaSet or pod still names. Doubt keeps.

    Args:
        releases: all releases of one model on the volume.
        keep: how many of the newest to keep; at least 1.
        held: release ids that must stay whatever their age.

    Raises:
        ValueError: when ``keep`` is below 1.
    """
    if keep < 1:
        raise ValueError(f"keep={keep}: at least the newest release stays")
    newest_first = sorted(releases, key=lambda release: (release.published_at, release.release_id), reverse=True)
    spare = [release.release_id for release in newest_first[keep:] if release.release_id not in held]
    return spare[::-1]
