"""Whether a Deployment has arrived at a release: one verdict from one look at the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# Waiting reasons that do not pass by themselves (kubelet: pkg/kubelet/container, pkg/kubelet/images).
_HOPELESS_WAITS = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerError",
        "RunContainerError",
    },
)

# These may: a registry's hiccup, a ConfigMap or Secret that comes a moment after its pod.
_PASSING_WAITS = frozenset({"ErrImagePull", "CreateContainerConfigError"})


class Outcome(StrEnum):
    """Where a rollout stands."""

    PROGRESSING = "progressing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """An outcome and the words for it.

    Attributes:
        reason: the cluster's own word for a failure (``CrashLoopBackOff``), empty otherwise.
        detail: for a person; on failure it names the pod and repeats its message.
    """

    outcome: Outcome
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class PodView:
    """What of a pod of the new release tells how the rollout goes.

    Attributes:
        waits: (waiting reason, message) of its containers, init containers included.
        restarts: most restarts of any of its containers.
        last_exit: what the last ended container said: exit code, reason and message, for a person.
        unschedulable: the scheduler's message, empty when scheduled.
        created: when the pod was made; time zone aware.
        warnings: (reason, message) of its warning events.
    """

    name: str
    waits: tuple[tuple[str, str], ...] = ()
    restarts: int = 0
    last_exit: str = ""
    unschedulable: str = ""
    created: datetime
    warnings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class DeploymentView:
    """What of a Deployment tells how the rollout goes.

    Attributes:
        release: what the pod template's annotation names, None when it names nothing.
        progress_failure: message of a ``Progressing=False`` condition, empty when it progresses.
    """

    name: str
    release: str | None
    generation: int
    observed_generation: int
    replicas: int
    updated: int
    ready: int
    available: int
    total: int
    progress_failure: str = ""


def judge(
    deployment: DeploymentView,
    pods: Sequence[PodView],
    *,
    release: str | None,
    now: datetime,
    patience: timedelta,
) -> Verdict:
    """Say whether the Deployment serves ``release`` with every replica.

    Args:
        deployment: the Deployment now.
        pods: pods of the new release only; an old pod's trouble is not the new release's.
        release: the release id that it is to serve; None after a roll back to nothing.
        now: time of the look.
        patience: how long a pod may be unschedulable, unable to mount its volume, to find its configuration or to
            pull its image for the first time, before that counts as a failure; an autoscaler or an attach takes
            minutes.
    """
    if deployment.release != release:
        return Verdict(
            outcome=Outcome.FAILED,
            reason="Superseded",
            detail=f"Deployment {deployment.name} names release {deployment.release}, not {release}: someone "
            "else changed it.",
        )
    if deployment.observed_generation < deployment.generation:
        return Verdict(outcome=Outcome.PROGRESSING, detail="the controller has not seen the change yet")
    if _arrived(deployment):
        return Verdict(outcome=Outcome.DONE, detail=f"{deployment.replicas} of {deployment.replicas} serve")
    failure = _first_failure(pods, now=now, patience=patience)
    if failure is not None:
        return failure
    if deployment.progress_failure:
        return Verdict(outcome=Outcome.FAILED, reason="ProgressDeadlineExceeded", detail=deployment.progress_failure)
    return Verdict(
        outcome=Outcome.PROGRESSING,
        detail=f"{deployment.updated} of {deployment.replicas} updated, {deployment.available} available, "
        f"{deployment.total} in all",
    )


def _arrived(deployment: DeploymentView) -> bool:
    # kubectl's own rule for `rollout status`, read as equality of all four counts.
    counts = {deployment.updated, deployment.ready, deployment.available, deployment.total}
    return counts == {deployment.replicas}


def _first_failure(pods: Iterable[PodView], *, now: datetime, patience: timedelta) -> Verdict | None:
    for pod in pods:
        patient = now - pod.created < patience
        for reason, message in pod.waits:
            # A first crash may be a race with a neighbour; the second in a row is the release's own.
            hopeless = reason in _HOPELESS_WAITS and not (reason == "CrashLoopBackOff" and pod.restarts < 1)
            if hopeless or (reason in _PASSING_WAITS and not patient):
                said = " ".join(part for part in (message, pod.last_exit) if part)
                return Verdict(outcome=Outcome.FAILED, reason=reason, detail=f"Pod {pod.name}: {said}")
        if patient:
            continue
        if pod.unschedulable:
            return Verdict(
                outcome=Outcome.FAILED,
                reason="Unschedulable",
                detail=f"Pod {pod.name} found no node for {patience}: {pod.unschedulable}",
            )
        for reason, message in pod.warnings:
            if reason in {"FailedMount", "FailedAttachVolume"} and not pod.restarts:
                return Verdict(outcome=Outcome.FAILED, reason=reason, detail=f"Pod {pod.name}: {message}")
    return None


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How a Deployment replaces its pods, in Kubernetes' words.

    Attributes:
        name: ``RollingUpdate`` or ``Recreate``.
        max_surge: a count or a percentage, as written.
        max_unavailable: likewise.
    """

    name: str
    max_surge: str
    max_unavailable: str

    def __str__(self) -> str:
        if self.name == "Recreate":
            return "Recreate"
        return f"{self.name}, maxSurge {self.max_surge}, maxUnavailable {self.max_unavailable}"

    def downtime(self, replicas: int) -> str:
        """What those who are served will notice, for a person."""
        if replicas == 0:
            return "nothing is served now: the Deployment has no replicas"
        missing = _count(self.max_unavailable, replicas)
        if missing == 0 and _count(self.max_surge, replicas, up=True) == 0:
            # Where both round to nothing the controller takes one away (ResolveFenceposts in its deployment_util).
            missing = 1
        if self.name == "Recreate" or missing >= replicas:
            return f"yes: all {replicas} replicas stop before the new ones are ready"
        if missing:
            return f"none, but up to {missing} of {replicas} replicas are missing while it rolls"
        surge = max(1, _count(self.max_surge, replicas, up=True))
        return f"none, if the cluster has room for {surge} more replica{'s' if surge > 1 else ''} meanwhile"


def _count(written: str, replicas: int, *, up: bool = False) -> int:
    # Kubernetes rounds maxSurge up and maxUnavailable down (Deployment API reference).
    if not written.endswith("%"):
        return int(written)
    hundredths = int(written[:-1]) * replicas
    return -(-hundredths // 100) if up else hundredths // 100


def load_time(size: int, *, bytes_per_second: float) -> timedelta:
    """How long one replica reads a release of ``size`` bytes at the speed that verify measured."""
    return timedelta(seconds=size / bytes_per_second if bytes_per_second > 0 else 0)


def rollout_deadline(load: timedelta, *, replicas: int) -> timedelta:
    """How long a rollout may take before it counts as failed.

    Replicas may have to load one after the other, share the volume while they do, and need some minutes for
    scheduling, images and warm-up: three times the measured load each, and ten minutes (Kubernetes' own default
    of ``progressDeadlineSeconds``) on top.
    """
    return timedelta(minutes=10) + 3 * max(1, replicas) * load
