"""Installs the Debian packages that the sandbox stands on, and nothing that starts by itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sandbox.checkout import cache_folder
from sandbox.errors import SandboxError
from sandbox.locks import locked
from sandbox.progress import step
from sandbox.shell import output

_PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "/bin/busybox": "busybox-static",
    "ip": "iproute2",
    "mount": "mount",
}
_POLICY = Path("/usr/sbin/policy-rc.d")


def install_packages() -> None:
    """Installs what is missing by apt-get.

    Raises:
        SandboxError: this is not Debian, or not root.
    """
    if not _missing():
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SandboxError(
            f"these Debian packages are missing: {' '.join(_missing())}\n"
            "The sandbox needs root on Debian 12 (it makes network bridges, mounts and cgroups)."
        )
    with locked(cache_folder() / "apt.lock", "installing Debian packages"):
        missing = _missing()
        if missing:
            with step(f"apt: installing {' '.join(missing)}"), _services_not_started():
                output("apt-get", "update", "-qq")
                output(
                    "apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing,
                    env={"DEBIAN_FRONTEND": "noninteractive"},
                )  # fmt: skip


def _missing() -> list[str]:
    return sorted({package for name, package in _PROGRAMS.items() if not _find(name)})


def _find(name: str) -> bool:
    return Path(name).exists() if name.startswith("/") else shutil.which(name) is not None


class _services_not_started:  # noqa: N801 - reads as a phrase in `with`
    """Keeps Debian from starting a containerd of the whole machine: ours runs beside it and never needs it."""

    def __enter__(self) -> None:
        self._ours = not _POLICY.exists()
        if self._ours:
            _POLICY.write_text("#!/bin/sh\nexit 101\n")
            _POLICY.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self._ours:
            _POLICY.unlink(missing_ok=True)
