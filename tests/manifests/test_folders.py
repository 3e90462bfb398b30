"""Every folder renders, to fields that Kubernetes knows, and is one that the documentation applies."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import yaml
from kubernetes import client as k8s

from tests.manifests.rendering import MANIFESTS, ROOT, Manifest


def unknown_fields(manifest: Manifest) -> list[str]:
    """Fields that are not in Kubernetes' own types; the API server would drop them or refuse the object."""
    client = k8s.ApiClient()
    known = client.deserialize(SimpleNamespace(data=json.dumps(manifest)), f"V1{manifest['kind']}")
    return [
        f"{manifest['kind']}/{manifest['metadata']['name']}: {path}"
        for path in _lost(manifest, client.sanitize_for_serialization(known))
    ]


def _lost(before: object, after: object, path: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [lost for key in before for lost in _lost(before[key], after.get(key), f"{path}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [lost for i, item in enumerate(before) for lost in _lost(item, after[i], f"{path}[{i}]")]
    return [] if before == after else [path]


def test_every_field_is_one_that_kubernetes_knows(everything):
    own = [it for objects in everything.values() for it in objects if hasattr(k8s, f"V1{it['kind']}")]
    assert {it["kind"] for objects in everything.values() for it in objects} - {it["kind"] for it in own} == {
        "RecurringJob"  # Longhorn's
    }
    # The schemas inside the definitions of Longhorn's own kinds are not ours to check.
    ours = [it for it in own if it["kind"] != "CustomResourceDefinition"]
    assert sorted({lost for it in ours for lost in unknown_fields(it)}) == []


def test_a_field_that_nobody_knows_is_found():
    claim = yaml.safe_load((MANIFESTS / "storage" / "base" / "claim.yaml").read_text())
    claim["spec"]["accessMode"] = claim["spec"].pop("accessModes")
    assert unknown_fields(claim) == ["PersistentVolumeClaim/models: .spec.accessMode"]


def test_every_folder_renders_something(everything):
    assert set(everything) >= {
        "access",
        "access/quota",
        "longhorn",
        "longhorn/cos",
        "serving",
        "storage",
        "storage/trim",
    }
    assert [folder for folder, objects in everything.items() if not objects] == []


def test_every_manifest_is_applied_by_some_kustomization():
    """A file that no kustomization names is one that nobody tests and nobody applies."""
    named_files = set()
    for file in MANIFESTS.rglob("kustomization.yaml"):
        found = yaml.safe_load(file.read_text())
        paths = [*found.get("resources", ()), *(it["path"] for it in found.get("patches", ()) if "path" in it)]
        named_files |= {(file.parent / path).resolve() for path in paths if "://" not in path}
    others = {MANIFESTS / "longhorn" / "values.yaml"}  # the Helm chart's
    every = {file for file in MANIFESTS.rglob("*.yaml") if file.name != "kustomization.yaml"}
    assert every - named_files - others == set()


def test_every_command_of_the_documentation_applies_a_folder_that_is_there(everything):
    applied = set(re.findall(r"-k include/manifests/(\S+)", (ROOT / "docs" / "gke.md").read_text()))
    assert applied <= set(everything)
    # What it leaves out is a part of a folder, or told of in a table.
    parts = {"longhorn/base", "longhorn/upstream", "storage/base", "storage/nfs40", "storage/nconnect", "serving"}
    assert set(everything) - applied == parts
