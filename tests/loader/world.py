"""A bucket, a volume and a Cloud SDK in one folder: what a loader pod sees, without a network."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import google_crc32c
import numpy as np
import pytest
from safetensors.numpy import save

from model_refresh.contract import (
    REQUEST_VARIABLE,
    RESULT,
    AnyResult,
    CopyRequest,
    CopyResult,
    PinnedRelease,
    PlanRequest,
    PlanResult,
    PruneRequest,
    PruneResult,
    PublishRequest,
    PublishResult,
    Request,
    VerifyRequest,
    VerifyResult,
)
from model_refresh.domain.layout import ModelLayout
from model_refresh.domain.release import ListedObject, Source, find_releases
from model_refresh.loader import copy, plan, prune, publish, verify
from model_refresh.loader.volume import Room, Volume

MODEL = "llama"
LONG_AGO = -1
"""A time limit that any silence has outlasted. Not 0: a file system's clock may stand still for some milliseconds."""
BUCKET = "models"
ROOMY = Room(total=10**12, free=10**12)
LAYOUT = ModelLayout(MODEL)


def crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def tensors(*names: str, seed: int = 0, size: int = 300_000) -> bytes:
    """A safetensors file with these tensors."""
    return save({name: np.frombuffer(noise(seed + at, size), dtype=np.uint8) for at, name in enumerate(names)})


def a_model(seed: int = 0) -> dict[str, bytes]:
    """A small release in the real formats, with two files of one name."""
    return {
        "model-1.safetensors": tensors("a", "b", seed=seed),
        "model-2.safetensors": tensors("c", seed=seed + 10),
        "model.safetensors.index.json": json.dumps(
            {"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}}
        ).encode(),
        "config.json": json.dumps({"seed": seed}).encode(),
        "tokenizer/config.json": b"{}",
        "LICENSE": b"copyright\nby nobody\n",
    }


class FakeBucket:
    """Objects as files: ``<root>/<quoted name>/<generation>``; the newest generation is live."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._generation = 1_700_000_000_000_000
        root.mkdir()

    def put(self, name: str, content: bytes) -> None:
        self._generation += 1
        folder = self.root / quote(name, safe="")
        # Without versioning, overwriting deletes what was there.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / str(self._generation)).write_bytes(content)

    def delete(self, name: str) -> None:
        shutil.rmtree(self.root / quote(name, safe=""))

    def list(self, url: str) -> list[ListedObject]:
        prefix = Source.parse(url).prefix
        listed = []
        for folder in sorted(self.root.iterdir()):
            name = unquote(folder.name)
            if name.startswith(prefix):
                (file,) = folder.iterdir()
                content = file.read_bytes()
                listed.append(
                    ListedObject(
                        name=name,
                        generation=int(file.name),
                        size=len(content),
                        crc32c=crc32c(content),
                        created=datetime.fromtimestamp(int(file.name) / 1e6, UTC),
                    )
                )
        return listed


@dataclass
class World:
    """One model's bucket and volume, and the steps of a refresh."""

    folder: Path
    patch: pytest.MonkeyPatch
    room: Room = ROOMY
    told: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bucket = FakeBucket(self.folder / "bucket")
        self.root = self.folder / "volume"
        self.root.mkdir()
        self.volume = Volume(self.root, measure=lambda _: self.room)
        self.log = self.folder / "gcloud.log"
        bin_folder = self.folder / "bin"
        bin_folder.mkdir()
        gcloud = bin_folder / "gcloud"
        gcloud.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {Path(__file__).with_name("fake_gcloud.py")} "$@"\n')
        gcloud.chmod(0o755)
        self.patch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
        self.tell()

    def tell(self, **told: Any) -> None:
        """Tell the fake gcloud how to behave."""
        told = {"bucket": str(self.bucket.root), "log": str(self.log), "wrong_times": 99, **told}
        self.patch.setenv("FAKE_GCLOUD", json.dumps(told))

    @property
    def fetched(self) -> list[str]:
        """Object names that gcloud has begun, in order."""
        return [line.split()[1] for line in self.log.read_text().splitlines()] if self.log.exists() else []

    # The publisher's side

    def upload(self, folder: str, files: dict[str, bytes]) -> PinnedRelease:
        for path, content in files.items():
            self.bucket.put(f"{MODEL}/{folder}/{path}", content)
        self.bucket.put(f"{MODEL}/{folder}/_SUCCESS", b"")
        return self.pin(folder)

    def pin(self, folder: str) -> PinnedRelease:
        source = Source(bucket=BUCKET, prefix=f"{MODEL}/")
        releases, _ = find_releases(source, self.bucket.list(str(source)), marker="_SUCCESS")
        (release,) = [release for release in releases if release.manifest.folder == folder]
        return PinnedRelease(
            release_id=release.manifest.release_id,
            digest=release.manifest.digest,
            prefix=release.manifest.prefix,
            marker="_SUCCESS",
            marker_generation=release.marker_generation,
        )

    # The steps

    def plan(self, release: PinnedRelease, **more: Any) -> PlanResult:
        told = {"model": MODEL, "run_id": "run-1", "serving": None, "pods": 2, **more}
        return plan.run(PlanRequest(release=release, **told), volume=self.volume, bucket=self.bucket)

    def copy_request(self, release: PinnedRelease, shard: int = 0, **more: Any) -> CopyRequest:
        told = {"model": MODEL, "run_id": "run-1", "engine": "gcloud", "workers": 2, "stall_seconds": 60, **more}
        return CopyRequest(release=release, shard=shard, **told)

    def copy(self, release: PinnedRelease, shard: int = 0, **more: Any) -> CopyResult:
        return copy.run(self.copy_request(release, shard, **more), volume=self.volume, bucket=self.bucket)

    def verify(self, release: PinnedRelease, shard: int = 0, **more: Any) -> VerifyResult:
        told = {"model": MODEL, "run_id": "run-1", "workers": 2, **more}
        return verify.run(VerifyRequest(release=release, shard=shard, **told), volume=self.volume)

    def publish(self, release: PinnedRelease, **more: Any) -> PublishResult:
        told = {"model": MODEL, "run_id": "run-1", **more}
        return publish.run(PublishRequest(release=release, **told), volume=self.volume, bucket=self.bucket)

    def prune(self, **more: Any) -> PruneResult:
        told = {"model": MODEL, "run_id": "run-1", "keep": 1, "held": (), **more}
        return prune.run(PruneRequest(**told), volume=self.volume)

    def bring(self, release: PinnedRelease, **more: Any) -> PlanResult:
        """Plan, copy and verify all shards."""
        planned = self.plan(release, **more)
        run = {"run_id": more["run_id"]} if "run_id" in more else {}
        for shard in planned.copy_shards:
            self.copy(release, shard, **run)
        for shard in planned.verify_shards:
            self.verify(release, shard, **run)
        return planned

    def refresh(self, folder: str, files: dict[str, bytes]) -> PinnedRelease:
        """Upload a release and take it all the way."""
        release = self.upload(folder, files)
        self.bring(release)
        self.publish(release)
        return release

    # The volume's side

    def tree(self, release: PinnedRelease) -> Path:
        return self.root / LAYOUT.arrival(release.release_id).tree

    def arrival(self, release: PinnedRelease) -> Path:
        return self.root / LAYOUT.arrival(release.release_id).root

    def release(self, release: PinnedRelease) -> Path:
        return self.root / LAYOUT.release(release.release_id)

    # As a program

    def start(self, request: Request | None, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """The loader as a pod runs it."""
        return subprocess.Popen(
            [sys.executable, "-m", "model_refresh.loader", *arguments],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(plan.__file__).parents[2]),
                "MODEL_REFRESH_VOLUME": str(self.root),
                "MODEL_REFRESH_TERMINATION_LOG": str(self.folder / "termination"),
                **({REQUEST_VARIABLE: request.model_dump_json()} if request else {}),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def termination(self) -> AnyResult:
        return RESULT.validate_json((self.folder / "termination").read_bytes())
