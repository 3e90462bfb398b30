"""Who may do what: rights, privileges and networks that the rendered manifests give."""

from __future__ import annotations

import ipaddress

import pytest

from model_refresh.names import STEP_LABEL
from tests.manifests.rendering import ROOT, Manifest, containers, named, pod_specs

LOADER = {"kind": "ServiceAccount", "name": "model-loader", "namespace": "models"}
# Subjects that every service account belongs to; the loader's own namespace among them.
EVERYBODY = {
    "system:serviceaccounts",
    "system:serviceaccounts:models",
    "system:authenticated",
    "system:unauthenticated",
}


def bindings(objects: list[Manifest]) -> list[Manifest]:
    return [it for it in objects if it["kind"] in {"RoleBinding", "ClusterRoleBinding"}]


def bound_to_the_loader(objects: list[Manifest]) -> list[str]:
    return [
        binding["metadata"]["name"]
        for binding in bindings(objects)
        for subject in binding["subjects"]
        if LOADER.items() <= subject.items() or (subject["kind"] == "Group" and subject["name"] in EVERYBODY)
    ]


def rights(objects: list[Manifest], name: str, namespace: str) -> set[tuple[str, ...]]:
    """An account's rights as rows of docs/access.md, the reasons left out."""
    account = f"{namespace}/{name}"
    rows = set()
    for binding in bindings(objects):
        if {"kind": "ServiceAccount", "name": name, "namespace": namespace} not in binding["subjects"]:
            continue
        assert binding["kind"] == "RoleBinding", f"{account} has a role in the whole cluster"
        assert binding["metadata"]["namespace"] == "models"
        for rule in named(objects, binding["roleRef"]["kind"], binding["roleRef"]["name"])["rules"]:
            only = "the Deployments that you name" if rule.get("resourceNames") else ""
            rows |= {
                (account, group or "core", resource, ", ".join(sorted(rule["verbs"])), only)
                for group in rule["apiGroups"]
                for resource in rule["resources"]
            }
    return rows


def documented() -> set[tuple[str, ...]]:
    lines = (ROOT / "docs" / "access.md").read_text().splitlines()
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("| airflow/")
    ]
    assert all(row[-1] for row in rows), "a right without a reason"
    return {row[:-1] for row in rows}


def test_airflow_has_exactly_the_rights_of_the_table(rendered):
    assert rights(rendered["access"], "airflow", "airflow") == documented()


def test_a_right_more_is_found(rendered):
    role = named(rendered["access"], "Role", "airflow-refreshes")
    more = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    changed = [it for it in rendered["access"] if it is not role] + [{**role, "rules": [*role["rules"], more]}]
    assert rights(changed, "airflow", "airflow") - documented() == {("airflow/airflow", "core", "secrets", "get", "")}


def test_the_loader_has_no_rights_and_no_token(everything):
    assert {
        folder: bound_to_the_loader(objects) for folder, objects in everything.items() if bound_to_the_loader(objects)
    } == {}
    assert named(everything["access"], "ServiceAccount", "model-loader")["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    "subject", [{**LOADER, "apiGroup": ""}, {"kind": "Group", "name": "system:serviceaccounts:models"}]
)
def test_a_right_for_the_loader_is_found(subject):
    binding = {"kind": "RoleBinding", "metadata": {"name": "new"}, "subjects": [subject]}
    assert bound_to_the_loader([binding]) == ["new"]


def test_cluster_admin_only_where_you_take_it_away_again(everything):
    given = {
        folder
        for folder, objects in everything.items()
        if any(binding["roleRef"]["name"] == "cluster-admin" for binding in bindings(objects))
    }
    # upstream/ is Longhorn's own manifest, which nobody applies as it is.
    assert given == {"longhorn/install", "longhorn/support-bundle", "longhorn/upstream"}


def privileges(pod: Manifest) -> list[str]:
    """What a pod has that `restricted` Pod Security would refuse, as far as these manifests could ask for it."""
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    found += [volume["name"] for volume in pod.get("volumes", ()) if "hostPath" in volume]
    context = pod.get("securityContext", {})
    for container in containers(pod):
        own = {**context, **container.get("securityContext", {})}
        if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False or not own.get("runAsNonRoot"):
            found.append(container["name"])
    return found


def test_no_pod_outside_longhorn_has_privileges(rendered):
    pods = [
        (owner, pod)
        for folder, objects in rendered.items()
        if not folder.startswith("longhorn")
        for owner, pod in pod_specs(objects)
    ]
    assert [owner for owner, _ in pods] == ["Deployment/example"]
    assert [(owner, privileges(pod)) for owner, pod in pods if privileges(pod)] == []


def test_privileges_are_found(everything):
    manager = named(everything["longhorn"], "DaemonSet", "longhorn-manager")["spec"]["template"]["spec"]
    assert {"longhorn-manager", "dev", "proc"} <= set(privileges(manager))


def test_nothing_in_the_model_namespace_needs_a_limit_unless_asked(rendered):
    """Pods without requests and limits, the loader's and yours, must start wherever quota/ was not applied."""
    limiting = {"ResourceQuota", "LimitRange", "PodDisruptionBudget"}
    by_folder = {folder: limiting & {it["kind"] for it in objects} for folder, objects in rendered.items()}
    assert by_folder["access"] == set()
    assert by_folder["storage"] == set()
    (quota,) = [it for it in rendered["access/quota"] if it["kind"] == "ResourceQuota"]
    assert not {name for name in quota["spec"]["hard"] if "cpu" in name or "memory" in name}


def policies_for(objects: list[Manifest], labels: dict[str, str]) -> list[Manifest]:
    def chosen(rule: Manifest) -> bool:
        assert rule["operator"] in {"Exists", "DoesNotExist"}
        return (rule["key"] in labels) == (rule["operator"] == "Exists")

    return [
        it["spec"]
        for it in objects
        if it["kind"] == "NetworkPolicy" and all(chosen(rule) for rule in it["spec"]["podSelector"]["matchExpressions"])
    ]


def reaches(objects: list[Manifest], labels: dict[str, str], address: str, port: int) -> bool:
    """Whether a pod with these labels may open a TCP connection to an address outside the cluster's pods."""
    ip = ipaddress.ip_address(address)
    policies = policies_for(objects, labels)
    assert policies, "no policy means everything"
    return any(
        ip in ipaddress.ip_network(to["ipBlock"]["cidr"])
        and not any(ip in ipaddress.ip_network(out) for out in to["ipBlock"].get("except", ()))
        and {"protocol": "TCP", "port": port} in rule["ports"]
        for policy in policies
        for rule in policy["egress"]
        for to in rule["to"]
        if "ipBlock" in to
    )


@pytest.mark.parametrize(
    ("address", "port", "loader"),
    [
        ("142.250.1.1", 443, True),  # Cloud Storage
        ("199.36.153.8", 443, True),  # Cloud Storage by Private Google Access
        ("142.250.1.1", 80, False),
        ("10.0.0.1", 443, False),  # the API server
        ("192.168.1.1", 443, False),
        ("169.254.169.254", 80, True),  # the metadata server with Dataplane V2
        ("169.254.169.252", 988, True),  # and without
        ("169.254.169.254", 443, False),
        ("169.254.20.10", 53, True),  # DNS
    ],
)
def test_what_pods_may_reach(rendered, address, port, loader):
    assert reaches(rendered["access"], {STEP_LABEL: "copy"}, address, port) == loader
    serving = port == 53
    assert reaches(rendered["access"], {"app": "example"}, address, port) == serving


def test_nobody_speaks_to_a_loader_pod(rendered):
    (policy,) = policies_for(rendered["access"], {STEP_LABEL: "copy"})
    assert "Ingress" in policy["policyTypes"]
    assert "ingress" not in policy
