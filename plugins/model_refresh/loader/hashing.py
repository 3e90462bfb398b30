"""What a file on the volume really holds: its size and crc32c, read byte by byte."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from model_refresh.domain.manifest import ManifestFile

# google_crc32c takes nothing but bytes. Measured on one core, page cache: 256 KiB 0.6 GiB/s, 1 MiB 11 GiB/s,
# 16 MiB 5 GiB/s (it no longer fits the processor's cache).
_BLOCK = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read.

    Attributes:
        crc32c: as Cloud Storage gives it.
    """

    size: int
    crc32c: str

    def matches(self, file: ManifestFile) -> bool:
        """Whether this is that file."""
        return (self.size, self.crc32c) == (file.size, file.crc32c)


def read_back(path: Path, *, cold: bool = False, on_bytes: Callable[[int], None] | None = None) -> Seen:
    """Read a file from the first byte to the last.

    Args:
        path: the file.
        cold: drop it from this node's page cache first, so that the bytes come from the volume.
        on_bytes: called with the count of each block read.
    """
    crc = 0
    size = 0
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if cold:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while block := os.read(handle, _BLOCK):
            crc = google_crc32c.extend(crc, block)
            size += len(block)
            if on_bytes is not None:
                on_bytes(len(block))
        if cold:
            # The cache is charged to this pod's memory, and whoever serves the file runs elsewhere.
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
    return Seen(size=size, crc32c=base64.b64encode(crc.to_bytes(4, "big")).decode())
