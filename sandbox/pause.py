"""Makes the image of the process that holds a pod's namespaces open, since there is no registry to pull it from."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from sandbox.checkout import Checkout
from sandbox.containers import has_image, import_image

IMAGE = "docker.io/model-refresh/pause:1"
_BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static


def ensure_imported(checkout: Checkout) -> None:
    """Puts the image into this checkout's containerd unless it is there."""
    if has_image(checkout, IMAGE):
        return
    archive = checkout.state / "pause.tar"
    _write_archive(archive)
    import_image(checkout, archive)
    archive.unlink()


def _write_archive(file: Path) -> None:
    """Writes the smallest archive that `docker load` and `ctr images import` understand."""
    layer = _tar({"busybox": _BUSYBOX.read_bytes()}, mode=0o755)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/busybox", "sleep", "infinity"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    file.write_bytes(
        _tar(
            {
                "layer.tar": layer,
                "config.json": json.dumps(config).encode(),
                "manifest.json": json.dumps(manifest).encode(),
            },
            mode=0o644,
        )
    )


def _tar(files: dict[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
