"""A cluster, a bucket and Airflow's Variables in memory, for tests of whatever speaks through the hooks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from model_refresh.domain.release import ListedObject
from model_refresh.hooks.clients import Clients
from model_refresh.names import RELEASE_ANNOTATION

if TYPE_CHECKING:
    from kubernetes.client import V1Deployment
    from kubernetes.client.exceptions import ApiException


@dataclass
class Applied:
    """One server-side apply that the fake cluster was sent, accepted or not."""

    body: dict[str, Any]
    content_type: str
    manager: str
    force: bool
    dry_run: bool


@dataclass
class FakeCluster:
    """The part of the API that the hooks use, with the API server's own checks of an apply.

    Attributes:
        deployments: by (namespace, name).
        annotation_owner: field manager that owns the release annotation, None while nobody does.
        refuse: HTTP status that every call is answered with, None to answer properly.
        applied: every apply, in order.
        before_apply: called before each apply is looked at: the place for somebody else's change.
    """

    deployments: dict[tuple[str, str], V1Deployment] = field(default_factory=dict)
    pods: list[Any] = field(default_factory=list)
    replica_sets: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    annotation_owner: str | None = None
    refuse: int | None = None
    applied: list[Applied] = field(default_factory=list)
    before_apply: Any = None

    @property
    def apps_v1_client(self) -> FakeCluster:
        """Itself, as a KubernetesHook offers it."""
        return self

    @property
    def core_v1_client(self) -> FakeCluster:
        """Itself, as a KubernetesHook offers it."""
        return self

    def read_namespaced_deployment(self, name: str, namespace: str, *, _request_timeout: Any = None) -> V1Deployment:
        """GET of a Deployment."""
        self._answer()
        if (namespace, name) not in self.deployments:
            raise _refusal(404, f'deployments.apps "{name}" not found')
        return self.deployments[namespace, name]

    def patch_namespaced_deployment(
        self,
        name: str,
        namespace: str,
        body: dict[str, Any],
        *,
        field_manager: str,
        force: bool,
        _content_type: str,
        _request_timeout: Any = None,
        dry_run: str | None = None,
    ) -> None:
        """PATCH of a Deployment by server-side apply."""
        self.applied.append(Applied(body, _content_type, field_manager, force, dry_run == "All"))
        if self.before_apply:
            self.before_apply()
        deployment = self.read_namespaced_deployment(name, namespace)
        if body["metadata"]["resourceVersion"] != deployment.metadata.resource_version:
            raise _refusal(409, "the object has been modified")
        if self.annotation_owner not in {None, field_manager} and not force:
            raise _refusal(409, f'conflict with "{self.annotation_owner}"')
        if dry_run is None:
            template = body.get("spec", {}).get("template", {})
            self.annotate(namespace, name, template.get("metadata", {}).get("annotations", {}).get(RELEASE_ANNOTATION))
            self.annotation_owner = field_manager

    def annotate(self, namespace: str, name: str, release_id: str | None) -> None:
        """Make the pod template name a release, or none, whoever does it."""
        deployment = self.deployments[namespace, name]
        annotations = dict(deployment.spec.template.metadata.annotations or {})
        annotations.pop(RELEASE_ANNOTATION, None)
        if release_id is not None:
            annotations[RELEASE_ANNOTATION] = release_id
        deployment.spec.template.metadata.annotations = annotations
        deployment.metadata.resource_version = str(int(deployment.metadata.resource_version) + 1)
        deployment.metadata.generation += 1

    def list_namespaced_pod(self, namespace: str, *, label_selector: str = "", _request_timeout: Any = None) -> Any:
        """Pods that carry the labels."""
        return self._list(self.pods, namespace, label_selector)

    def list_namespaced_replica_set(
        self, namespace: str, *, label_selector: str = "", _request_timeout: Any = None
    ) -> Any:
        """ReplicaSets that carry the labels."""
        return self._list(self.replica_sets, namespace, label_selector)

    def list_namespaced_event(self, namespace: str, *, field_selector: str, _request_timeout: Any = None) -> Any:
        """Warning events about one object."""
        self._answer()
        wanted = dict(part.split("=", 1) for part in field_selector.split(","))
        return SimpleNamespace(
            items=[
                event
                for event in self.events
                if event.involved_object.name == wanted["involvedObject.name"]
                and event.metadata.namespace == namespace
                and event.type == wanted["type"]
            ]
        )

    def _list(self, items: Iterable[Any], namespace: str, label_selector: str) -> Any:
        self._answer()
        wanted = dict(part.split("=", 1) for part in label_selector.split(",") if part)
        return SimpleNamespace(
            items=[
                item
                for item in items
                if item.metadata.namespace == namespace and wanted.items() <= (item.metadata.labels or {}).items()
            ]
        )

    def _answer(self) -> None:
        if self.refuse is not None:
            raise _refusal(self.refuse, "refused")


@dataclass
class FakeStorage:
    """Buckets by name; a bucket that is not there answers as Cloud Storage does."""

    buckets: dict[str, list[ListedObject]] = field(default_factory=dict)

    def list_blobs(self, bucket: str, *, prefix: str, fields: str) -> list[Any]:  # noqa: ARG002 - the client's signature
        """The objects below a prefix, with all of a blob that is asked for."""
        from google.api_core.exceptions import NotFound

        if bucket not in self.buckets:
            raise NotFound(f"no bucket {bucket}")  # type: ignore[no-untyped-call] # Google's own
        return [
            SimpleNamespace(**vars(listed), time_created=listed.created)
            for listed in self.buckets[bucket]
            if listed.name.startswith(prefix)
        ]


@dataclass
class FakeClients(Clients):
    """Put in place by ``clients.using(FakeClients(...))``."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    buckets: FakeStorage = field(default_factory=FakeStorage)
    variables: dict[str, str] = field(default_factory=dict)
    card: tuple[str, str | None] | None = None

    def ask(self, question: dict[str, Any]) -> tuple[str, str | None]:
        """Shows the first card for ever, as Airflow does."""
        self.card = self.card or (question["subject"], question["body"])
        return self.card

    def kubernetes(self, conn_id: str) -> FakeCluster:  # noqa: ARG002 - one cluster, whatever the connection
        """The fake cluster."""
        return self.cluster

    def storage(self, conn_id: str) -> Any:  # noqa: ARG002 - one storage, whatever the connection
        """The fake storage."""
        return self.buckets

    def variable(self, key: str) -> str | None:
        """A Variable's text."""
        return self.variables.get(key)

    def set_variable(self, key: str, text: str) -> None:
        """Write a Variable."""
        self.variables[key] = text


def _refusal(status: int, message: str) -> ApiException:
    from kubernetes.client.exceptions import ApiException

    refusal = ApiException(status=status, reason="Refused")
    refusal.body = json.dumps({"message": message})
    return refusal
