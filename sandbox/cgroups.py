"""Makes and removes the cgroup that all pods of this checkout live in, under cgroup v1 and v2 alike."""

from __future__ import annotations

from pathlib import Path

from sandbox import processes
from sandbox.checkout import Checkout

_ROOT = Path("/sys/fs/cgroup")


def make(checkout: Checkout) -> None:
    """The kubelet refuses to start under a cgroup root that does not exist."""
    if _is_v2():
        wanted = (_ROOT / "cgroup.controllers").read_text().split()
        (_ROOT / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
    for folder in _folders(checkout):
        folder.mkdir(exist_ok=True)


def remove(checkout: Checkout) -> None:
    """Kills what still runs in the pods, then removes the cgroups, innermost first."""
    processes.kill(sorted({pid for folder in _folders(checkout) for pid in _members(folder)}))
    for folder in _folders(checkout):
        for child in sorted(folder.rglob("*/"), key=lambda path: -len(path.parts)):
            child.rmdir()
        if folder.exists():
            folder.rmdir()


def _is_v2() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def _folders(checkout: Checkout) -> list[Path]:
    """One in v2; one under each controller in v1."""
    if _is_v2():
        return [_ROOT / checkout.cgroup]
    # cpu and cpuacct may be links to one folder; runc makes cgroups under every mounted hierarchy.
    return [root / checkout.cgroup for root in _ROOT.iterdir() if root.is_dir() and not root.is_symlink()]


def _members(folder: Path) -> list[int]:
    return [int(pid) for procs in folder.rglob("cgroup.procs") for pid in procs.read_text().split()]
