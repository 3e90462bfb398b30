"""What the Deployment's hook reads, what it refuses, and that it writes one annotation and nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kubernetes import client as k8s
from urllib3.exceptions import MaxRetryError

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.hooks.deployment import DeploymentHook
from model_refresh.names import FIELD_MANAGER, RELEASE_ANNOTATION
from tests.unit.kube import FIELD, LABELS, SERVING, deployment, ended, pod, waiting, warning


@pytest.fixture
def hook(outside):
    return DeploymentHook("kubernetes_default", "models")


def test_it_reads_what_a_verdict_needs(outside, hook):
    status = {"observed_generation": None, "updated_replicas": None, "ready_replicas": 1, "replicas": 3}
    stuck = k8s.V1DeploymentCondition(type="Progressing", status="False", message="too slow", reason="Deadline")
    outside.cluster.deployments["models", "llama"] = deployment(status=status | {"conditions": [stuck]})
    found = hook.get("llama")
    view = found.view
    assert (view.name, view.release, view.generation, view.observed_generation) == ("llama", SERVING, 1, 0)
    assert (view.replicas, view.updated, view.ready, view.available, view.total) == (2, 0, 1, 2, 3)
    assert view.progress_failure == "too slow"
    assert (found.resource_version, found.selector, found.progress_deadline_seconds) == ("7", LABELS, 600)
    assert str(found.strategy) == "RollingUpdate, maxSurge 25%, maxUnavailable 0"


def test_a_deployment_without_annotation_serves_nothing(outside, hook):
    outside.cluster.deployments["models", "llama"] = deployment(None)
    assert hook.get("llama").view.release is None


def test_recreate_stops_all_first(outside, hook):
    outside.cluster.deployments["models", "llama"].spec.strategy = k8s.V1DeploymentStrategy(type="Recreate")
    assert str(hook.get("llama").strategy) == "Recreate"


WIRING = {
    "another claim": ({"claim": "others"}, "no volume of its pods is claim models"),
    "a fixed value": ({"field_path": None}, FIELD),
    "another annotation": ({"field_path": "metadata.annotations['x']"}, FIELD),
    "writable": ({"read_only": False}, "read-only mount"),
    "another model's folder": ({"path": "mistral/releases/$(MODEL_RELEASE)"}, "llama/releases/$(THAT_VARIABLE)"),
    "another variable": ({"path": "llama/releases/$(OTHER)"}, "llama/releases/$(THAT_VARIABLE)"),
}


@pytest.mark.parametrize("wrong", WIRING)
def test_a_deployment_that_would_serve_something_else_is_refused(outside, hook, wrong):
    wired, said = WIRING[wrong]
    outside.cluster.deployments["models", "llama"] = deployment(**wired)
    with pytest.raises(RefreshError) as caught:
        hook.check_wiring("llama", model="llama", claim="models")
    assert caught.value.reason is Reason.NOT_WIRED
    assert said in caught.value.message


def test_wiring_may_stand_in_any_container(outside, hook):
    template = outside.cluster.deployments["models", "llama"].spec.template.spec
    template.containers.insert(0, k8s.V1Container(name="sidecar"))
    template.volumes.insert(0, k8s.V1Volume(name="scratch"))
    assert hook.check_wiring("llama", model="llama", claim="models").view.release == SERVING


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.PERMISSION_DENIED),
        (403, Reason.PERMISSION_DENIED),
        (404, Reason.NOT_WIRED),
        (409, Reason.STALE_APPROVAL),
        (500, Reason.UNEXPECTED),
    ],
)
@pytest.mark.parametrize("call", ["get", "check_wiring", "apply_release", "pods", "named_releases"])
def test_every_refusal_is_told_by_its_reason_and_the_servers_words(outside, hook, status, reason, call):
    found = hook.get("llama")
    outside.cluster.refuse = status
    calls = {
        "get": lambda: hook.get("llama"),
        "check_wiring": lambda: hook.check_wiring("llama", model="llama", claim="models"),
        "apply_release": lambda: hook.apply_release("llama", "v2", resource_version="7"),
        "pods": lambda: hook.pods(found, "v2"),
        "named_releases": hook.named_releases,
    }
    with pytest.raises(RefreshError, match="refused") as caught:
        calls[call]()
    assert caught.value.reason is reason


def test_a_deployment_that_is_not_there_is_not_wired(hook):
    with pytest.raises(RefreshError, match="models/other") as caught:
        hook.get("other")
    assert caught.value.reason is Reason.NOT_WIRED


@pytest.mark.parametrize("broken", [None, "<html>", "{}", "[]", '"x"'])
def test_a_proxys_answer_does_not_hide_the_status(outside, hook, broken):
    error = k8s.ApiException(status=502, reason="Bad Gateway")
    error.body = broken

    def answer(name, namespace, **options):
        raise error

    outside.cluster.read_namespaced_deployment = answer
    with pytest.raises(RefreshError, match="HTTP 502: Bad Gateway"):
        hook.get("llama")


def test_an_unreachable_api_server_is_a_reason_too(outside, hook):
    def answer(name, namespace, **options):
        raise MaxRetryError(None, "/", "refused")

    outside.cluster.read_namespaced_deployment = answer
    with pytest.raises(RefreshError) as caught:
        hook.get("llama")
    assert caught.value.retryable


def test_promoting_applies_one_annotation_at_one_version_and_nothing_else(outside, hook):
    hook.apply_release("llama", "v2", resource_version="7")
    (applied,) = outside.cluster.applied
    assert applied.body == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama", "namespace": "models", "resourceVersion": "7"},
        "spec": {"template": {"metadata": {"annotations": {RELEASE_ANNOTATION: "v2"}}}},
    }
    assert applied.content_type == "application/apply-patch+yaml"
    assert (applied.manager, applied.force, applied.dry_run) == (FIELD_MANAGER, False, False)
    assert hook.get("llama").view.release == "v2"


def test_taking_the_annotation_away_applies_no_spec(outside, hook):
    hook.apply_release("llama", None, resource_version="7", force=True)
    (applied,) = outside.cluster.applied
    assert "spec" not in applied.body
    assert applied.force
    assert hook.get("llama").view.release is None


def test_a_dry_run_changes_nothing(outside, hook):
    hook.apply_release("llama", "v2", resource_version="7", dry_run=True)
    assert outside.cluster.applied[0].dry_run
    assert hook.get("llama").view.release == SERVING


@pytest.mark.parametrize("manager", ["kubectl", None])
def test_somebody_elses_change_is_not_overwritten(outside, hook, manager):
    outside.cluster.annotation_owner = manager
    with pytest.raises(RefreshError) as caught:
        hook.apply_release("llama", "v2", resource_version="7" if manager else "6")
    assert caught.value.reason is Reason.STALE_APPROVAL
    assert hook.get("llama").view.release == SERVING


def test_only_living_pods_of_the_release_are_looked_at(outside, hook):
    going = pod("going", "v2")
    going.metadata.deletion_timestamp = going.metadata.creation_timestamp
    foreign = pod("foreign", "v2")
    foreign.metadata.labels = {"app": "mistral"}
    outside.cluster.pods = [pod("old"), pod("new", "v2"), going, foreign, pod("bare", None)]
    found = hook.get("llama")
    assert [view.name for view in hook.pods(found, "v2")] == ["new"]
    assert [view.name for view in hook.pods(found, None)] == ["bare"]


def test_a_pods_trouble_is_read_with_its_words(outside, hook):
    crashed = waiting("CrashLoopBackOff", "back-off", restarts=2)
    crashed.last_state = ended(1, "no such file\n").state
    unready = k8s.V1PodCondition(type="PodScheduled", status="False", message="0/3 nodes", reason="Unschedulable")
    outside.cluster.pods = [
        pod(
            phase="Pending",
            init_container_statuses=[waiting("PodInitializing")],
            container_statuses=[crashed],
            conditions=[unready],
        )
    ]
    outside.cluster.events = [warning("llama-1", "FailedMount", "no driver"), warning("llama-2", "Other", "x")]
    (view,) = hook.pods(hook.get("llama"), SERVING)
    assert view.waits == (("PodInitializing", ""), ("CrashLoopBackOff", "back-off"))
    assert view.restarts == 2
    assert view.last_exit == "last exit code 1 Error no such file"
    assert view.unschedulable == "0/3 nodes"
    assert view.warnings == (("FailedMount", "no driver"),)


def test_events_of_a_pod_that_runs_are_not_asked_for(outside, hook):
    outside.cluster.pods = [pod()]
    outside.cluster.events = [warning("llama-1", "FailedMount", "long ago")]
    assert hook.pods(hook.get("llama"), SERVING)[0].warnings == ()


def test_releases_that_replica_sets_and_pods_name_are_held_whosever_they_are(outside, hook):
    def replica_set(release):
        annotations = {RELEASE_ANNOTATION: release} if release else None
        template = SimpleNamespace(metadata=SimpleNamespace(annotations=annotations))
        return SimpleNamespace(
            metadata=SimpleNamespace(namespace="models", labels={"app": "canary"}),
            spec=SimpleNamespace(template=template),
        )

    outside.cluster.replica_sets = [replica_set("v0"), replica_set(None)]
    outside.cluster.pods = [pod(release="v1"), pod(release=None)]
    assert hook.named_releases() == {"v0", "v1"}
