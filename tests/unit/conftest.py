"""A cluster, a bucket and Variables in memory for every test that asks for them; Airflow in a folder of its own."""

from __future__ import annotations

import os
import tempfile

# Before the first import of Airflow: it writes its configuration, and its settings are read once a process.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

import pytest


@pytest.fixture
def outside():
    """The world behind the hooks; a Deployment ``llama`` that is wired and serves ``v1``."""
    # Tests of pure rules ask for no world, and so do not wait for these.
    from model_refresh.hooks.clients import using  # noqa: PLC0415
    from model_refresh.hooks.fakes import FakeClients  # noqa: PLC0415
    from tests.unit.kube import deployment  # noqa: PLC0415

    fakes = FakeClients()
    fakes.buckets.buckets["bucket"] = []
    fakes.cluster.deployments["models", "llama"] = deployment()
    with using(fakes):
        yield fakes
