"""What the author of a model writes: one frozen type for the YAML, its JSON schema, and the DAG's defaults."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from croniter import croniter
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from model_refresh.contract import EngineName
from model_refresh.domain.document import Document
from model_refresh.domain.manifest import Crc32c
from model_refresh.domain.release import Source

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_LONGEST_SOURCE = 1024
_LONGEST = timedelta(days=366)
"""No wait of a refresh is longer; beyond some thousand years dates overflow."""


def _read_duration(value: object) -> object:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    span = timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else value
    if isinstance(span, timedelta):
        if span > _LONGEST:
            raise ValueError(f"a duration is at most {_LONGEST.days}d")
        return span
    raise ValueError("a duration is a whole number and a unit, such as 30s, 10m, 2h or 3d")


def _write_duration(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    # The largest unit that writes it as a whole number, as a person would.
    unit = next((unit for unit in "dhm" if seconds % _SECONDS[unit] == 0), "s") if seconds else "s"
    return f"{seconds // _SECONDS[unit]}{unit}"


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(_write_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["30s", "10m", "2h", "3d"]}),
]


def _check_pause(span: timedelta) -> timedelta:
    if span < timedelta(seconds=1):
        raise ValueError("a pause between two looks is at least 1s")
    return span


Pause = Annotated[Duration, AfterValidator(_check_pause)]


def _check_limit(span: timedelta) -> timedelta:
    if span < timedelta(seconds=1):
        raise ValueError("a limit is at least 1s")
    return span


Limit = Annotated[Duration, AfterValidator(_check_limit)]


def _check_schedule(value: str) -> str:
    # What Airflow itself reads cron expressions with; it would say no only when it serialises the DAG.
    if not croniter.is_valid(value):
        raise ValueError("a schedule is a cron expression of five fields, such as 0 6 * * 1-5, or one like @daily")
    return value


def _check_source(value: str) -> str:
    if not _BUCKET.fullmatch(Source.parse(value).bucket):
        raise ValueError("a bucket's name is 3 to 222 lower-case letters, digits, dots, dashes and underscores")
    # It becomes an asset's URI, which Airflow limits to 1500 characters, and a prefix of objects' names of 1024.
    if len(value) > _LONGEST_SOURCE or " " in value or not value.isprintable():
        raise ValueError(f"a source has at most {_LONGEST_SOURCE} characters, none of them blank or unprintable")
    return value


# Kubernetes' own rule for names (RFC 1123); a model's name stands in pod names, so it is kept short of their 63.
DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=40)]
Quantity = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?(m|[kMGT]i?)?$")]


class Detection(Document):
    """How a complete release is noticed."""

    marker: Annotated[
        Annotated[str, StringConstraints(min_length=1)] | None,
        Field(description="Object that the publisher writes last in a release's folder; null for the settle rule."),
    ] = "_SUCCESS"
    settle: Annotated[
        Duration, Field(description="Without a marker: two equal listings this far apart make a release complete.")
    ] = timedelta(minutes=10)
    poll: Annotated[Pause, Field(description="Pause between two listings of the bucket.")] = timedelta(seconds=30)
    wait: Annotated[
        Duration, Field(description="How long a run looks for a new release before it ends as skipped.")
    ] = timedelta(minutes=5)


class Resources(Document):
    """What one copy or verify pod may use; requests equal limits for memory, so that it is not evicted."""

    cpu: Annotated[Quantity, Field(description="CPU request; there is no CPU limit.")] = "1"
    memory: Annotated[
        Quantity,
        Field(description="Memory request and limit. The page cache of writes to NFS counts, so not below 1Gi."),
    ] = "4Gi"


class Toleration(Document):
    """A Kubernetes toleration for loader pods."""

    key: str | None = None
    operator: Annotated[str, StringConstraints(pattern="^(Equal|Exists)$")] = "Equal"
    value: str | None = None
    effect: str | None = None


class Copy(Document):
    """How bytes get onto the volume."""

    engine: Annotated[EngineName, Field(description="What moves the bytes.")] = "gcloud"
    pods: Annotated[int, Field(ge=1, le=64, description="Most copy pods at once.")] = 4
    workers: Annotated[int, Field(ge=1, le=64, description="Files in flight at once in one pod.")] = 4
    stall_timeout: Annotated[Limit, Field(description="No byte for so long ends the copy of a shard.")] = timedelta(
        minutes=5
    )
    timeout: Annotated[Limit, Field(description="Longest that one copy or verify pod may take.")] = timedelta(hours=6)
    resources: Resources = Resources()
    node_selector: Annotated[dict[str, str], Field(description="Node labels that loader pods ask for.")] = Field(
        default_factory=dict
    )
    tolerations: Annotated[
        tuple[Toleration, ...], Field(description="Tolerations of loader pods, as Kubernetes writes them.")
    ] = ()
    env: Annotated[
        dict[str, str], Field(description="Environment of the loader's pods, a proxy for example; no secrets.")
    ] = Field(default_factory=dict)
    allow_unsafe: Annotated[
        tuple[Crc32c, ...],
        Field(description="crc32c of files that may be pickles: someone looked at exactly these bytes."),
    ] = ()


class Approval(Document):
    """Who decides, and until when."""

    approvers: Annotated[
        tuple[str, ...],
        Field(description="Airflow user ids that may answer; empty for everyone whom Airflow allows to."),
    ] = ()
    timeout: Annotated[Limit, Field(description="Nobody answering for so long means no.")] = timedelta(days=3)


class Rollout(Document):
    """How long the switch may take."""

    deadline: Annotated[
        Limit | None,
        Field(description="Longest the rollout may take; null derives it from the read speed measured by verify."),
    ] = None
    patience: Annotated[
        Duration,
        Field(description="How long a pod may wait for a node or its volume before that counts as a failure."),
    ] = timedelta(minutes=5)
    poll: Annotated[Pause, Field(description="Pause between two looks at the rollout.")] = timedelta(seconds=5)


class Retention(Document):
    """What stays on the volume, besides the serving release and the one to roll back to."""

    keep: Annotated[int, Field(ge=1, description="How many of the newest releases stay.")] = 2
    pinned: Annotated[tuple[str, ...], Field(description="Release ids that are never pruned.")] = ()


class ModelConfig(Document):
    """One model of the fleet: ``include/models/<name>.yaml``.

    Raises:
        pydantic.ValidationError: when a field is missing, unknown or out of its range.
    """

    name: Annotated[ModelName, Field(description="Name of the model and of its file.")]
    description: Annotated[str, Field(description="One line for people.")] = ""
    source: Annotated[
        str,
        AfterValidator(_check_source),
        Field(description="gs:// URL; every folder directly below is a release.", pattern="^gs://"),
    ]
    claim: Annotated[DnsLabel, Field(description="PersistentVolumeClaim (ReadWriteMany) that holds the models.")]
    deployment: Annotated[DnsLabel, Field(description="Deployment that serves the model.")]
    namespace: Annotated[DnsLabel | None, Field(description="Namespace of claim and Deployment.")] = None
    schedule: Annotated[
        Annotated[str, AfterValidator(_check_schedule)] | None,
        Field(description="Cron expression; null for asset events and runs by hand only."),
    ] = "*/15 * * * *"
    detection: Detection = Detection()
    copy_: Annotated[Copy, Field(alias="copy")] = Copy()
    approval: Approval = Approval()
    rollout: Rollout = Rollout()
    retention: Retention = Retention()

    @model_validator(mode="before")
    @classmethod
    def _needs_mapping(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"a model's file is a mapping of fields, not a {type(value).__name__}")  # noqa: TRY004 - pydantic takes no other
        return value

    @property
    def parsed_source(self) -> Source:
        """The source in its parts."""
        return Source.parse(self.source)
