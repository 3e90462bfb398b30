"""Builds the loader's image without Docker or a registry, and puts it into this checkout's containerd."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import base_image, containers
from sandbox.base_image import Base
from sandbox.buildah import buildah, has_image
from sandbox.checkout import Checkout, cache_folder
from sandbox.locks import locked
from sandbox.progress import step
from sandbox.wheels import requirements, write_context

_NAME = "docker.io/model-refresh/loader"


@dataclass(frozen=True)
class LoaderImage:
    """The image's full name, with a tag made from all that goes into it, and the engines that it has."""

    name: str
    base: Base

    @property
    def engines(self) -> Sequence[str]:
        return self.base.engines


def describe(checkout: Checkout) -> LoaderImage:
    """Says which image these very sources make, without making it."""
    base = base_image.describe()
    return LoaderImage(f"{_NAME}:{_source_hash(checkout, base.name)}", base)


def ensure_built(checkout: Checkout, image: LoaderImage) -> None:
    """Builds the image unless it was built before; several checkouts share the result."""
    with locked(cache_folder() / "image.lock", "building the loader's image"):
        base_image.ensure_made(image.base)
        if has_image(image.name):
            return
        with step(f"image: {image.name}"):
            context = checkout.state / "image"
            write_context(checkout, context)
            buildah(
                "bud", "--quiet", "--isolation", "chroot", "--layers", "--build-arg", f"BASE={image.base.name}",
                "--file", checkout.root / "include" / "loader" / "Dockerfile", "--tag", image.name, context,
            )  # fmt: skip


def ensure_imported(checkout: Checkout, image: LoaderImage) -> None:
    """Puts the image into containerd, with only those layers that it has not seen yet: a change of code is seconds."""
    if containers.has_image(checkout, image.name):
        return
    with locked(cache_folder() / "image.lock", "exporting the loader's image"), step("image: import"):
        layout = cache_folder() / "oci"
        tag = image.name.rpartition(":")[2]
        # zstd: buildah compresses every layer again at each push, and gzip takes longer.
        buildah("push", "--quiet", "--compression-format", "zstd", image.name, f"oci:{layout}:{tag}")
        archive = checkout.state / "loader.tar"
        _write_archive(layout, tag, image.name, archive, known=containers.known_blobs(checkout))
        containers.import_image(checkout, archive)
        archive.unlink()


def _source_hash(checkout: Checkout, base: str) -> str:
    """Names the content of everything that the image is made from."""
    package = checkout.root / "plugins" / "model_refresh"
    files = [checkout.root / "include" / "loader" / "Dockerfile", checkout.root / "pyproject.toml"]
    files += sorted(package.rglob("*.py"))
    digest = hashlib.sha256(base.encode())
    digest.update(requirements(checkout).encode())
    for file in files:
        digest.update(f"{file.relative_to(checkout.root)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _write_archive(layout: Path, tag: str, name: str, archive: Path, *, known: set[str]) -> None:
    """Writes an OCI archive of one image of the layout, without the blobs that the receiver has."""
    index = json.loads((layout / "index.json").read_text())
    entry = next(
        manifest
        for manifest in index["manifests"]
        # One that another image has taken the tag from, or whose push was interrupted, has no annotation.
        if manifest.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag
    )
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
    manifest = json.loads(_blob(layout, entry["digest"]).read_text())
    digests = [entry["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    alone = archive.with_suffix(".index.json")
    alone.write_text(json.dumps({**index, "manifests": [entry]}))
    with tarfile.open(archive, "w") as tar:
        tar.add(layout / "oci-layout", "oci-layout")
        tar.add(alone, "index.json")
        for digest in digests:
            if digest not in known or digest == entry["digest"]:
                tar.add(_blob(layout, digest), f"blobs/{digest.replace(':', '/')}")
    alone.unlink()


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")
