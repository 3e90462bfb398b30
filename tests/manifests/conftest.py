from __future__ import annotations

from pathlib import Path

import pytest

from tests.manifests.rendering import MANIFESTS, Manifest, kustomizations, longhorn_manifest, offline_copy, render

# They stand on Longhorn's own manifest.
LONGHORN = ("longhorn", "longhorn/base", "longhorn/cos", "longhorn/upstream")


@pytest.fixture(scope="session")
def official() -> str:
    """Longhorn's own manifest."""
    return longhorn_manifest()


@pytest.fixture(scope="session")
def manifests(tmp_path_factory: pytest.TempPathFactory, official: str) -> Path:
    """include/manifests, with Longhorn's manifest beside it instead of at its address."""
    return offline_copy(tmp_path_factory.mktemp("include") / "manifests", official)


@pytest.fixture(scope="session")
def rendered() -> dict[str, list[Manifest]]:
    """The objects of every kustomization that needs nothing of Longhorn's, by folder."""
    return {str(folder): render(MANIFESTS / folder) for folder in kustomizations() if str(folder) not in LONGHORN}


@pytest.fixture(scope="session")
def everything(manifests: Path, rendered: dict[str, list[Manifest]]) -> dict[str, list[Manifest]]:
    """The objects of every kustomization, by folder."""
    return rendered | {folder: render(manifests / folder) for folder in LONGHORN}
