"""The project's DAG files, parsed as Airflow's DAG processor does, over a fleet that each test writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.airflow_home import MODELS

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

DAGS = Path(__file__).resolve().parents[2] / "dags"
FILE = """\
name: {name}
source: gs://bucket/{name}
claim: models
deployment: {name}-server
"""


class FleetFolder:
    """The folder of model files that the DAGs are made from."""

    def write(self, name: str, text: str = FILE, *, extra: str = "") -> Path:
        """Add or replace a model's file."""
        file = MODELS / f"{name}.yaml"
        file.write_text(text.format(name=name) + extra)
        return file

    def clear(self) -> None:
        """Leave no model."""
        for file in MODELS.iterdir():
            file.unlink()


@pytest.fixture
def fleet() -> Iterator[FleetFolder]:
    """An empty fleet."""
    folder = FleetFolder()
    folder.clear()
    yield folder
    folder.clear()


@pytest.fixture
def parse() -> Callable[[], DagBag]:
    """Parse every DAG file, now."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 - after the environment, and slow

    return lambda: DagBag(dag_folder=DAGS, collect_dags=True)
