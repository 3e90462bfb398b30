"""Ends everything that this checkout started, and nothing else; `clean` also removes what it wrote."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from sandbox import cgroups, network, processes
from sandbox.checkout import Checkout, release_slot
from sandbox.progress import say
from sandbox.shell import output

# The kubelet before containerd, else it starts again what is being ended; the API server after its clients.
ORDER = (
    "airflow",
    "kubelet",
    "kube-scheduler",
    "kube-controller-manager",
    "containerd",
    "kube-apiserver",
    "etcd",
    "toxiproxy",
    "fake-gcs-server",
)


def stop(checkout: Checkout) -> None:
    """Leaves no process, mount, bridge or cgroup of this checkout; its data stays."""
    for name in ORDER:
        if processes.is_running(checkout, name):
            say(f"stop: {name}")
        processes.end(checkout, name)
    socket = str(checkout.containerd_socket)
    processes.kill_matching(lambda words: "containerd-shim" in words[0] and socket in words if words else False)
    cgroups.remove(checkout)
    for mount in _mounts_under(checkout.run, checkout.state):
        output("umount", "--lazy", mount)
    network.remove_bridge(checkout)
    shutil.rmtree(checkout.run, ignore_errors=True)


def clean(checkout: Checkout) -> None:
    """Stops, and removes all that was written for this checkout; the shared cache stays."""
    stop(checkout)
    for result in Path("/var/lib/cni/results").glob("*"):
        with suppress(FileNotFoundError):  # other checkouts' pods come and go meanwhile
            if str(checkout.run).encode() in result.read_bytes():  # the path of the pod's network namespace
                result.unlink()
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{checkout.state}/"):
            link.unlink()
    release_slot(checkout)
    if checkout.state.exists():
        shutil.rmtree(checkout.state)


def _mounts_under(*folders: Path) -> list[Path]:
    """Mount points in the order in which they can be taken away: the innermost first."""
    mounts = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount = Path(line.split()[4].encode().decode("unicode_escape"))  # blanks are written as \040
        if any(mount.is_relative_to(folder) for folder in folders):
            mounts.append(mount)
    return list(reversed(mounts))
