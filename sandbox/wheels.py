"""Makes the loader image's build context: wheels for exactly what uv.lock says, so that the build needs no network."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from packaging.markers import Marker

from sandbox.checkout import Checkout, cache_folder
from sandbox.progress import step
from sandbox.shell import output

_PYTHON = "3.11"  # Debian 12's, which both bases have
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")
_PIP = "pip==25.3"


def write_context(checkout: Checkout, folder: Path) -> None:
    """Writes folders `wheels` and `project` for include/loader/Dockerfile."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "project").mkdir(parents=True)
    third_party = _third_party(checkout)
    shutil.copytree(third_party, folder / "wheels")
    output(
        _uv(), "build", "--quiet", "--wheel", "--out-dir", folder / "project", checkout.root,
        env={"UV_PYTHON_DOWNLOADS": "never", "SOURCE_DATE_EPOCH": "315532800"},
    )  # fmt: skip
    (folder / "project" / ".gitignore").unlink(missing_ok=True)


def requirements(checkout: Checkout) -> str:
    """What extra `loader` needs, pinned and hashed, for the image's Python and not for this machine's."""
    exported = output(
        _uv(), "export", "--quiet", "--frozen", "--extra", "loader", "--no-dev", "--no-emit-project",
        "--no-header", "--no-annotate", cwd=checkout.root,
    )  # fmt: skip
    blocks = re.split(r"\n(?=\S)", exported.strip())
    return "\n".join(block for block in blocks if _applies(block)) + "\n"


def _applies(block: str) -> bool:
    """A requirement is a line, with more lines of hashes; what follows its semicolon is a condition."""
    _, _, marker = block.splitlines()[0].rstrip("\\ ").partition(";")
    environment = {"python_version": _PYTHON, "python_full_version": f"{_PYTHON}.2", "sys_platform": "linux"}
    return not marker or Marker(marker).evaluate(environment)


def _third_party(checkout: Checkout) -> Path:
    """The folder of third-party wheels in the cache; another lock is another folder."""
    wanted = requirements(checkout)
    key = hashlib.sha256(f"{wanted}{_PIP}{_PYTHON}{_PLATFORMS}".encode()).hexdigest()[:12]
    folder = cache_folder() / "wheels" / key
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        file = part / "requirements.txt"
        file.write_text(wanted)
        platforms = [word for name in _PLATFORMS for word in ("--platform", name)]
        with step("image: the loader's wheels"):
            pip = (_uv().parent / "python", "-m", "pip", "download", "--quiet", "--dest", part, "--only-binary=:all:")
            output(*pip, "--require-hashes", "--python-version", _PYTHON, *platforms, "--requirement", file)
            output(*pip, "--no-deps", _PIP)
        file.unlink()
        part.rename(folder)
    return folder


def _uv() -> Path:
    return cache_folder() / "uv" / "bin" / "uv"  # sandbox/venv.sh put it there
