"""Runs buildah on a storage of our own in the cache, as root and without any daemon."""

from __future__ import annotations

from pathlib import Path

from sandbox.checkout import cache_folder
from sandbox.shell import output, succeeds


def buildah(*words: str | Path) -> str:
    """Standard output of a buildah command."""
    return output("buildah", *_storage(), *words)


def has_image(name: str) -> bool:
    return succeeds("buildah", *_storage(), "inspect", "--type", "image", name)


def _storage() -> list[str | Path]:
    folder = cache_folder() / "buildah"
    return ["--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "overlay"]
