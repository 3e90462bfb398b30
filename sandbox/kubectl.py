"""Talks to this checkout's cluster as its administrator, as a person would: by kubectl."""

from __future__ import annotations

from pathlib import Path

from sandbox.checkout import Checkout
from sandbox.golang import program
from sandbox.shell import output


def kubectl(checkout: Checkout, *words: str | Path, stdin: str | None = None) -> str:
    """Standard output of a kubectl command.

    Raises:
        SandboxError: the API server refused, or does not answer.
    """
    return output(program(checkout, "kubectl"), f"--kubeconfig={checkout.admin_kubeconfig}", *words, stdin=stdin)


def apply_folder(checkout: Checkout, folder: Path) -> None:
    """Applies a kustomization, server-side, so that a second time changes nothing."""
    kubectl(checkout, "apply", "--server-side", "--field-manager=sandbox", "--force-conflicts", "-k", folder)


def apply_text(checkout: Checkout, manifests: str) -> None:
    """Applies manifests that were made in memory."""
    kubectl(
        checkout, "apply", "--server-side", "--field-manager=sandbox", "--force-conflicts", "-f", "-", stdin=manifests
    )
