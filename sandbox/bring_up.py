"""Brings everything up in the right order, and says what is up."""

from __future__ import annotations

from sandbox import control_plane, debian, golang, network, node, pki
from sandbox.checkout import Checkout
from sandbox.progress import say, step


def up(checkout: Checkout) -> None:
    """Leaves a running sandbox; what runs already is left alone."""
    debian.install_packages()
    golang.build_all(checkout)
    with step("cluster"):
        pki.make_all(checkout)
        network.make_bridge(checkout)
        node.start_containerd(checkout)
        control_plane.start(checkout)
        node.start_kubelet(checkout)
    say("up")


def print_status(checkout: Checkout) -> None:
    print(checkout)


def print_environment(checkout: Checkout) -> None:
    print(checkout)
