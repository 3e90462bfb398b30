"""One run of a refresh, as a task sees it: its context, and what the tasks before it handed over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from model_refresh import handover
from model_refresh.contract import CopyResult, PinnedRelease, PlanResult, PublishResult, VerifyResult
from model_refresh.domain.evidence import Diff, Evidence, Space
from model_refresh.domain.receipt import Check
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
from tests.unit.domain.test_evidence import evidence
from tests.unit.given import NOON
from tests.unit.kube import SERVING

DIGEST = "ab" * 32
OFFERED = "v2-abababababab"
GIB = 1024**3
DEFAULTS = {"release": None, "engine": "gcloud", "pods": 4, "workers": 4, "force": False, "dry_run": False}

release = PinnedRelease(
    release_id=OFFERED, digest=DIGEST, prefix="gs://bucket/llama/v2/", marker="_SUCCESS", marker_generation=3
)


class FakeTaskInstance:
    """Keeps what is pushed, and gives back what any task pushed."""

    def __init__(self, task_id: str = "this_task") -> None:
        self.task_id = task_id
        self.map_index = -1
        self.xcoms: dict[tuple[str, str], Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[self.task_id, key] = value

    def xcom_pull(self, task_ids: str | list[str], key: str = "return_value") -> Any:
        if isinstance(task_ids, str):
            return self.xcoms.get((task_ids, key))
        return [value for task_id in task_ids for value in self.xcoms.get((task_id, key)) or []]


class Run:
    """A run that got as far as an approval; take away or change what a test needs otherwise."""

    def __init__(self, task_id: str = "this_task", *, serving: str | None = SERVING, **params: Any) -> None:
        self.ti = FakeTaskInstance(task_id)
        self.context: dict[str, Any] = {
            "ti": self.ti,
            "task_instance": self.ti,
            "run_id": "manual__1",
            "params": DEFAULTS | params,
            "outlet_events": {},
            "dag_run": SimpleNamespace(run_type="manual"),
        }
        self.left(WAIT_FOR_RELEASE, handover.dump(handover.Offer(release=release, serving=serving)))
        self.left(PLAN_COPY, handover.dump(plan()), key=handover.PLAN_KEY)
        self.left(COPY_SHARD, [handover.dump(copied(0)), handover.dump(copied(1, seconds=60)), None])
        self.left(VERIFY_SHARD, [handover.dump(read(0)), handover.dump(read(1, seconds=20))])
        self.left(PUBLISH_RELEASE, handover.dump(published()))
        self.left(GATHER_EVIDENCE, handover.dump(shown(serving=serving)))
        self.left(
            APPROVE_RELEASE, {"chosen_options": ["Approve"], "responded_by_user": {"id": "alice", "name": "Alice"}}
        )

        asked = handover.Question(release_id=OFFERED, digest=DIGEST, serving=serving)
        self.left(APPROVE_RELEASE, handover.dump(asked), key=handover.QUESTION_KEY)

    def left(self, task_id: str, value: Any, *, key: str = "return_value") -> Run:
        self.ti.xcoms[task_id, key] = value
        return self

    def without(self, task_id: str, *, key: str = "return_value") -> Run:
        del self.ti.xcoms[task_id, key]
        return self

    def switched(self, before: str | None = SERVING, after: str = OFFERED) -> Run:
        return self.left(
            PROMOTE_RELEASE, handover.dump(handover.Switch(before=before, after=after)), key=handover.SWITCH_KEY
        )


def shown(**fields: Any) -> Evidence:
    return evidence(**({"release_id": OFFERED, "digest": DIGEST, "deployment": "llama"} | fields))


def plan(**fields: Any) -> PlanResult:
    least = {
        "release_id": OFFERED,
        "copy_shards": (0, 1),
        "verify_shards": (0, 1),
        "files": 4,
        "size": 2 * GIB,
        "copied_bytes": GIB,
        "reused_bytes": GIB,
        "diff": Diff(added=1, changed=1, removed=0, unchanged=2, changed_bytes=GIB),
        "space": Space(total=100 * GIB, free_before=50 * GIB, free_after=49 * GIB),
        "published": False,
        "seconds": 2,
    }
    return PlanResult(**(least | fields))


def copied(shard: int, *, seconds: float = 40) -> CopyResult:
    return CopyResult(
        shard=shard, files=2, copied_bytes=GIB // 2, kept_bytes=0, linked_bytes=0, engine_seconds=1, seconds=seconds
    )


def read(shard: int, *, size: int = GIB, seconds: float = 10) -> VerifyResult:
    return VerifyResult(shard=shard, files=2, bytes=size, seconds=seconds)


def published(**fields: Any) -> PublishResult:
    least = {
        "release_id": OFFERED,
        "digest": DIGEST,
        "files": 4,
        "size": 2 * GIB,
        "checks": (Check(name="Formats", outcome="3 safetensors"),),
        "space": Space(total=100 * GIB, free_before=1, free_after=48 * GIB),
        "published_at": NOON,
        "seconds": 3,
    }
    return PublishResult(**(least | fields))
