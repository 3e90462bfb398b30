"""What is written into a published release's folder, last: the proof that the folder is a release."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from model_refresh.domain.document import Document
from model_refresh.domain.manifest import Digest, Manifest


class Check(Document):
    """One thing that was proven before a release was published.

    Attributes:
        name: what was checked, in a word or two.
        outcome: what was seen, for a person.
    """

    name: str
    outcome: str


class Receipt(Document):
    """``release.json``.

    Attributes:
        copied_bytes: bytes that came from the bucket.
        reused_bytes: bytes hard-linked from releases that were already on the volume.
        seconds: how long the steps took, by step name.
    """

    version: Literal[1] = 1
    model: str
    release_id: str
    digest: Digest
    manifest: Manifest
    run_id: str
    published_at: datetime
    copied_bytes: int
    reused_bytes: int
    checks: tuple[Check, ...]
    seconds: dict[str, float]
