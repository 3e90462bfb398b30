"""Makes and removes this checkout's bridge, which pods hang on and whose own address the sandbox's servers use."""

from __future__ import annotations

import json
from pathlib import Path

from sandbox.checkout import Checkout
from sandbox.shell import output, succeeds

CNI_PLUGINS = Path("/usr/lib/cni")  # where Debian's containernetworking-plugins puts them


def make_bridge(checkout: Checkout) -> None:
    """Makes the bridge with its address; nothing is routed or masqueraded, since pods need only this machine."""
    if not succeeds("ip", "link", "show", checkout.bridge):
        output("ip", "link", "add", checkout.bridge, "type", "bridge")
    address = f"{checkout.host}/{checkout.subnet.prefixlen}"
    if checkout.host not in output("ip", "-4", "addr", "show", "dev", checkout.bridge):
        output("ip", "addr", "add", address, "dev", checkout.bridge)
    output("ip", "link", "set", checkout.bridge, "up")


def remove_bridge(checkout: Checkout) -> None:
    """Removes the bridge; the pods' ends of it went with their network namespaces."""
    if succeeds("ip", "link", "show", checkout.bridge):
        output("ip", "link", "delete", checkout.bridge)


def write_cni_config(checkout: Checkout) -> Path:
    """Writes the configuration that containerd gives each pod's network by; returns its folder."""
    folder = checkout.state / "cni"
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "cniVersion": "0.4.0",
        "name": checkout.bridge,
        "plugins": [
            {
                "type": "bridge",
                "bridge": checkout.bridge,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(checkout.run / "ipam"),
                    "ranges": [[{"subnet": str(checkout.subnet), "rangeStart": str(checkout.subnet[10])}]],
                },
            }
        ],
    }
    (folder / "10-bridge.conflist").write_text(json.dumps(config, indent=1))
    return folder
