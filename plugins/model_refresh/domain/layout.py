"""Where everything of a model stands on the volume; no other module spells such a path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from model_refresh.domain.manifest import RECEIPT_NAME


@dataclass(frozen=True)
class ModelLayout:
    """The folders of one model, relative to the volume's root."""

    model: str

    @property
    def root(self) -> PurePosixPath:
        """All of the model."""
        return PurePosixPath(self.model)

    @property
    def releases(self) -> PurePosixPath:
        """Published releases, a folder each."""
        return self.root / "releases"

    @property
    def trash(self) -> PurePosixPath:
        """Where a release is renamed to before it is deleted, so that it is gone at once or not at all."""
        return self.root / "trash"

    @property
    def incoming(self) -> PurePosixPath:
        """Releases on their way."""
        return self.root / "incoming"

    def release(self, release_id: str) -> PurePosixPath:
        """A published release's read-only tree."""
        return self.releases / release_id

    def receipt(self, release_id: str) -> PurePosixPath:
        """The file whose presence makes the folder a release; written last."""
        return self.release(release_id) / RECEIPT_NAME

    def arrival(self, release_id: str) -> Arrival:
        """The folder in which a release is put together."""
        return Arrival(self.incoming / release_id)


@dataclass(frozen=True)
class Arrival:
    """One release under ``incoming/``."""

    root: PurePosixPath

    @property
    def plan(self) -> PurePosixPath:
        """The frozen copy plan, manifest included."""
        return self.root / "plan.json"

    @property
    def lock(self) -> PurePosixPath:
        """A folder: making it is taking the lock."""
        return self.root / "lock"

    @property
    def heartbeat(self) -> PurePosixPath:
        """Written again and again by whoever holds the lock."""
        return self.lock / "heartbeat.json"

    @property
    def tree(self) -> PurePosixPath:
        """Proven files under their final names; becomes the release by one rename."""
        return self.root / "tree"

    @property
    def ledgers(self) -> PurePosixPath:
        """Which files are proven; a file a shard, because two writers of one file can hang over NFS."""
        return self.root / "ledger"

    def ledger(self, shard: int) -> PurePosixPath:
        """What the ledgers of this shard's pods are named after, each with an ending of its own."""
        return self.ledgers / f"shard-{shard:03d}.jsonl"

    def partial(self, shard: int) -> PurePosixPath:
        """Where the engine of this shard writes what is not proven yet."""
        return self.root / "partial" / f"shard-{shard:03d}"
