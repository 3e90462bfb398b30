"""The class, the claim and the sizes: what the volume will be, whichever folder is applied."""

from __future__ import annotations

import json
import math

import pytest
import yaml

from tests.manifests.placement import lands_on
from tests.manifests.rendering import MANIFESTS, ROOT, Manifest, named, render

VARIANTS = ["storage", "storage/nfs40", "storage/nconnect"]


def storage_class(objects: list[Manifest]) -> Manifest:
    (found,) = (it for it in objects if it["kind"] == "StorageClass")
    return found


def nfs_options(objects: list[Manifest]) -> dict[str, str]:
    words = storage_class(objects)["parameters"]["nfsOptions"].split(",")
    return dict(word.split("=") if "=" in word else (word, "") for word in words)


@pytest.mark.parametrize("folder", VARIANTS)
def test_the_claim_is_of_the_class_beside_it(folder, rendered):
    claim = named(rendered[folder], "PersistentVolumeClaim", "models")["spec"]
    found = storage_class(rendered[folder])
    assert claim["accessModes"] == ["ReadWriteMany"]
    assert claim["storageClassName"] == found["metadata"]["name"]
    # Class `longhorn` is Longhorn's own: it writes it again whenever it starts.
    assert found["metadata"]["name"] != "longhorn"
    assert found["reclaimPolicy"] == "Retain"
    assert all(isinstance(value, str) for value in found["parameters"].values())


@pytest.mark.parametrize("folder", VARIANTS)
def test_nfs_options_are_complete(folder, rendered):
    """Longhorn adds none of its own to a list that is given."""
    assert nfs_options(rendered[folder]).keys() >= {"vers", "noresvport", "softerr", "timeo", "retrans"}


def test_each_overlay_changes_one_option(rendered):
    base = nfs_options(rendered["storage"]).items()
    assert base ^ nfs_options(rendered["storage/nfs40"]).items() == {("vers", "4.1"), ("vers", "4.0")}
    assert base ^ nfs_options(rendered["storage/nconnect"]).items() == {("nconnect", "8")}


def test_the_nfs_server_runs_where_replicas_are(rendered):
    parameters = storage_class(rendered["storage"])["parameters"]
    key, value = parameters["shareManagerNodeSelector"].split(":")
    taint, effect = parameters["shareManagerTolerations"].split(":")
    name, wanted = taint.split("=")
    toleration = {"key": name, "operator": "Equal", "value": wanted, "effect": effect}
    assert lands_on({"nodeSelector": {key: value}, "tolerations": [toleration]}) == {"storage"}


def test_the_trim_job_is_the_one_that_the_class_asks_for(rendered, official):
    (job,) = rendered["storage/trim"]
    (asked,) = json.loads(storage_class(rendered["storage"])["parameters"]["recurringJobSelector"])
    assert asked == {"name": job["metadata"]["name"], "isGroup": False}
    assert job["spec"]["name"] == job["metadata"]["name"]
    documents = filter(None, yaml.load_all(official, yaml.CSafeLoader))
    crd = named(list(documents), "CustomResourceDefinition", "recurringjobs.longhorn.io")
    (schema,) = (it["schema"] for it in crd["spec"]["versions"] if it["name"] == job["apiVersion"].split("/")[1])
    fields = schema["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert job["spec"].keys() <= fields.keys()
    assert job["spec"]["task"] in fields["task"]["enum"]


def test_the_sandbox_takes_its_own_volume_and_nothing_of_longhorns():
    objects = render(ROOT / "sandbox" / "manifests")
    volume = yaml.safe_load((ROOT / "sandbox" / "manifests" / "volume.yaml").read_text())
    claim = named(objects, "PersistentVolumeClaim", "models")["spec"]
    assert claim["storageClassName"] == volume["spec"]["storageClassName"]
    assert claim["resources"]["requests"]["storage"] == volume["spec"]["capacity"]["storage"]
    assert [it["kind"] for it in objects if "longhorn.io" in it["apiVersion"]] == []


def sizes(releases: int, settings: dict[str, str]) -> tuple[int, ...]:
    """A row of the table in docs/sizing.md."""
    # Rounded before the ceiling: 4.4 * 20 is a little more than 88 to a computer.
    claim = math.ceil(round(4 * 1.1 * releases, 6))
    reserved = int(settings["storage-reserved-percentage-for-default-disk"])
    available = int(settings["storage-minimal-available-percentage"])
    promised = int(settings["storage-over-provisioning-percentage"])
    disk = math.ceil(max(claim / (1 - reserved / 100) / (promised / 100), claim / (1 - available / 100)))
    return releases, claim, disk, 2 * disk, 3 * disk


def test_the_sizes_in_the_documentation_are_right():
    patch = yaml.safe_load((MANIFESTS / "longhorn" / "base" / "settings.yaml").read_text())
    settings = yaml.safe_load(patch["data"]["default-setting.yaml"])
    page = (ROOT / "docs" / "sizing.md").read_text()
    rows = [tuple(map(int, line.strip("|").split("|"))) for line in page.splitlines() if line[2:3].isdigit()]
    assert len(rows) >= 4
    assert rows == [sizes(row[0], settings) for row in rows]


def test_the_sample_claim_is_the_one_that_the_page_speaks_of(rendered):
    size = named(rendered["storage"], "PersistentVolumeClaim", "models")["spec"]["resources"]["requests"]["storage"]
    page = (ROOT / "docs" / "sizing.md").read_text()
    assert f"claim of {size.removesuffix('Gi')} Gi" in page
    assert f"wants disks of {math.ceil(int(size.removesuffix('Gi')) / 0.7)} Gi" in page
