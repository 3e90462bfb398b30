"""Kubernetes objects as the API server would give them, for the fake cluster."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from kubernetes import client as k8s

from model_refresh.names import RELEASE_ANNOTATION
from tests.unit.given import NOON

LABELS = {"app": "llama"}
FIELD = f"metadata.annotations['{RELEASE_ANNOTATION}']"
SERVING = "v1-0123456789ab"


def deployment(
    release: str | None = SERVING,
    *,
    claim: str = "models",
    path: str = "llama/releases/$(MODEL_RELEASE)",
    read_only: bool = True,
    volume_read_only: bool = True,
    field_path: str | None = FIELD,
    replicas: int = 2,
    status: dict[str, Any] | None = None,
) -> k8s.V1Deployment:
    """A Deployment that serves a release, wired as include/manifests/serving shows."""
    variable = (
        k8s.V1EnvVar(
            name="MODEL_RELEASE",
            value_from=k8s.V1EnvVarSource(field_ref=k8s.V1ObjectFieldSelector(field_path=field_path)),
        )
        if field_path
        else k8s.V1EnvVar(name="MODEL_RELEASE", value="v1")
    )
    container = k8s.V1Container(
        name="server",
        env=[variable],
        volume_mounts=[k8s.V1VolumeMount(name="models", mount_path="/models", sub_path_expr=path, read_only=read_only)],
    )
    volume = k8s.V1Volume(
        name="models",
        persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name=claim, read_only=volume_read_only),
    )
    rolled_out = {
        "observed_generation": 1,
        "replicas": replicas,
        "updated_replicas": replicas,
        "ready_replicas": replicas,
        "available_replicas": replicas,
    }
    return k8s.V1Deployment(
        metadata=k8s.V1ObjectMeta(name="llama", namespace="models", resource_version="7", generation=1),
        spec=k8s.V1DeploymentSpec(
            replicas=replicas,
            selector=k8s.V1LabelSelector(match_labels=LABELS),
            strategy=k8s.V1DeploymentStrategy(
                type="RollingUpdate",
                rolling_update=k8s.V1RollingUpdateDeployment(max_surge="25%", max_unavailable=0),
            ),
            template=k8s.V1PodTemplateSpec(
                metadata=k8s.V1ObjectMeta(
                    labels=LABELS, annotations={RELEASE_ANNOTATION: release, "other": "kept"} if release else None
                ),
                spec=k8s.V1PodSpec(containers=[container], volumes=[volume]),
            ),
        ),
        status=k8s.V1DeploymentStatus(**(rolled_out | (status or {}))),
    )


def pod(name: str = "llama-1", release: str | None = SERVING, *, phase: str = "Running", **status: Any) -> k8s.V1Pod:
    """A pod of the Deployment."""
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(
            name=name,
            namespace="models",
            labels=LABELS,
            annotations={RELEASE_ANNOTATION: release} if release else None,
            creation_timestamp=NOON - timedelta(minutes=1),
        ),
        status=k8s.V1PodStatus(phase=phase, **status),
    )


def waiting(reason: str, message: str = "", *, restarts: int = 0) -> k8s.V1ContainerStatus:
    """A container that waits."""
    return k8s.V1ContainerStatus(
        name="server",
        image="server",
        image_id="",
        ready=False,
        restart_count=restarts,
        state=k8s.V1ContainerState(waiting=k8s.V1ContainerStateWaiting(reason=reason, message=message)),
    )


def ended(exit_code: int, message: str | None, *, reason: str = "Error", name: str = "loader") -> k8s.V1ContainerStatus:
    """A container that has ended and left a termination message."""
    return k8s.V1ContainerStatus(
        name=name,
        image="loader",
        image_id="",
        ready=False,
        restart_count=0,
        state=k8s.V1ContainerState(
            terminated=k8s.V1ContainerStateTerminated(exit_code=exit_code, reason=reason, message=message)
        ),
    )


def warning(pod_name: str, reason: str, message: str) -> k8s.CoreV1Event:
    """A warning event about a pod."""
    return k8s.CoreV1Event(
        metadata=k8s.V1ObjectMeta(namespace="models"),
        involved_object=k8s.V1ObjectReference(name=pod_name),
        type="Warning",
        reason=reason,
        message=message,
    )
