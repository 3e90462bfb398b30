"""What several unit tests start from: manifests, listings and a model's configuration."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from model_refresh.config import ModelConfig
from model_refresh.domain.manifest import Manifest, ManifestFile
from model_refresh.domain.release import ListedObject

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
PREFIX = "gs://bucket/llama/v1/"

crc32cs = st.binary(min_size=4, max_size=4).map(lambda raw: base64.b64encode(raw).decode())
plain_names = st.from_regex(r"[a-z0-9_]{1,8}(/[a-z0-9_]{1,8}){0,2}\.bin", fullmatch=True)
moments = st.integers(min_value=0, max_value=10**6).map(lambda seconds: NOON + timedelta(seconds=seconds))


def crc(number: int) -> str:
    """A well-formed crc32c, one for each number."""
    return base64.b64encode(number.to_bytes(4, "big")).decode()


def file(path: str = "model.safetensors", *, generation: int = 1, size: int = 10, crc32c: str = crc(1)) -> ManifestFile:
    """One file of a manifest."""
    return ManifestFile(path=path, generation=generation, size=size, crc32c=crc32c)


def manifest(*files: ManifestFile, prefix: str = PREFIX) -> Manifest:
    """A pinned release."""
    return Manifest.pin(prefix, files or [file()])


def listed(name: str, *, generation: int = 1, at: datetime = NOON, size: int = 10) -> ListedObject:
    """One object of a bucket's listing."""
    return ListedObject(name=name, generation=generation, size=size, crc32c=crc(size), created=at)


files = st.builds(
    ManifestFile,
    path=plain_names,
    generation=st.integers(min_value=1, max_value=2**62),
    size=st.integers(min_value=0, max_value=2**40),
    crc32c=crc32cs,
)
# No name is another's folder: each ends in .bin, and no folder's does.
file_lists = st.lists(files, min_size=1, max_size=12, unique_by=lambda file: file.path)


def model(**fields: Any) -> ModelConfig:
    """A model with every default."""
    least = {"name": "llama", "source": "gs://bucket/llama", "claim": "models", "deployment": "llama"}
    return ModelConfig.model_validate(least | fields)
