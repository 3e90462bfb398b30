"""Makes and uploads the demo's releases: small, but in the very format that real models come in."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from sandbox import bucket
from sandbox.checkout import Checkout
from sandbox.progress import step

MODEL = "demo"
_SHARDS = 4
_LAYERS_PER_SHARD = 3
_WIDTH = 3600  # 3600 x 3600 x 2 bytes x 3 layers x 4 shards: some 300 MB
_MARKER = "_SUCCESS"
_WORDS = ("<unk>", "<s>", "</s>", "hello", "world")


def publish_next(checkout: Checkout) -> tuple[str, Mapping[str, str]]:
    """Uploads the next release, marker last; its folder's name, and the sha256 of each of its files."""
    number = 1 + max((_number(name) for name in bucket.names(checkout, f"{MODEL}/")), default=0)
    release = f"r{number}"
    with tempfile.TemporaryDirectory(dir=checkout.state) as folder:
        with step(f"demo: making release {release} (safetensors, {_SHARDS} shards)"):
            _write_release(Path(folder), number)
        files = sorted(Path(folder).iterdir())
        with step(f"demo: uploading it to gs://{bucket.NAME}/{MODEL}/{release}/"), ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda file: bucket.upload(checkout, f"{MODEL}/{release}/{file.name}", file), files))
        sums = {file.name: _sha256(file) for file in files}
    bucket.upload(checkout, f"{MODEL}/{release}/{_MARKER}", Path("/dev/null"))
    return release, sums


def _number(name: str) -> int:
    folder = name.split("/")[1]
    return int(folder.removeprefix("r")) if folder.removeprefix("r").isdigit() else 0


def _write_release(folder: Path, number: int) -> None:
    places: dict[str, str] = {}
    size = 0
    for shard in range(_SHARDS):
        name = f"model-{shard + 1:05}-of-{_SHARDS:05}.safetensors"
        size += _write_shard(folder / name, shard, _last_trained(shard, number), places)
    _write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": places})
    _write_json(folder / "config.json", _config(number))
    _write_json(folder / "tokenizer.json", _tokenizer())


def _last_trained(shard: int, number: int) -> int:
    """The release that a shard's weights are from: each new one brings two, the others are as they were.

    So the demo shows what the volume holds already being linked instead of copied.
    """
    return max((n for n in range(1, number + 1) if shard in {n % _SHARDS, (n + 1) % _SHARDS}), default=0)


def _write_shard(file: Path, shard: int, seed: int, places: dict[str, str]) -> int:
    random = np.random.default_rng([shard, seed])
    first = shard * _LAYERS_PER_SHARD
    names = [f"model.layers.{layer}.mlp.weight" for layer in range(first, first + _LAYERS_PER_SHARD)]
    tensors = {name: random.random((_WIDTH, _WIDTH), dtype=np.float32).astype(np.float16) for name in names}
    save_file(tensors, str(file), metadata={"format": "pt"})
    places.update(dict.fromkeys(names, file.name))
    return sum(tensor.nbytes for tensor in tensors.values())


def _config(number: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": _WIDTH,
        "num_hidden_layers": _SHARDS * _LAYERS_PER_SHARD,
        "torch_dtype": "float16",
        "vocab_size": len(_WORDS),
        "_name_or_path": f"{MODEL}/r{number}",
    }


def _tokenizer() -> dict[str, object]:
    vocabulary = {word: number for number, word in enumerate(_WORDS)}
    return {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
