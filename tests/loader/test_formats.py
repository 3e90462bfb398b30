"""Files that are not what their names say are not published."""

from __future__ import annotations

import json

import pytest

from model_refresh.domain.errors import Reason, RefreshError
from tests.loader.world import World, a_model, tensors


def index(**names: str) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": names}).encode()


BAD = {
    "not safetensors": ({"model-2.safetensors": b"<html>403</html>"}, "model-2.safetensors is no safetensors"),
    "truncated safetensors": ({"model-2.safetensors": tensors("c")[:-1]}, "model-2.safetensors is no safetensors"),
    "empty safetensors": ({"model-2.safetensors": b""}, "model-2.safetensors is no safetensors"),
    "not json": ({"config.json": b"{'single': 1}"}, "config.json is no JSON"),
    "nested without end": ({"config.json": b"[" * 200_000}, "config.json is no JSON"),
    "binary json": ({"config.json": b"\x00\xff\xfe"}, "config.json is no JSON"),
    "index without a map": ({"model.safetensors.index.json": b"[]"}, "no weight_map"),
    "index names no such file": ({"model.safetensors.index.json": index(a="model-9.safetensors")}, "model-9"),
    "index names no such tensor": ({"model.safetensors.index.json": index(z="model-1.safetensors")}, "tensor z"),
    "index in a folder": ({"sub/model.safetensors.index.json": index(a="model-1.safetensors")}, "model-1"),
}


@pytest.mark.parametrize(("files", "words"), BAD.values(), ids=BAD)
def test_bad_files_are_refused_by_name(world: World, files: dict[str, bytes], words: str) -> None:
    release = world.upload("v1", a_model() | files)
    world.bring(release)
    with pytest.raises(RefreshError, match=words) as caught:
        world.publish(release)
    assert caught.value.reason is Reason.BAD_FORMAT
    assert not world.release(release).exists()


def test_an_index_in_a_folder_names_files_of_that_folder(world: World) -> None:
    files = {
        "unet/model.safetensors.index.json": index(a="model.safetensors"),
        "unet/model.safetensors": tensors("a"),
        "pytorch_model.bin.index.json": index(a="pytorch_model.bin"),
        "pytorch_model.bin": b"\0" * 10,
    }
    world.refresh("v1", files)


def test_a_release_without_weights_is_one_too(world: World) -> None:
    release = world.upload("v1", {"README.md": b"# hello\n"})
    world.bring(release)
    assert [check.name for check in world.publish(release).checks] == ["Complete", "Safety"]
