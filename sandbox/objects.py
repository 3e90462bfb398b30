"""Puts into the cluster what the sandbox shares with real ones, and gives Airflow a token of its own account."""

from __future__ import annotations

from sandbox import pki
from sandbox.checkout import Checkout
from sandbox.kubectl import apply_folder, apply_text, kubectl

_ACCESS_LIFETIME = "720h"  # renewed at each `up`


def apply_all(checkout: Checkout) -> None:
    """Applies namespaces, accounts, roles, the claim and the folder that stands in for its volume."""
    checkout.volume.mkdir(exist_ok=True)
    checkout.volume.chmod(0o777)  # as the root of a Longhorn RWX volume is
    manifests = checkout.root / "sandbox" / "manifests"
    apply_folder(checkout, manifests)
    apply_text(checkout, (manifests / "volume.yaml").read_text().replace("${SANDBOX_VOLUME}", str(checkout.volume)))


def write_airflow_kubeconfig(checkout: Checkout) -> None:
    """Airflow reaches the cluster as its own account, never as the administrator."""
    token = kubectl(checkout, "create", "token", "airflow", "--namespace=airflow", f"--duration={_ACCESS_LIFETIME}")
    folder = checkout.state / "airflow"
    folder.mkdir(exist_ok=True)
    pki.write_kubeconfig(checkout, folder / "kubeconfig", token=token.strip())
