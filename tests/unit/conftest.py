"""A cluster, a bucket and Variables in memory for every test that asks for them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

import tests.airflow_home  # noqa: F401 - before the first import of Airflow

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


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
