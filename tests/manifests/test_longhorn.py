"""Longhorn's own manifest, as it is applied: who lands where, with which settings and images and rights."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.manifests.placement import DISK, LONGHORN, lands_on, misplaced
from tests.manifests.rendering import (
    MANIFESTS,
    ROOT,
    UPSTREAM,
    Manifest,
    containers,
    longhorn_version,
    named,
    offline_copy,
    pod_specs,
    render,
)


def workload(kind: str, name: str) -> str:
    """A workload as a later Longhorn might add it."""
    pod = {"containers": [{"name": "new", "image": "docker.io/longhornio/new:v1"}]}
    return "\n---\n" + yaml.safe_dump(
        {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "longhorn-system"},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
            },
        }
    )


@pytest.fixture
def longhorn(everything: dict[str, list[Manifest]]) -> list[Manifest]:
    return everything["longhorn"]


@pytest.fixture
def settings(longhorn: list[Manifest]) -> dict[str, str]:
    text = named(longhorn, "ConfigMap", "longhorn-default-setting")["data"]["default-setting.yaml"]
    return yaml.safe_load(text)


def test_every_pod_of_longhorns_lands_where_it_should(longhorn):
    assert {owner for owner, _ in pod_specs(longhorn)} >= {
        "DaemonSet/longhorn-manager",
        "Deployment/longhorn-driver-deployer",
        "Deployment/longhorn-ui",
    }
    assert misplaced(longhorn) == []


def test_what_a_later_longhorn_adds_is_placed_too(tmp_path, official):
    added = official + workload("Deployment", "new-controller") + workload("DaemonSet", "new-agent")
    objects = render(offline_copy(tmp_path / "manifests", added) / "longhorn")
    assert named(objects, "Deployment", "new-controller")
    assert named(objects, "DaemonSet", "new-agent")
    assert misplaced(objects) == []


@pytest.mark.parametrize("kind", ["StatefulSet", "Job"])
def test_a_kind_that_no_patch_places_is_found(kind, tmp_path, official):
    objects = render(offline_copy(tmp_path / "manifests", official + workload(kind, "new")) / "longhorn")
    assert misplaced(objects) == [f"{kind}/new lands on ['other'], not on ['storage']"]


@pytest.mark.parametrize(
    ("patch", "found"),
    [
        ("daemonsets.yaml", ["DaemonSet/longhorn-manager"]),
        ("deployments.yaml", ["Deployment/longhorn-driver-deployer", "Deployment/longhorn-ui"]),
    ],
)
def test_a_patch_that_is_missing_is_found(patch, found, tmp_path, official):
    copy = offline_copy(tmp_path / "manifests", official)
    file = copy / "longhorn" / "placement" / "kustomization.yaml"
    placement = yaml.safe_load(file.read_text())
    placement["patches"] = [it for it in placement["patches"] if it["path"] != patch]
    file.write_text(yaml.safe_dump(placement))
    assert [problem.split()[0] for problem in misplaced(render(copy / "longhorn"))] == found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("value: present", "value: absent"),
        ("key: nvidia.com/gpu", "key: nvidia.com/other"),
        (f"key: {LONGHORN}, operator: Equal", "key: another, operator: Equal"),
    ],
)
def test_a_toleration_that_is_missing_is_found(old, new, tmp_path, official):
    copy = offline_copy(tmp_path / "manifests", official)
    file = copy / "longhorn" / "placement" / "daemonsets.yaml"
    file.write_text(file.read_text().replace(old, new))
    assert [problem.split()[0] for problem in misplaced(render(copy / "longhorn"))] == ["DaemonSet/longhorn-manager"]


def system_managed(settings: dict[str, str]) -> Manifest:
    """The placement that Longhorn gives to what it starts by itself, read from its settings as it does."""
    selector = [rule.strip().split(":") for rule in settings["system-managed-components-node-selector"].split(";")]
    tolerations = []
    for taint in settings["taint-toleration"].split(";"):
        pair, effect = taint.strip().split(":")
        key, value = pair.split("=")
        tolerations.append({"key": key, "operator": "Equal", "value": value, "effect": effect})
    return {"nodeSelector": dict(selector), "tolerations": tolerations}


def test_the_csi_plugin_reaches_serving_nodes(settings):
    """longhorn#3073: the selector also places the CSI plugin, and without it no pod there mounts the volume."""
    assert lands_on(system_managed(settings)) == {"storage", "serving"}


def test_a_selector_that_keeps_csi_off_serving_nodes_is_found(settings):
    settings["system-managed-components-node-selector"] = f"{DISK}:true"
    assert lands_on(system_managed(settings)) == {"storage"}


def test_longhorn_tolerates_by_setting_what_it_tolerates_by_manifest(longhorn, settings):
    manager = named(longhorn, "DaemonSet", "longhorn-manager")["spec"]["template"]["spec"]
    assert system_managed(settings)["tolerations"] == manager["tolerations"]


def test_replicas_only_on_labelled_nodes_and_apart(settings):
    assert settings["create-default-disk-labeled-nodes"] == "true"
    assert settings["replica-soft-anti-affinity"] == "false"
    assert '"v1":"2"' in settings["default-replica-count"]


def test_every_setting_is_a_string_and_longhorns_own_are_kept(official, settings):
    assert [name for name, value in settings.items() if not isinstance(value, str)] == []
    theirs = named(
        list(filter(None, yaml.load_all(official, yaml.CSafeLoader))), "ConfigMap", "longhorn-default-setting"
    )
    assert yaml.safe_load(theirs["data"]["default-setting.yaml"]).items() <= settings.items()


def test_longhorns_class_is_not_the_clusters_default(longhorn):
    text = named(longhorn, "ConfigMap", "longhorn-storageclass")["data"]["storageclass.yaml"]
    assert yaml.safe_load(text)["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "false"}


def images(objects: list[Manifest]) -> dict[str, str]:
    """Every image by where it is named: containers, and the flags and variables that tell Longhorn what to start."""
    found = {}
    for owner, pod in pod_specs(objects):
        for container in containers(pod):
            where = f"{owner} {container['name']}"
            found[where] = container["image"]
            command = container.get("command", [])
            flags = {word: command[i + 1] for i, word in enumerate(command) if word.endswith("-image")}
            variables = {it["name"]: it["value"] for it in container.get("env", ()) if it["name"].endswith("_IMAGE")}
            found |= {f"{where} {name}": image for name, image in (flags | variables).items()}
    return found


def test_every_image_is_pinned(longhorn):
    found = images(longhorn)
    assert len(found) >= 18
    loose = {where: image for where, image in found.items() if not re.fullmatch(r"\S+:v\d+\.\d+\.\d+(-\d+)?", image)}
    assert loose == {}


def test_longhorns_own_images_are_of_the_release(longhorn):
    own = re.compile(r"/(longhorn-\w|backing-image-manager)")
    found = {where: image for where, image in images(longhorn).items() if own.search(image)}
    assert {image.rsplit(":")[-1] for image in found.values()} == {longhorn_version()}


def test_each_flag_still_names_its_image(longhorn):
    """The release is set by the flags' positions; a later Longhorn may move them."""
    flags = {where.split()[-1]: image for where, image in images(longhorn).items() if "--" in where}
    assert {flag: image.split("/")[-1].split(":")[0] for flag, image in flags.items()} == {
        "--engine-image": "longhorn-engine",
        "--instance-manager-image": "longhorn-instance-manager",
        "--share-manager-image": "longhorn-share-manager",
        "--backing-image-manager-image": "backing-image-manager",
        "--support-bundle-manager-image": "support-bundle-kit",
        "--manager-image": "longhorn-manager",
    }


def test_one_version_everywhere():
    files = [*MANIFESTS.joinpath("longhorn").rglob("*.yaml"), ROOT / "docs" / "gke.md"]
    mentions = {file: set(re.findall(r"\bv?1\.1\d\.\d+\b", file.read_text())) for file in files}
    named_in = {file: {it.removeprefix("v") for it in versions} for file, versions in mentions.items() if versions}
    assert MANIFESTS / UPSTREAM in named_in
    assert set().union(*named_in.values()) == {longhorn_version().removeprefix("v")}


def test_the_agent_of_container_optimized_os_runs_on_its_nodes_only(everything):
    agent = named(everything["longhorn/cos"], "DaemonSet", "longhorn-gke-cos-node-agent")["spec"]["template"]["spec"]
    assert agent.pop("nodeSelector") == {"cloud.google.com/gke-os-distribution": "cos"}
    assert lands_on(agent) == {"storage", "serving"}
    without = [it for it in everything["longhorn/cos"] if it["metadata"]["name"] != "longhorn-gke-cos-node-agent"]
    assert without == everything["longhorn"]


def camel(setting: str) -> str:
    first, *rest = setting.split("-")
    return first + "".join(word.capitalize() for word in rest)


def test_the_charts_values_do_the_same(longhorn, settings):
    values = yaml.safe_load((MANIFESTS / "longhorn" / "values.yaml").read_text())
    ours = {
        name: value for name, value in settings.items() if name not in {"priority-class", "disable-revision-counter"}
    }
    assert values["defaultSettings"] == {camel(name): value for name, value in ours.items()}
    for key, owner in {
        "longhornManager": ("DaemonSet", "longhorn-manager"),
        "longhornDriver": ("Deployment", "longhorn-driver-deployer"),
        "longhornUI": ("Deployment", "longhorn-ui"),
    }.items():
        pod = named(longhorn, *owner)["spec"]["template"]["spec"]
        assert lands_on(values[key]) == lands_on(pod)


def test_the_manifest_itself_is_not_in_the_repository():
    assert [
        file.name for file in Path(MANIFESTS).rglob("*.yaml") if "CustomResourceDefinition" in file.read_text()
    ] == []
