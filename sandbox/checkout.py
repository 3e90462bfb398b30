"""Says which folders, ports, addresses and names belong to this checkout, so that two never meet on one machine."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import socket
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError
from sandbox.shell import output

_SLOTS = 250
_FIRST_PORT = 20000  # below Linux's ephemeral range (32768+), where a port could be taken between up and up
_PORTS_PER_SLOT = 40
_PORT_NAMES = (
    "apiserver",
    "etcd",
    "etcd_peer",
    "controller_manager",
    "scheduler",
    "kubelet",
    "kubelet_healthz",
    "bucket_http",
    "bucket_https",
    "toxiproxy",
    "slow_bucket",
    "slow_bucket_https",
    "airflow",
    "airflow_worker_log",
    "airflow_trigger_log",
)


def cache_folder() -> Path:
    """The folder that all checkouts of this user share: what is expensive to make and never changes."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "model-refresh"


@dataclass(frozen=True)
class Checkout:
    """One clone of the project, and everything on the machine that is named after it."""

    root: Path

    @classmethod
    def here(cls) -> Checkout:
        return cls(root=Path(__file__).resolve().parent.parent)

    @property
    def key(self) -> str:
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    @property
    def state(self) -> Path:
        return self.root / ".sandbox"

    @property
    def run(self) -> Path:
        """Holds the sockets: a Unix socket's path may have 107 bytes at most, a checkout's path can be longer."""
        return Path("/run") / f"mr-{self.key}"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def pids(self) -> Path:
        return self.state / "pid"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def volume(self) -> Path:
        """The folder behind the claim."""
        return self.state / "volume"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def cgroup(self) -> str:
        return f"mr-{self.key}"

    @property
    def bridge(self) -> str:
        return f"mr-{self.key}"  # 11 bytes; Linux allows 15

    @property
    def node(self) -> str:
        return f"node-{self.key}"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.state / "admin.kubeconfig"

    @cached_property
    def slot(self) -> int:
        """The number, 0 to 249, that this checkout's addresses and ports come from; chosen once, then remembered."""
        remembered = self.state / "slot.json"
        if not remembered.exists():
            return _claim_slot(self)
        claim: dict[str, Any] = json.loads(remembered.read_text())
        if claim["checkout"] != str(self.root):
            raise SandboxError(
                f"{self.state} belongs to {claim['checkout']}: it was copied or moved with its folder.\n"
                f"Its ports, addresses and processes are the other checkout's. Remove {self.state} and try again."
            )
        return int(claim["slot"])

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        return _subnet(self.slot)

    @property
    def services(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(f"10.46.{self.slot}.0/24")

    @property
    def host(self) -> str:
        """The bridge's own address: pods and programs on the machine reach everything of the sandbox here."""
        return str(self.subnet[1])

    def port(self, name: str) -> int:
        return _FIRST_PORT + self.slot * _PORTS_PER_SLOT + _PORT_NAMES.index(name)

    @property
    def apiserver_url(self) -> str:
        return f"https://{self.host}:{self.port('apiserver')}"

    @property
    def bucket_url(self) -> str:
        return f"http://{self.host}:{self.port('bucket_http')}"

    @property
    def slow_bucket_url(self) -> str:
        return f"http://{self.host}:{self.port('slow_bucket')}"

    @property
    def toxiproxy_url(self) -> str:
        return f"http://{self.host}:{self.port('toxiproxy')}"

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.port('airflow')}"


def _subnet(slot: int) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(f"10.45.{slot}.0/24")


def _claim_slot(checkout: Checkout) -> int:
    """Takes the first slot, from one that the path gives, which no checkout claims and nothing on the machine uses."""
    claims = cache_folder() / "slots"
    claims.mkdir(parents=True, exist_ok=True)
    checkout.state.mkdir(parents=True, exist_ok=True)  # first: a claim without it counts as abandoned
    first = int(checkout.key, 16) % _SLOTS
    for offset in range(_SLOTS):
        slot = (first + offset) % _SLOTS
        if _is_free(slot) and _claim(claims / str(slot), checkout):
            claim = {"checkout": str(checkout.root), "slot": slot}
            (checkout.state / "slot.json").write_text(json.dumps(claim))
            return slot
    raise SandboxError(
        f"none of the {_SLOTS} address ranges 10.45.0.0/24 … is free on this machine.\n"
        f"Each checkout's sandbox holds one; look into {claims} and run `make clean` where one is not needed."
    )


def _claim(file: Path, checkout: Checkout) -> bool:
    """Whether the claim file is now this checkout's; one whose checkout has no sandbox any more is taken over."""
    try:
        with file.open("x") as claim:
            claim.write(str(checkout.root))
    except FileExistsError:
        owner = Path(file.read_text())
        if owner != checkout.root and (owner / ".sandbox").exists():
            return False
        file.write_text(str(checkout.root))
    return True


def release_slot(checkout: Checkout) -> None:
    """Gives the slot back; the next `up` may get another."""
    for claim in (cache_folder() / "slots").glob("*"):
        if claim.read_text() == str(checkout.root):
            claim.unlink()


def _is_free(slot: int) -> bool:
    return not _routes_overlap(_subnet(slot)) and all(
        _port_is_free(_FIRST_PORT + slot * _PORTS_PER_SLOT + i) for i in range(len(_PORT_NAMES))
    )


def _routes_overlap(subnet: ipaddress.IPv4Network) -> bool:
    routes = [route["dst"] for route in json.loads(output("ip", "-4", "-json", "route"))]
    return any(subnet.overlaps(ipaddress.ip_network(dst)) for dst in routes if dst != "default")


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
