"""What was decided about releases, so that a schedule never asks twice and a rollback never goes blind."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from model_refresh.domain.document import Document
from model_refresh.domain.manifest import Digest

_KEPT = 100
"""Decisions kept a model; older ones leave, and no schedule looks that far back."""


class Outcome(StrEnum):
    """How a release ended."""

    PROMOTED = "promoted"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


class Decision(Document):
    """One answer about one release.

    Attributes:
        by: who answered, as Airflow knows them; empty where no person did.
        at: when; time zone aware.
        note: a person's note or a failure's text.
    """

    release_id: str
    digest: Digest
    outcome: Outcome
    by: str
    at: datetime
    run_id: str
    note: str = ""


class Decisions(Document):
    """All decisions about one model, newest last."""

    version: Literal[1] = 1
    decisions: tuple[Decision, ...] = ()

    def add(self, decision: Decision) -> Decisions:
        """With one more; a later decision about the same release replaces what is offered, not the record."""
        return Decisions(decisions=(*self.decisions, decision)[-_KEPT:])

    @property
    def decided(self) -> frozenset[str]:
        """Digests that a schedule does not offer again."""
        return frozenset(decision.digest for decision in self.decisions)
