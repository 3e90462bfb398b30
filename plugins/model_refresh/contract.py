"""What crosses from Airflow into a loader pod and back, versioned.

The request travels in one environment variable, the result in the container's termination message, which the
kubelet cuts at 4096 bytes. Whatever is larger stays on the volume.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from model_refresh.domain.document import Document
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.evidence import Diff, Space
from model_refresh.domain.manifest import Crc32c, Digest
from model_refresh.domain.receipt import Check

VERSION = 1
REQUEST_VARIABLE = "MODEL_REFRESH_REQUEST"
VOLUME_PATH = "/models"
"""Where a loader pod mounts the claim."""
TERMINATION_PATH = "/dev/termination-log"
TERMINATION_LIMIT = 4096
"""Bytes that the kubelet keeps of a termination message (Kubernetes: MaxContainerTerminationMessageLength)."""

EngineName = Literal["gcloud", "gsutil"]

EXIT_CODES: dict[Reason, int] = {
    # 0 is success, 1 and 2 are Python's own, 126 and above the shell's and the kernel's.
    reason: 10 + number
    for number, reason in enumerate(
        [
            Reason.UNEXPECTED,
            Reason.BAD_REQUEST,
            Reason.HASH_MISMATCH,
            Reason.GENERATION_DRIFT,
            Reason.NO_SPACE,
            Reason.STALLED,
            Reason.READ_ONLY_VOLUME,
            Reason.PERMISSION_DENIED,
            Reason.UNSAFE_FILE,
            Reason.BAD_FORMAT,
            Reason.SOURCE_MISSING,
            Reason.LOCKED,
            Reason.ENGINE_FAILED,
            Reason.INCOMPLETE,
            Reason.KILLED,
        ],
    )
}
"""The loader's exit code for each reason that a pod can fail with."""


class PinnedRelease(Document):
    """Which release a run is about; the same through the whole run.

    Attributes:
        prefix: ``gs://bucket/…/`` of its objects.
        marker: name of the marker object below the prefix, which is no part of the release; None where the
            source uses none.
    """

    release_id: str
    digest: Digest
    prefix: str
    marker: str | None
    marker_generation: int | None


class Request(Document):
    """What every step is told.

    Attributes:
        run_id: Airflow's run; the lock's owner.
        lock_stale_seconds: after this long without a heartbeat a lock counts as left behind. Pods beat every 10 s;
            between its pods a run is silent, but Airflow lets no second run of a model start meanwhile, and a run
            whose lock was taken over stops at its next step.
    """

    version: Literal[1] = 1
    model: str
    run_id: str
    lock_stale_seconds: float = 45


class PlanRequest(Request):
    """Freeze the manifest, look what the volume holds, check the space, split the rest into shards.

    Attributes:
        serving: release id that the Deployment names now, for the diff.
        pods: most shards to split into.
        force: copy every file again, even where the volume holds it.
        dry_run: say what would be done; write nothing.
    """

    command: Literal["plan"] = "plan"
    release: PinnedRelease
    serving: str | None
    pods: Annotated[int, Field(ge=1)]
    force: bool = False
    dry_run: bool = False


class CopyRequest(Request):
    """Copy one shard and prove it.

    Attributes:
        workers: files in flight at once.
        stall_seconds: no byte for so long ends the engine.
    """

    command: Literal["copy"] = "copy"
    release: PinnedRelease
    shard: Annotated[int, Field(ge=0)]
    engine: EngineName
    workers: Annotated[int, Field(ge=1)]
    stall_seconds: Annotated[float, Field(gt=0)]


class VerifyRequest(Request):
    """Read one shard back from the volume, every byte."""

    command: Literal["verify"] = "verify"
    release: PinnedRelease
    shard: Annotated[int, Field(ge=0)]
    workers: Annotated[int, Field(ge=1)]


class PublishRequest(Request):
    """Check formats and completeness, make it read-only, rename it, write the receipt.

    Attributes:
        allow_unsafe: crc32c of files that may be pickles; a person looked at exactly these bytes.
        seconds: how long the steps before took, by step name; kept in the receipt.
    """

    command: Literal["publish"] = "publish"
    release: PinnedRelease
    allow_unsafe: tuple[Crc32c, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict)


class PruneRequest(Request):
    """Delete what retention no longer keeps.

    Attributes:
        keep: how many of the newest releases stay.
        held: release ids that stay whatever their age.
        abandoned_seconds: an unfinished copy whose lock has been silent for so long is deleted too.
        dry_run: name what would be deleted; delete nothing.
    """

    command: Literal["prune"] = "prune"
    keep: Annotated[int, Field(ge=1)]
    held: tuple[str, ...]
    abandoned_seconds: float = 7 * 24 * 3600
    dry_run: bool = False


AnyRequest = Annotated[
    PlanRequest | CopyRequest | VerifyRequest | PublishRequest | PruneRequest, Field(discriminator="command")
]
REQUEST: TypeAdapter[PlanRequest | CopyRequest | VerifyRequest | PublishRequest | PruneRequest] = TypeAdapter(
    AnyRequest
)


class PlanResult(Document):
    """What the plan says, in numbers; the plan itself is on the volume.

    Attributes:
        copy_shards: shard numbers for copy pods; verify_shards likewise.
        published: the volume holds this release already, receipt and all: nothing is copied, all is verified.
    """

    command: Literal["plan"] = "plan"
    release_id: str
    copy_shards: tuple[int, ...]
    verify_shards: tuple[int, ...]
    files: int
    size: int
    copied_bytes: int
    reused_bytes: int
    diff: Diff
    space: Space
    published: bool
    seconds: float


class CopyResult(Document):
    """What one shard moved.

    Attributes:
        copied_bytes: bytes that the engine fetched in this pod and that were proven.
        kept_bytes: bytes that an earlier pod of this shard had proven already.
        engine_seconds: time in the engine, of ``seconds`` in all.
    """

    command: Literal["copy"] = "copy"
    shard: int
    files: int
    copied_bytes: int
    kept_bytes: int
    linked_bytes: int
    engine_seconds: float
    seconds: float


class VerifyResult(Document):
    """What one shard read back."""

    command: Literal["verify"] = "verify"
    shard: int
    files: int
    bytes: int
    seconds: float


class PublishResult(Document):
    """What was published."""

    command: Literal["publish"] = "publish"
    release_id: str
    digest: Digest
    files: int
    size: int
    checks: tuple[Check, ...]
    space: Space
    published_at: datetime
    seconds: float


class PruneResult(Document):
    """What was deleted, or would be."""

    command: Literal["prune"] = "prune"
    pruned: tuple[str, ...]
    kept: tuple[str, ...]
    freed_bytes: int
    seconds: float


class Failure(Document):
    """Why the pod failed."""

    command: Literal["failure"] = "failure"
    reason: Reason
    message: str
    mend: str

    @classmethod
    def of(cls, error: RefreshError) -> Failure:
        """Write an error down; a file name on a volume need not be Unicode, but what is written here must."""
        return cls(reason=error.reason, message=_unicode(error.message), mend=_unicode(error.mend))

    def error(self) -> RefreshError:
        """The error again."""
        return RefreshError(self.reason, self.message, mend=self.mend)


AnyResult = PlanResult | CopyResult | VerifyResult | PublishResult | PruneResult | Failure
RESULT: TypeAdapter[AnyResult] = TypeAdapter(Annotated[AnyResult, Field(discriminator="command")])


def dump_result(result: AnyResult) -> bytes:
    """The termination message; a failure's texts are cut where they would not fit, the longer one first.

    Raises:
        ValueError: when a success does not fit, which is a defect of its contract.
    """
    message = result.model_dump_json().encode()
    while len(message) > TERMINATION_LIMIT:
        if not isinstance(result, Failure):
            raise ValueError(f"a {result.command} result of {len(message)} bytes does not fit {TERMINATION_LIMIT}")  # noqa: TRY004 - its length is wrong, not its type
        text, field = max((result.message, "message"), (result.mend, "mend"), key=lambda pair: len(pair[0]))
        result = result.model_copy(update={field: text[: len(text) // 2] + "…"})
        message = result.model_dump_json().encode()
    return message


def _unicode(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
