"""Says on which nodes a pod could land, as the scheduler does: selector, required affinity, taints."""

from __future__ import annotations

from typing import Any

from tests.manifests.rendering import Manifest, pod_specs

LONGHORN = "model-refresh/longhorn"
DISK = "node.longhorn.io/create-default-disk"
NODES: dict[str, dict[str, Any]] = {
    "storage": {"labels": {LONGHORN: "true", DISK: "true"}, "taints": [(LONGHORN, "true")]},
    "serving": {"labels": {LONGHORN: "true"}, "taints": [("nvidia.com/gpu", "present")]},
    "other": {"labels": {}, "taints": []},
}


def lands_on(pod: Manifest) -> set[str]:
    """Names of the nodes that a pod may be scheduled to."""
    return {name for name, node in NODES.items() if _chosen(pod, node["labels"]) and _tolerated(pod, node["taints"])}


def _chosen(pod: Manifest, labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (pod.get("nodeSelector") or {}).items()):
        return False
    required = pod.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(
        all(_matches(rule, labels) for rule in term["matchExpressions"]) for term in required["nodeSelectorTerms"]
    )


def _matches(rule: Manifest, labels: dict[str, str]) -> bool:
    assert rule["operator"] == "In", f"teach this function operator {rule['operator']}"
    return labels.get(rule["key"]) in rule["values"]


def _tolerated(pod: Manifest, taints: list[tuple[str, str]]) -> bool:
    tolerations = [
        (found["key"], found["value"])
        for found in pod.get("tolerations", ())
        if found["operator"] == "Equal" and found["effect"] == "NoSchedule"
    ]
    return all(taint in tolerations for taint in taints)


def misplaced(objects: list[Manifest]) -> list[str]:
    """Longhorn's pods that could land where they must not, or could not where they must."""
    problems = []
    for owner, pod in pod_specs(objects):
        # Whatever runs once a node is what a pod that mounts the volume needs on its own node.
        wanted = {"storage", "serving"} if owner.startswith("DaemonSet/") else {"storage"}
        if lands_on(pod) != wanted:
            problems.append(f"{owner} lands on {sorted(lands_on(pod))}, not on {sorted(wanted)}")
    return problems
