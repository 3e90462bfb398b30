"""Builds Kubernetes and the bucket from the Go module proxy, once for all checkouts of this user."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.checkout import Checkout, cache_folder
from sandbox.errors import SandboxError
from sandbox.locks import locked
from sandbox.progress import say
from sandbox.shell import output

KUBERNETES_VERSION = "1.36.3"


@dataclass(frozen=True)
class Module:
    """A Go module under sandbox/go that has no code of its own, only `tool` lines: it pins what is built."""

    name: str
    programs: Mapping[str, str]
    """File name to Go package, in the order of building."""


KUBERNETES = Module(
    "kubernetes",
    {
        "etcd": "go.etcd.io/etcd/server/v3",
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubelet": "k8s.io/kubernetes/cmd/kubelet",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    },
)
BUCKET = Module("fake-gcs-server", {"fake-gcs-server": "github.com/fsouza/fake-gcs-server"})
TOXIPROXY = Module("toxiproxy", {"toxiproxy": "github.com/Shopify/toxiproxy/v2/cmd/server"})
MODULES = (KUBERNETES, BUCKET, TOXIPROXY)


def program(checkout: Checkout, name: str) -> Path:
    """Where the built program is."""
    module = next(module for module in MODULES if name in module.programs)
    return bin_folder(checkout, module) / name


def bin_folder(checkout: Checkout, module: Module) -> Path:
    """The cache folder for exactly these sources: another go.sum is another folder."""
    sums = hashlib.sha256(_source(checkout, module).joinpath("go.sum").read_bytes()).hexdigest()[:12]
    return cache_folder() / "go" / f"{module.name}-{sums}" / "bin"


def build_all(checkout: Checkout) -> None:
    """Builds what is not in the cache yet; interrupted, it goes on with the program it was at."""
    if not _missing(checkout):
        return
    with locked(cache_folder() / "go" / "lock", "building Go programs"):
        missing = _missing(checkout)
        began = time.monotonic()
        for number, (module, name) in enumerate(missing, start=1):
            say(f"go: building {name} ({number} of {len(missing)}, {time.monotonic() - began:.0f} s so far)")
            _build(checkout, module, name)
        if missing:
            say(f"go: {len(missing)} programs built in {time.monotonic() - began:.0f} s; they stay in the cache")


def _missing(checkout: Checkout) -> list[tuple[Module, str]]:
    return [
        (module, name)
        for module in MODULES
        for name in module.programs
        if not (bin_folder(checkout, module) / name).exists()
    ]


def _build(checkout: Checkout, module: Module, name: str) -> None:
    target = bin_folder(checkout, module) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    environment = {
        "CGO_ENABLED": "0",  # no C compiler needed
        "GOFLAGS": "-buildvcs=false",
        "GOTOOLCHAIN": "auto",  # Kubernetes wants a newer Go than the oldest that can fetch one
        "GOPATH": os.environ.get("GOPATH", str(Path.home() / "go")),
    }
    try:
        output(
            "go", "build", "-ldflags", _linker_flags(), "-o", part, module.programs[name],
            env=environment, cwd=_source(checkout, module),
        )  # fmt: skip
    except SandboxError as error:
        raise SandboxError(
            f"building {name} failed. Go 1.24 or newer and a Go module proxy are needed.\n{error}"
        ) from error
    part.rename(target)


def _linker_flags() -> str:
    """Without these, Kubernetes calls itself v0.0.0-master and its version checks misfire."""
    major, minor, _ = KUBERNETES_VERSION.split(".")
    flags = ["-s", "-w"]
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        flags.append(f"-X {package}.gitVersion=v{KUBERNETES_VERSION}")
        flags.append(f"-X {package}.gitMajor={major}")
        flags.append(f"-X {package}.gitMinor={minor}")
    return " ".join(flags)


def _source(checkout: Checkout, module: Module) -> Path:
    return checkout.root / "sandbox" / "go" / module.name
