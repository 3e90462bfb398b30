"""The sandbox as the tests see it, and models that each test makes for itself."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sandbox.airflow_api import AirflowApi
from sandbox.checkout import Checkout
from tests.cluster.models import Fixture, Sandbox


def _exports(file: Path) -> Mapping[str, str]:
    words = (shlex.split(line.removeprefix("export "))[0] for line in file.read_text().splitlines())
    return dict(word.partition("=")[::2] for word in words)


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    checkout = Checkout.here()
    file = checkout.state / "env"
    if not file.exists():
        pytest.fail("the sandbox is not up: run `make up` (or `make test`, which does)")
    env = _exports(file)
    os.environ["STORAGE_EMULATOR_HOST"] = env["STORAGE_EMULATOR_HOST"]
    return Sandbox(checkout, env)


@pytest.fixture(scope="session")
def airflow(sandbox: Sandbox) -> Iterator[AirflowApi]:
    api = AirflowApi(sandbox.env["AIRFLOW_URL"], sandbox.env["AIRFLOW_USER"], sandbox.env["AIRFLOW_PASSWORD"])
    yield api
    api.close()


@pytest.fixture(scope="session")
def alice(sandbox: Sandbox) -> Iterator[AirflowApi]:
    api = AirflowApi(sandbox.env["AIRFLOW_URL"], "alice", "alice")
    yield api
    api.close()


@pytest.fixture
def model(sandbox: Sandbox, airflow: AirflowApi, request: pytest.FixtureRequest) -> Iterator[Fixture]:
    """A model of this test's own: its Deployment, and nothing published yet."""
    made = Fixture.make(sandbox, airflow, request.node.name)
    yield made
    made.remove()
