"""Makes the loader image's base out of Debian and this machine's Google Cloud CLI, where no registry can be reached."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.buildah import buildah, has_image
from sandbox.checkout import cache_folder
from sandbox.progress import say, step
from sandbox.shell import output

_SUITE = "bookworm"
_PACKAGES = ("python3", "ca-certificates")
_RECIPE = "1"  # raise it to make all bases anew
_IN_IMAGE = "/usr/lib/google-cloud-sdk"
# What `gcloud storage` and `gsutil` need. The CLI's bundled Python is left out: Debian's 3.11 runs both.
_SDK_PARTS = (
    "VERSION",
    "properties",
    "lib",
    "data",
    "platform/gsutil",
    "bin/gcloud",
    "bin/gsutil",
    "bin/gcloud-crc32c",
    "bin/bootstrapping",
)


@dataclass(frozen=True)
class Base:
    """A base image in buildah's storage, and the engines that it really has."""

    name: str
    engines: Sequence[str]
    sdk: Path | None


def describe() -> Base:
    """Says what the base is on this machine, without making it."""
    sdk = _find_sdk()
    version = (sdk / "VERSION").read_text().strip() if sdk else "gsutil from PyPI"
    facts = repr((_SUITE, _PACKAGES, _RECIPE, _SDK_PARTS, version))
    name = f"localhost/model-refresh/base:{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
    return Base(name, ("gcloud", "gsutil") if sdk else ("gsutil",), sdk)


def ensure_made(base: Base) -> None:
    """Makes the base unless it is there. The caller holds the lock on the image cache."""
    if not base.sdk:
        say("image: NO GOOGLE CLOUD CLI ON THIS MACHINE. The sandbox's image has gsutil from PyPI instead;")
        say("image: engine `gcloud` is not in it, and what needs that engine is skipped, not passed.")
    if not has_image(base.name):
        _make(base.name, base.sdk)


def _find_sdk() -> Path | None:
    """The Google Cloud CLI's folder, if this machine has one that can copy from a bucket."""
    if not shutil.which("gcloud"):
        return None
    root = Path(output("gcloud", "info", "--format=value(installation.sdk_root)").strip())
    return root if (root / "platform" / "gsutil").is_dir() else None


def _make(name: str, sdk: Path | None) -> None:
    container = buildah("from", "scratch").strip()
    try:
        with step("image: base (Debian and the Google Cloud CLI)"):
            buildah("add", "--quiet", container, _root_file_system(), "/")
            if sdk:
                _add_sdk(container, sdk)
            else:
                _add_gsutil(container)
            buildah("commit", "--quiet", container, name)
    finally:
        buildah("rm", container)


def _root_file_system() -> Path:
    """A tar of what debian:bookworm-slim and Python are, from the Debian archive."""
    tar = cache_folder() / f"{_SUITE}-{'-'.join(_PACKAGES)}.tar"
    if not tar.exists():
        part = tar.with_suffix(".part.tar")
        with step(f"image: Debian {_SUITE} root file system"):
            include = ",".join(_PACKAGES)
            output("mmdebstrap", "--quiet", "--variant=minbase", f"--include={include}", _SUITE, part)
        part.rename(tar)
    return tar


def _add_sdk(container: str, sdk: Path) -> None:
    mounted = Path(buildah("mount", container).strip())
    target = mounted / _IN_IMAGE.lstrip("/")
    for part in _SDK_PARTS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (sdk / part).is_dir():
            shutil.copytree(sdk / part, target / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif (sdk / part).exists():
            shutil.copy2(sdk / part, target / part)
    for command in ("gcloud", "gsutil"):
        (mounted / "usr" / "bin" / command).symlink_to(f"{_IN_IMAGE}/bin/{command}")
    buildah("umount", container)


def _add_gsutil(container: str) -> None:
    mounted = Path(buildah("mount", container).strip())
    with step("image: gsutil from PyPI"):
        python = cache_folder() / "uv" / "bin" / "python"  # sandbox/venv.sh put it there; it has pip
        output(python, "-m", "pip", "install", "--quiet", "--target", mounted / "opt" / "gsutil", "gsutil")
    command = mounted / "usr" / "bin" / "gsutil"
    command.write_text('#!/bin/sh\nPYTHONPATH=/opt/gsutil exec /usr/bin/python3 /opt/gsutil/bin/gsutil "$@"\n')
    command.chmod(0o755)
    buildah("umount", container)
