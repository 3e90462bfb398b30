"""Renders kustomizations as a user's kubectl does, and reads what comes out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.checkout import Checkout
from sandbox.golang import program

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "include" / "manifests"
UPSTREAM = Path("longhorn/upstream/kustomization.yaml")

Manifest = dict[str, Any]


def kubectl() -> Path:
    """The one on PATH, else the one that the sandbox built."""
    found = shutil.which("kubectl")
    path = Path(found) if found else program(Checkout.here(), "kubectl")
    if not path.exists():
        unavailable(f"no kubectl on PATH and none at {path}: `make up` builds one")
    return path


def unavailable(why: str) -> None:
    """Skips the test that needs it; in CI, where nobody reads what was skipped, fails it.

    Raises:
        Skipped or Failed of pytest.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def render(folder: Path) -> list[Manifest]:
    """Every object of a kustomization."""
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{folder} does not render: {done.stderr}"
    assert not done.stderr, f"{folder} renders with warnings: {done.stderr}"
    return [found for found in yaml.load_all(done.stdout, yaml.CSafeLoader) if found]


def kustomizations(root: Path = MANIFESTS) -> list[Path]:
    """Folders that can be applied, relative to the root; components only change what others render."""
    return sorted(
        file.parent.relative_to(root)
        for file in root.rglob("kustomization.yaml")
        if yaml.safe_load(file.read_text())["kind"] == "Kustomization"
    )


def longhorn_url() -> str:
    """Address of the official manifest."""
    (url,) = yaml.safe_load((MANIFESTS / UPSTREAM).read_text())["resources"]
    return str(url)


def longhorn_version() -> str:
    """The release that the address names."""
    return re.findall(r"/(v[\d.]+)/", longhorn_url())[0]


def longhorn_manifest() -> str:
    """The official manifest: the copy kept beside the checkout where there is one, else from its address."""
    kept = ROOT.parent / "shared" / "fixtures" / f"longhorn-{longhorn_version()}.yaml"
    if kept.exists():
        return kept.read_text()
    try:
        with urllib.request.urlopen(longhorn_url(), timeout=10) as answer:
            return answer.read().decode()
    except OSError as error:
        unavailable(f"Longhorn's manifest is neither at {kept} nor at {longhorn_url()} ({error})")
        raise


def offline_copy(target: Path, manifest: str) -> Path:
    """A copy of include/manifests that reads Longhorn's manifest from a file, everything else as it is."""
    shutil.copytree(MANIFESTS, target)
    upstream = target / UPSTREAM
    upstream.with_name("longhorn.yaml").write_text(manifest)
    upstream.write_text(upstream.read_text().replace(longhorn_url(), "longhorn.yaml"))
    agent = target / "longhorn" / "cos" / "kustomization.yaml"
    agent.with_name("agent.yaml").write_text(_AGENT)
    agent.write_text(re.sub(r"https://\S+", "agent.yaml", agent.read_text()))
    return target


# What the node agent of Container-Optimized OS is to the overlay: a DaemonSet of this name without any placement.
_AGENT = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: longhorn-gke-cos-node-agent, namespace: longhorn-system}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: node-agent, image: "registry.suse.com/bci/bci-base:15.5"}]}
"""


def pod_specs(objects: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod spec with its owner's kind and name, whatever kind owns it."""
    for found in objects:
        template = _template(found.get("spec") or {})
        if template:
            yield f"{found['kind']}/{found['metadata']['name']}", template["spec"]


def _template(spec: Manifest) -> Manifest | None:
    if "jobTemplate" in spec:
        return _template(spec["jobTemplate"]["spec"])
    template = spec.get("template")
    return template if isinstance(template, dict) and "containers" in template.get("spec", {}) else None


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def named(objects: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (it for it in objects if it["kind"] == kind and it["metadata"]["name"] == name)
    return found
