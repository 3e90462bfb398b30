"""The sample Deployment is what a promotion asks for."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from kubernetes import client as k8s

import tests.airflow_home  # noqa: F401 - before the first import of Airflow
from model_refresh.domain.errors import RefreshError
from model_refresh.hooks.clients import using
from model_refresh.hooks.deployment import DeploymentHook
from model_refresh.hooks.fakes import FakeClients
from tests.manifests.rendering import Manifest, named


@pytest.fixture
def sample(rendered: dict[str, list[Manifest]]) -> Manifest:
    return named(rendered["serving"], "Deployment", "example")


def check_wiring(manifest: Manifest) -> None:
    answer = SimpleNamespace(data=json.dumps({**manifest, "status": {}}))
    deployment = k8s.ApiClient().deserialize(answer, "V1Deployment")
    fakes = FakeClients()
    fakes.cluster.deployments["models", "example"] = deployment
    with using(fakes):
        DeploymentHook("kubernetes_default", "models").check_wiring("example", model="example", claim="models")


def test_the_sample_deployment_would_serve_what_is_promoted(sample):
    check_wiring(sample)


def test_a_sample_that_mounts_the_volume_to_write_is_found(sample):
    pod = json.loads(json.dumps(sample))
    pod["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["readOnly"] = False
    with pytest.raises(RefreshError, match="read-only mount of claim models"):
        check_wiring(pod)
