"""Looks whether files are what their names say, by the libraries that will load them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import safetensors

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.manifest import ManifestFile
from model_refresh.domain.receipt import Check
from model_refresh.loader.pickles import find_pickle

_WEIGHTS = ".safetensors"
_INDEX = ".index.json"
_SHOWN = 3
_SHOWN_LETTERS = 100
"""Of a path in an outcome: all outcomes together must fit the termination message, and a path may have 1024 bytes."""


def check_formats(tree: Path, files: Iterable[ManifestFile]) -> list[Check]:
    """Open every weights file, read every JSON file, and hold every index against what it names.

    Raises:
        RefreshError: ``BadFormat``, naming the first file that is not what it should be.
    """
    paths = [file.path for file in files]
    tensors = {path: _tensors(tree, path) for path in paths if path.lower().endswith(_WEIGHTS)}
    documents = {path: _document(tree, path) for path in paths if path.lower().endswith(".json")}
    indexes = {path: document for path, document in documents.items() if path.lower().endswith(_INDEX)}
    named = sum(_check_index(path, index, tensors=tensors, paths=set(paths)) for path, index in indexes.items())
    checks = []
    if tensors:
        count = sum(len(names) for names in tensors.values())
        checks.append(Check(name="Weights", outcome=f"{len(tensors)} safetensors files open, {count} tensors"))
    if indexes:
        checks.append(Check(name="Index", outcome=f"{named} tensors named, each in the file that it names"))
    if documents:
        checks.append(Check(name="JSON", outcome=f"{len(documents)} files read"))
    return checks


def check_safety(tree: Path, files: Iterable[ManifestFile], *, allowed: Iterable[str]) -> Check:
    """Refuse files that run code when they are loaded.

    Args:
        tree: where they are.
        files: which.
        allowed: crc32c of files that a person has looked at.

    Raises:
        RefreshError: ``UnsafeFile``, naming the first few, what was found in them, and their crc32c.
    """
    exceptions = set(allowed)
    looked = list(files)
    found = [(file, problem) for file in looked if (problem := find_pickle(tree / file.path)) is not None]
    unsafe = [(file, problem) for file, problem in found if file.crc32c not in exceptions]
    if unsafe:
        shown = "; ".join(f"{file.path} (crc32c {file.crc32c}) {problem}" for file, problem in unsafe[:_SHOWN])
        more = f"; and {len(unsafe) - _SHOWN} more" if len(unsafe) > _SHOWN else ""
        raise RefreshError(Reason.UNSAFE_FILE, f"{shown}{more}.")
    allowance = f"; allowed by crc32c: {_some([file.path for file, _ in found])}" if found else ""
    return Check(name="Safety", outcome=f"no pickle in {len(looked) - len(found)} files{allowance}")


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    shown = (path if len(path) <= _SHOWN_LETTERS else f"…{path[-_SHOWN_LETTERS:]}" for path in paths[:_SHOWN])
    return ", ".join(shown) + more


def _tensors(tree: Path, path: str) -> frozenset[str]:
    try:
        with safetensors.safe_open(tree / path, framework="numpy") as file:
            return frozenset(file.keys())
    except safetensors.SafetensorError as error:
        raise RefreshError(Reason.BAD_FORMAT, f"{path} is no safetensors file: {error}.") from error


def _document(tree: Path, path: str) -> object:
    try:
        return json.loads((tree / path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise RefreshError(Reason.BAD_FORMAT, f"{path} is no JSON: {error}.") from error


def _check_index(path: str, index: object, *, tensors: dict[str, frozenset[str]], paths: set[str]) -> int:
    weights = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weights, dict):
        raise RefreshError(Reason.BAD_FORMAT, f"{path} has no weight_map.")
    folder = path.rpartition("/")[0]
    for tensor, name in weights.items():
        target = f"{folder}/{name}" if folder else str(name)
        if target not in paths:
            raise RefreshError(Reason.BAD_FORMAT, f"{path} names {name}, which is not in the release.")
        if target in tensors and tensor not in tensors[target]:
            raise RefreshError(Reason.BAD_FORMAT, f"{path} names tensor {tensor} in {name}, which has none such.")
    return len(weights)
