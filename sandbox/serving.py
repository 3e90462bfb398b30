"""Makes a model's Deployment and Service out of the sample for real clusters, and asks its pods what they serve."""

from __future__ import annotations

import json
from typing import Any

import yaml

from sandbox.checkout import Checkout
from sandbox.kubectl import apply_text, kubectl

NAMESPACE = "models"
_SERVER = "sample-server"


def deploy(checkout: Checkout, model: str, *, image: str, replicas: int = 2, deadline_seconds: int = 600) -> None:
    """Creates or updates the Deployment and the Service of a model, and lets Airflow promote that Deployment.

    Args:
        checkout: whose cluster.
        model: name of the model, the Deployment and the Service; its releases are at `<model>/releases` on the claim.
        image: any image with Python 3; the loader's is there.
        replicas: how many pods serve.
        deadline_seconds: after how long without progress Kubernetes calls a rollout failed.
    """
    base = checkout.root / "include" / "manifests" / "serving"
    deployment: dict[str, Any] = yaml.safe_load((base / "deployment.yaml").read_text())
    service: dict[str, Any] = yaml.safe_load((base / "service.yaml").read_text())
    _rename(deployment, model)
    _rename(service, model)
    deployment["spec"]["selector"]["matchLabels"]["app"] = model
    service["spec"]["selector"]["app"] = model
    deployment["spec"] |= {"replicas": replicas, "progressDeadlineSeconds": deadline_seconds}
    _use_sample_server(deployment["spec"]["template"], model, image)
    documents = [deployment, service, _server_code(checkout), *_right_to_promote(model)]
    apply_text(checkout, "---\n".join(json.dumps(document) + "\n" for document in documents))


def remove(checkout: Checkout, model: str) -> None:
    """Removes what `deploy` created; the model's releases stay on the claim."""
    names = [f"{kind}/{model}" for kind in ("deployment", "service")]
    names += [f"{kind}/airflow-promotes-{model}" for kind in ("role", "rolebinding")]
    kubectl(checkout, "delete", "--namespace", NAMESPACE, "--ignore-not-found", "--wait=false", *names)


def ask(checkout: Checkout, model: str) -> dict[str, Any]:
    """What one ready pod answers through the Service: `release` and `files`."""
    path = f"/api/v1/namespaces/{NAMESPACE}/services/{model}:8080/proxy/"
    answer: dict[str, Any] = json.loads(kubectl(checkout, "get", "--raw", path))
    return answer


def ask_each(checkout: Checkout, model: str) -> dict[str, dict[str, Any]]:
    """What each ready pod of the model answers, by the pod's name."""
    listed = json.loads(
        kubectl(checkout, "get", "pods", "--namespace", NAMESPACE, "--selector", f"app={model}", "-o", "json")
    )
    names = [pod["metadata"]["name"] for pod in listed["items"] if _is_ready(pod)]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{{}}:8080/proxy/"
    return {name: json.loads(kubectl(checkout, "get", "--raw", path.format(name))) for name in names}


def _is_ready(pod: dict[str, Any]) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = pod["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _rename(document: dict[str, Any], model: str) -> None:
    document["metadata"]["name"] = model
    document["metadata"]["labels"] = {"app": model}


def _use_sample_server(template: dict[str, Any], model: str, image: str) -> None:
    template["metadata"]["labels"]["app"] = model
    spec = template["spec"]
    spec["terminationGracePeriodSeconds"] = 1  # it holds no state; a rollout need not wait for it
    server = spec["containers"][0]
    server |= {"image": image, "imagePullPolicy": "IfNotPresent", "command": ["python3", "/server/serve.py"]}
    server["readinessProbe"]["periodSeconds"] = 1
    for mount in server["volumeMounts"]:
        mount["subPathExpr"] = f"{model}/releases/$(MODEL_RELEASE)"
    server["volumeMounts"].append({"name": "server", "mountPath": "/server", "readOnly": True})
    spec["volumes"].append({"name": "server", "configMap": {"name": _SERVER}})


def _server_code(checkout: Checkout) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _SERVER, "namespace": NAMESPACE},
        "data": {"serve.py": (checkout.root / "sandbox" / "serve.py").read_text()},
    }


def _right_to_promote(model: str) -> list[dict[str, Any]]:
    """What role airflow-promotes of include/manifests/access gives, for a Deployment that is not in its list."""
    metadata = {"name": f"airflow-promotes-{model}", "namespace": NAMESPACE}
    rule = {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": [model], "verbs": ["get", "patch"]}
    return [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": "airflow", "namespace": "airflow"}],
        },
    ]
