"""Reads and switches the one Deployment that serves a model."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import HTTPError

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.rollout import DeploymentView, PodView, Strategy
from model_refresh.hooks.clients import clients
from model_refresh.names import FIELD_MANAGER, RELEASE_ANNOTATION

if TYPE_CHECKING:
    from kubernetes.client import AppsV1Api, CoreV1Api, V1Deployment, V1Pod, V1PodTemplateSpec

_CONFLICT = 409
_APPLY = "application/apply-patch+yaml"
_TIMEOUT = (5, 30)
"""Seconds to connect and to answer: an API server that accepts and never answers must not outlast a deadline."""
_SWITCH_ATTEMPTS = 20
_SWITCH_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class ServingDeployment:
    """A Deployment as it was read once.

    Attributes:
        resource_version: what a change must find unchanged.
        selector: labels of its pods.
        progress_deadline_seconds: Kubernetes' own limit for a rollout without progress.
    """

    view: DeploymentView
    strategy: Strategy
    resource_version: str
    selector: Mapping[str, str]
    progress_deadline_seconds: int


class DeploymentHook:
    """Deployments of one namespace, as one Airflow connection may see them.

    Args:
        kubernetes_conn_id: Airflow connection of type ``kubernetes``.
        namespace: where the Deployment lives.
    """

    def __init__(self, kubernetes_conn_id: str, namespace: str) -> None:
        self._conn_id = kubernetes_conn_id
        self._namespace = namespace

    @cached_property
    def _hook(self) -> Any:
        return clients().kubernetes(self._conn_id)

    @property
    def _apps(self) -> AppsV1Api:
        return self._hook.apps_v1_client

    @property
    def _core(self) -> CoreV1Api:
        return self._hook.core_v1_client

    def get(self, name: str) -> ServingDeployment:
        """Read a Deployment.

        Raises:
            RefreshError: ``NotWired`` when there is none, ``PermissionDenied`` when Airflow may not read it.
        """
        return _serving(self._read(name))

    def _read(self, name: str) -> V1Deployment:
        with _asking(f"Reading Deployment {self._namespace}/{name}"):
            return self._apps.read_namespaced_deployment(name, self._namespace, _request_timeout=_TIMEOUT)

    def check_wiring(self, name: str, *, model: str, claim: str) -> ServingDeployment:
        """Read a Deployment and make sure that the annotation really decides what it serves.

        Raises:
            RefreshError: ``NotWired``, saying which piece is missing.
        """
        deployment = self._read(name)
        problem = (
            "it is paused"
            if deployment.spec.paused
            else _wiring_problem(deployment.spec.template, model=model, claim=claim)
        )
        if problem:
            raise RefreshError(
                Reason.NOT_WIRED,
                f"Deployment {self._namespace}/{name} would not serve what is promoted: {problem}.",
            )
        return _serving(deployment)

    def apply_release(
        self, name: str, release_id: str | None, *, resource_version: str, force: bool = False, dry_run: bool = False
    ) -> None:
        """Server-side apply of one annotation, and nothing else, on the pod template.

        Args:
            name: the Deployment.
            release_id: what to serve; None takes the annotation away again.
            resource_version: what the Deployment must still be at.
            force: take the annotation over from another field manager; only a roll back does.
            dry_run: ask the API server to check everything and change nothing.

        Raises:
            RefreshError: ``StaleApproval`` when somebody changed the Deployment meanwhile, or somebody else owns
                the annotation; ``PermissionDenied`` when Airflow may not patch it.
        """
        body: dict[str, Any] = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self._namespace, "resourceVersion": resource_version},
        }
        if release_id is not None:
            body["spec"] = {"template": {"metadata": {"annotations": {RELEASE_ANNOTATION: release_id}}}}
        with _asking(f"Applying {RELEASE_ANNOTATION}={release_id} to {self._namespace}/{name}"):
            self._apps.patch_namespaced_deployment(
                name,
                self._namespace,
                body,
                field_manager=FIELD_MANAGER,
                force=force,
                _content_type=_APPLY,
                _request_timeout=_TIMEOUT,
                **({"dry_run": "All"} if dry_run else {}),
            )

    def switch(
        self, name: str, release_id: str | None, *, check: Callable[[ServingDeployment], None], force: bool = False
    ) -> None:
        """Apply a release to a Deployment that still is what the caller thinks it is.

        The controller writes the Deployment's status all the time, and each write makes an apply with the former
        resourceVersion a conflict: so read, check, apply, again and again for some seconds.

        Args:
            name: the Deployment.
            release_id: what to serve; None takes the annotation away.
            check: raises unless the Deployment, as it is now, may be switched.
            force: see ``apply_release``.

        Raises:
            RefreshError: what ``check`` raises; otherwise as ``apply_release``.
        """
        for attempt in range(1, _SWITCH_ATTEMPTS + 1):
            current = self.get(name)
            check(current)
            try:
                self.apply_release(name, release_id, resource_version=current.resource_version, force=force)
            except _ModifiedError:
                if attempt == _SWITCH_ATTEMPTS:
                    raise
                time.sleep(_SWITCH_PAUSE_SECONDS)
            else:
                return

    def pods(self, deployment: ServingDeployment, release_id: str | None) -> list[PodView]:
        """Pods of the Deployment that carry a release, with their warning events.

        Raises:
            RefreshError: ``PermissionDenied`` when Airflow may not list them.
        """
        selector = ",".join(f"{key}={value}" for key, value in deployment.selector.items())
        with _asking(f"Listing pods and events in {self._namespace}"):
            found = self._core.list_namespaced_pod(
                self._namespace, label_selector=selector, _request_timeout=_TIMEOUT
            ).items
            return [
                self._pod_view(pod)
                for pod in found
                if (pod.metadata.annotations or {}).get(RELEASE_ANNOTATION) == release_id
                and pod.metadata.deletion_timestamp is None
            ]

    def named_releases(self) -> set[str]:
        """Release ids that any ReplicaSet or pod of the namespace still names, whoever made it.

        Raises:
            RefreshError: ``PermissionDenied`` when Airflow may not list them.
        """
        with _asking(f"Listing ReplicaSets and pods in {self._namespace}"):
            sets = self._apps.list_namespaced_replica_set(self._namespace, _request_timeout=_TIMEOUT).items
            pods = self._core.list_namespaced_pod(self._namespace, _request_timeout=_TIMEOUT).items
        annotations = [(item.spec.template.metadata.annotations or {}) for item in sets]
        annotations += [(pod.metadata.annotations or {}) for pod in pods]
        return {found[RELEASE_ANNOTATION] for found in annotations if RELEASE_ANNOTATION in found}

    def _pod_view(self, pod: V1Pod) -> PodView:
        states = [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]
        starting = pod.status.phase == "Pending"
        return PodView(
            name=pod.metadata.name,
            waits=tuple(
                (state.state.waiting.reason or "", state.state.waiting.message or "")
                for state in states
                if state.state and state.state.waiting
            ),
            restarts=max((state.restart_count for state in states), default=0),
            last_exit=next((_exit(state) for state in states if _exit(state)), ""),
            unschedulable=next(
                (
                    condition.message or condition.reason
                    for condition in pod.status.conditions or ()
                    if condition.type == "PodScheduled" and condition.status == "False"
                ),
                "",
            ),
            created=pod.metadata.creation_timestamp,
            # Events cost a call a pod; only a pod that has not started has any that matter.
            warnings=self._warnings(pod.metadata.name) if starting else (),
        )

    def _warnings(self, pod_name: str) -> tuple[tuple[str, str], ...]:
        events = self._core.list_namespaced_event(
            self._namespace, field_selector=f"involvedObject.name={pod_name},type=Warning", _request_timeout=_TIMEOUT
        ).items
        return tuple((event.reason or "", event.message or "") for event in events)


class _ModifiedError(RefreshError):
    """The Deployment changed between reading and writing, be it only its status."""


@contextmanager
def _asking(doing: str) -> Iterator[None]:
    """Around every call of the API: its refusals, and its silence, become reasons."""
    from kubernetes.client.exceptions import ApiException

    try:
        yield
    except ApiException as error:
        raise _explain(error, doing) from error
    except HTTPError as error:
        # An API server that restarts refuses connections; the client raises what its transport did.
        raise RefreshError(Reason.UNEXPECTED, f"{doing} got no answer: {error}") from error


def _explain(error: Any, doing: str) -> RefreshError:
    said = _api_message(error)
    if error.status in {401, 403}:
        return RefreshError(
            Reason.PERMISSION_DENIED,
            f"{doing} was refused: {said}",
            mend="Give Airflow's account the rights in include/manifests/access, this Deployment named.",
        )
    if error.status == 404:  # noqa: PLR2004 - HTTP's own number
        return RefreshError(Reason.NOT_WIRED, f"{doing}: there is none. {said}")
    if error.status == _CONFLICT:
        # The API server's words for an old resourceVersion; the other conflict is with another field manager.
        kind = _ModifiedError if "the object has been modified" in said else RefreshError
        return kind(Reason.STALE_APPROVAL, f"{doing} met somebody else's change: {said}")
    return RefreshError(Reason.UNEXPECTED, f"{doing} failed with HTTP {error.status}: {said}")


def _api_message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _exit(state: Any) -> str:
    ended = (state.last_state and state.last_state.terminated) or (state.state and state.state.terminated)
    if not ended:
        return ""
    return " ".join(
        part
        for part in (f"last exit code {ended.exit_code}", ended.reason or "", (ended.message or "").strip())
        if part
    )


def _serving(deployment: V1Deployment) -> ServingDeployment:
    status, spec = deployment.status, deployment.spec
    return ServingDeployment(
        view=DeploymentView(
            name=deployment.metadata.name,
            release=(spec.template.metadata.annotations or {}).get(RELEASE_ANNOTATION),
            generation=deployment.metadata.generation,
            observed_generation=status.observed_generation or 0,
            replicas=spec.replicas,
            updated=status.updated_replicas or 0,
            ready=status.ready_replicas or 0,
            available=status.available_replicas or 0,
            total=status.replicas or 0,
            progress_failure=next(
                (
                    condition.message or condition.reason
                    for condition in status.conditions or ()
                    if condition.type == "Progressing" and condition.status == "False"
                ),
                "",
            ),
        ),
        strategy=_strategy(spec),
        resource_version=deployment.metadata.resource_version,
        selector=dict(spec.selector.match_labels or {}),
        progress_deadline_seconds=spec.progress_deadline_seconds or 600,
    )


def _strategy(spec: Any) -> Strategy:
    rolling = spec.strategy.rolling_update if spec.strategy else None
    if rolling is None:
        return Strategy(name="Recreate", max_surge="0", max_unavailable="100%")
    return Strategy(
        name="RollingUpdate", max_surge=str(rolling.max_surge), max_unavailable=str(rolling.max_unavailable)
    )


def _wiring_problem(template: V1PodTemplateSpec, *, model: str, claim: str) -> str | None:
    pod = template.spec
    volumes = {
        volume.name
        for volume in pod.volumes or ()
        # Read-only here too, not only on the mount: else the kubelet makes a release's folder that is missing,
        # and the pods start on an empty one.
        if volume.persistent_volume_claim
        and volume.persistent_volume_claim.claim_name == claim
        and volume.persistent_volume_claim.read_only
    }
    if not volumes:
        return f"no volume of its pods is claim {claim} with readOnly: true"
    field = f"metadata.annotations['{RELEASE_ANNOTATION}']"
    for container in pod.containers:
        variables = [
            variable.name
            for variable in container.env or ()
            if variable.value_from
            and variable.value_from.field_ref
            and variable.value_from.field_ref.field_path == field
        ]
        mounts = [mount for mount in container.volume_mounts or () if mount.name in volumes]
        if any(_reads_release(mounts, f"{model}/releases/$({variable})") for variable in variables):
            return None
    return (
        f"no container has both an environment variable from {field} and a read-only mount of claim {claim} with "
        f"subPathExpr {model}/releases/$(THAT_VARIABLE)"
    )


def _reads_release(mounts: Sequence[Any], path: str) -> bool:
    return any(mount.sub_path_expr == path and mount.read_only for mount in mounts)
