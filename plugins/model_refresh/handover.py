"""What one task hands to the next: the only module that pulls from XCom, typed on the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter

from model_refresh.contract import (
    CopyResult,
    PinnedRelease,
    PlanResult,
    PublishResult,
    VerifyResult,
)
from model_refresh.domain.document import Document
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.evidence import Evidence
from model_refresh.domain.manifest import Digest
from model_refresh.names import (
    APPROVE_RELEASE,
    COPY_SHARD,
    GATHER_EVIDENCE,
    PLAN_COPY,
    PROMOTE_RELEASE,
    PUBLISH_RELEASE,
    VERIFY_SHARD,
    WAIT_FOR_RELEASE,
)

PLAN_KEY = "plan"
"""The plan's own key: its return value is what the mapped tasks expand over."""
SWITCH_KEY = "switch"
QUESTION_KEY = "question"

_T = TypeVar("_T")


class Offer(Document):
    """What ``wait_for_release`` found.

    Attributes:
        release: the release that the whole run is about.
        serving: release id that the Deployment named when the run began; where a roll back goes.
    """

    release: PinnedRelease
    serving: str | None


class Question(Document):
    """What ``approve_release`` asked about; written down when it asked.

    Attributes:
        serving: release id that the person was shown as the one to be replaced.
    """

    release_id: str
    digest: Digest
    serving: str | None


class Switch(Document):
    """What ``promote_release`` is about to do; written down before it does it.

    Attributes:
        before: release id that served until then, None where none did.
        after: release id that is to serve.
    """

    before: str | None
    after: str


def offer(context: Mapping[str, Any]) -> Offer:
    """The release of this run."""
    return _pull(context, WAIT_FOR_RELEASE, Offer)


def plan(context: Mapping[str, Any]) -> PlanResult:
    """The plan of this run."""
    return _pull(context, PLAN_COPY, PlanResult, key=PLAN_KEY)


def copies(context: Mapping[str, Any]) -> list[CopyResult]:
    """What every copy pod moved."""
    return _pull_all(context, COPY_SHARD, CopyResult)


def readings(context: Mapping[str, Any]) -> list[VerifyResult]:
    """What every verify pod read back."""
    return _pull_all(context, VERIFY_SHARD, VerifyResult)


def publication(context: Mapping[str, Any]) -> PublishResult:
    """What was published."""
    return _pull(context, PUBLISH_RELEASE, PublishResult)


def evidence(context: Mapping[str, Any]) -> Evidence:
    """What the approver saw."""
    return _pull(context, GATHER_EVIDENCE, Evidence)


def question(context: Mapping[str, Any]) -> Question:
    """What the person was asked."""
    return _pull(context, APPROVE_RELEASE, Question, key=QUESTION_KEY)


def switch(context: Mapping[str, Any]) -> Switch | None:
    """What was promoted, or None when nothing was."""
    value = context["ti"].xcom_pull(task_ids=PROMOTE_RELEASE, key=SWITCH_KEY)
    return None if value is None else Switch.model_validate(value)


def dump(document: Document) -> dict[str, Any]:
    """A document as XCom takes it."""
    return document.model_dump(mode="json")


def _pull(context: Mapping[str, Any], task_id: str, kind: type[_T], *, key: str = "return_value") -> _T:
    value = context["ti"].xcom_pull(task_ids=task_id, key=key)
    if value is None:
        raise RefreshError(
            Reason.UNEXPECTED, f"Task {task_id} left no {key}.", mend="Clear the run from that task on, or start anew."
        )
    return TypeAdapter(kind).validate_python(value)


def _pull_all(context: Mapping[str, Any], task_id: str, kind: type[_T]) -> list[_T]:
    values = context["ti"].xcom_pull(task_ids=[task_id]) or []
    return TypeAdapter(list[kind]).validate_python([value for value in values if value is not None])  # type: ignore[valid-type] # pydantic takes a variable
