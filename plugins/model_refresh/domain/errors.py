"""Why a refresh can fail: one closed list of reasons, and the exceptions that carry them.

``RefreshError``
    ├── ``ConfigError``    a fleet file is wrong (raised before anything runs)
    └── everything else    raised as ``RefreshError`` itself, told apart by ``reason``

A reason is a machine's word (metrics, retries, exit codes hang on it); the message is for the person who
reads it at night: what happened, where, and what to do.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something failed. Closed: an outcome that fits none of these is ``Unexpected``."""

    HASH_MISMATCH = "HashMismatch"
    GENERATION_DRIFT = "GenerationDrift"
    NO_SPACE = "NoSpace"
    STALLED = "Stalled"
    READ_ONLY_VOLUME = "ReadOnlyVolume"
    PERMISSION_DENIED = "PermissionDenied"
    UNSAFE_FILE = "UnsafeFile"
    BAD_FORMAT = "BadFormat"
    SOURCE_MISSING = "SourceMissing"
    LOCKED = "Locked"
    ENGINE_FAILED = "EngineFailed"
    INCOMPLETE = "Incomplete"
    KILLED = "Killed"
    STALE_APPROVAL = "StaleApproval"
    NOT_WIRED = "NotWired"
    ROLLOUT_FAILED = "RolloutFailed"
    BAD_CONFIG = "BadConfig"
    BAD_REQUEST = "BadRequest"
    UNEXPECTED = "Unexpected"


# A retry can only help where the cause may pass by itself; every other reason fails the same way again, and a
# retry would only make the person wait for the news.
RETRYABLE = frozenset(
    {Reason.STALLED, Reason.ENGINE_FAILED, Reason.KILLED, Reason.LOCKED, Reason.UNEXPECTED},
)

# What to do when the place that failed has nothing more specific to say.
USUAL_MENDS: dict[Reason, str] = {
    Reason.HASH_MISMATCH: "The volume does not hold what the bucket does: check the volume's health, then run "
    "again; the bad file is copied anew.",
    Reason.GENERATION_DRIFT: "Someone overwrote an object of a release. Publish it under a new folder; "
    "releases are never changed in place.",
    Reason.NO_SPACE: "Grow the claim, or prune releases, then run again; what is already proven is kept.",
    Reason.STALLED: "No bytes arrived for the stall timeout: look at the network and the bucket's quota.",
    Reason.READ_ONLY_VOLUME: "The volume is mounted read-only (Longhorn does that after a fail-over): restart "
    "the share manager or the pod's node, then run again.",
    Reason.PERMISSION_DENIED: "Grant the loader's account read access to the bucket, and its user write access "
    "to the model's folder on the volume.",
    Reason.UNSAFE_FILE: "Publish the release without this file, or allow it by its exact crc32c in the model's file.",
    Reason.BAD_FORMAT: "The file is not what its name says: publish the release again from a good export.",
    Reason.SOURCE_MISSING: "The release is not in the bucket (any more): publish it again.",
    Reason.LOCKED: "Another run is writing this release. Wait for it, or end it; a lock without a heartbeat is "
    "taken over.",
    Reason.ENGINE_FAILED: "Read the engine's last lines above; another engine can be chosen by the run's "
    "'engine' parameter.",
    Reason.INCOMPLETE: "The volume lacks or has too many files of this release: run again.",
    Reason.KILLED: "The pod was ended from outside (memory limit, eviction, node): look at its events.",
    Reason.STALE_APPROVAL: "What was approved is no longer what would be promoted: run again and look anew.",
    Reason.NOT_WIRED: "Wire the Deployment as include/manifests/serving shows.",
    Reason.ROLLOUT_FAILED: "Read the pods' own reason above and their logs.",
    Reason.BAD_CONFIG: "Mend the model's file.",
    Reason.BAD_REQUEST: "The loader's image and the Airflow package differ in version: build the image from "
    "this package.",
    Reason.UNEXPECTED: "This is a defect or an unknown state: read the log above, and report it.",
}


class RefreshError(Exception):
    """A refresh cannot go on.

    Args:
        reason: the machine's word for it.
        message: what happened and where, in one or two sentences.
        mend: what to do about it; the reason's usual mend when left out.
    """

    def __init__(self, reason: Reason, message: str, *, mend: str | None = None) -> None:
        self.reason = reason
        self.message = message
        self.mend = USUAL_MENDS[reason] if mend is None else mend
        super().__init__(f"{reason}: {message} {self.mend}".rstrip())

    @property
    def retryable(self) -> bool:
        """Whether the same step may succeed when it is tried again."""
        return self.reason in RETRYABLE


class ConfigError(RefreshError):
    """A fleet file is wrong; the message names file, field, value and what is allowed."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.BAD_CONFIG, message, mend="")
