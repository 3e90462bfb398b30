"""What must never be published: code in files, judged by content."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_refresh.contract import dump_result
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.manifest import ManifestFile
from model_refresh.loader.formats import check_safety
from model_refresh.loader.pickles import find_pickle, judge
from tests.loader.world import World, crc32c, noise, tensors


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("true",)


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(content: bytes, kind: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        member = tarfile.TarInfo("weights.ckpt")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def old_tar(content: bytes) -> bytes:
    """As tar was before it had a magic."""
    archive = bytearray(tarred(content, tarfile.USTAR_FORMAT))
    archive[257:265] = bytes(8)
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])
    return bytes(archive)


def numpy_file(array: np.ndarray[tuple[int], np.dtype[np.generic]]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def encrypted_zip() -> bytes:
    # The flag that says "encrypted", in both headers; zipfile cannot write such archives.
    content = bytearray(zipped(data=b"x" * 50))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


EVIL = {
    **{f"protocol {number}": pickle.dumps(Evil(), protocol=number) for number in range(6)},
    "plain data": pickle.dumps({"weights": [1, 2, 3]}),
    "big": pickle.dumps([b"x" * 2_000_000, Evil()]),
    "by INST": b"(S'true'\nios\nsystem\n.",
    "without an end": b"cos\nsystem\n(S'true'\ntR",
    "torch zip": zipped(**{"archive/data.pkl": pickle.dumps(Evil()), "archive/data/0": b"\0" * 100}),
    "zip, harmless name": zipped(**{"readme.txt": pickle.dumps(Evil())}),
    "zip after something": b"#!/bin/sh\nexit\n" + zipped(data=pickle.dumps(Evil())),
    "zip in zip": zipped(inner=zipped(data=b"x")),
    "encrypted zip": encrypted_zip(),
    "broken zip": zipped(data=b"x" * 1000)[:-30],
    "tar": tarred(pickle.dumps(Evil())),
    "oldest tar": old_tar(pickle.dumps(Evil())),
    "gzip": gzip.compress(pickle.dumps(Evil())),
    "bzip2": bz2.compress(pickle.dumps(Evil())),
    "xz": lzma.compress(pickle.dumps(Evil())),
    "tar in gzip": gzip.compress(tarred(pickle.dumps(Evil()))),
    "broken gzip": gzip.compress(b"x" * 5000)[:-20],
    "numpy objects": numpy_file(np.array([Evil()], dtype=object)),
    "numpy objects in a zip": zipped(**{"a.npy": numpy_file(np.array([{}], dtype=object))}),
}

HARMLESS = {
    "empty": b"",
    "one byte": b"\x80",
    "noise": noise(1, 10_000),
    "weights": tensors("a"),
    # 640 and 896 bytes of header begin with 80 02 and 80 03, a pickle's first bytes.
    "weights that begin like a pickle": (0x280).to_bytes(8, "little") + b"{}".ljust(0x280),
    "json": json.dumps({"model_type": "llama"}).encode(),
    "licence": b"copyright 2026\nall rights reserved\n(R)\n",
    "vocabulary": b"cat\ndog\nRat\n(ot\ntR\n.\n",
    "merges": b"#version: 0.2\ni n\nt h\n",
    "python": b"import os\nos.system('x')\n",
    "numpy numbers": numpy_file(np.arange(10)),
    "numpy numbers in a zip": zipped(**{"a.npy": numpy_file(np.arange(10))}),
    "zip of text": zipped(readme=b"hello"),
    "tar of text": tarred(b"hello"),
    "gzip of text": gzip.compress(b"hello"),
}


@pytest.mark.parametrize("content", EVIL.values(), ids=EVIL)
def test_code_is_found_whatever_it_is_called(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert find_pickle(path)


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS)
def test_what_runs_nothing_is_let_through(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    assert find_pickle(path) is None


def test_weights_are_not_taken_for_code_by_chance() -> None:
    assert [seed for seed in range(500) if judge(noise(seed, 500))] == []


def test_an_unsafe_file_is_refused_by_name_and_checksum(world: World) -> None:
    evil = EVIL["torch zip"]
    release = world.upload("v1", {"config.json": b"{}", "pytorch_model.bin": evil})
    world.bring(release)
    with pytest.raises(RefreshError) as caught:
        world.publish(release)
    assert caught.value.reason is Reason.UNSAFE_FILE
    assert (
        f"pytorch_model.bin (crc32c {crc32c(evil)}) holds archive/data.pkl, which is a pickle" in caught.value.message
    )
    assert not world.release(release).exists()


def test_exactly_the_bytes_that_a_person_looked_at_are_allowed(world: World) -> None:
    evil = EVIL["torch zip"]
    release = world.upload("v1", {"config.json": b"{}", "pytorch_model.bin": evil})
    world.bring(release)
    with pytest.raises(RefreshError):
        world.publish(release, allow_unsafe=(crc32c(b"other"),))
    result = world.publish(release, allow_unsafe=(crc32c(evil),))
    (check,) = [check for check in result.checks if check.name == "Safety"]
    assert check.outcome == "no pickle in 1 files; allowed by crc32c: pytorch_model.bin"


def test_a_result_fits_however_many_files_are_allowed(world: World) -> None:
    evil = EVIL["plain data"]
    release = world.upload("v1", {f"{number:03d}-{'x' * 90}.bin": evil for number in range(50)})
    world.bring(release)
    result = world.publish(release, allow_unsafe=(crc32c(evil),))
    assert len(dump_result(result)) <= 4096
    (check,) = [check for check in result.checks if check.name == "Safety"]
    assert check.outcome.endswith("x.bin and 47 more")


def test_an_outcome_is_short_however_long_the_names_are(tmp_path: Path) -> None:
    evil = EVIL["plain data"]
    # A quote takes two bytes in a result.
    folder = "/".join(['"' * 240] * 4)
    (tmp_path / folder).mkdir(parents=True)
    files = [
        ManifestFile(path=f"{folder}/{name}.bin", generation=1, size=len(evil), crc32c=crc32c(evil)) for name in "abc"
    ]
    for file in files:
        (tmp_path / file.path).write_bytes(evil)
    check = check_safety(tmp_path, files, allowed=[crc32c(evil)])
    assert len(check.model_dump_json()) < 1000
    assert check.outcome.endswith('"/c.bin')
