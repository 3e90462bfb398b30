"""Talks to this checkout's containerd: images in, and whatever runs out."""

from __future__ import annotations

from pathlib import Path

from sandbox.checkout import Checkout
from sandbox.shell import output


def ctr(checkout: Checkout, *words: str | Path) -> str:
    """Standard output of a containerd command in the namespace that the kubelet uses."""
    return output("ctr", "--address", checkout.containerd_socket, "--namespace", "k8s.io", *words)


def has_image(checkout: Checkout, name: str) -> bool:
    return name in ctr(checkout, "images", "list", "-q", f"name=={name}").split()


def import_image(checkout: Checkout, archive: Path) -> None:
    ctr(checkout, "images", "import", archive)


def known_blobs(checkout: Checkout) -> set[str]:
    """Digests of what containerd holds already, layers above all."""
    return set(ctr(checkout, "content", "list", "-q").split())
