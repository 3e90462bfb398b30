"""Runs Airflow with users, connections and settings of this checkout, as its own Kubernetes account."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import httpx

from sandbox import bucket
from sandbox.checkout import Checkout
from sandbox.loader_image import LoaderImage
from sandbox.processes import Program, ensure_started, wait_healthy
from sandbox.serving import NAMESPACE

USERS = {"admin": "admin", "alice": "op", "bob": "viewer"}
"""Name to role; the password is the name."""
_COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def start(checkout: Checkout, image: LoaderImage) -> None:
    """Starts Airflow unless it runs with these very settings; returns when every part of it is healthy."""
    home = _home(checkout)
    (home / "config").mkdir(parents=True, exist_ok=True)
    (checkout.state / "models").mkdir(exist_ok=True)
    (home / "passwords.json").write_text(json.dumps({name: name for name in USERS}))
    preload = (checkout.root / "sandbox" / "airflow_preload.py").read_text()
    # Airflow imports a module of this name, found in this folder, at the start of each of its programs.
    (home / "config" / "airflow_local_settings.py").write_text(preload)
    server = Program(
        "airflow",
        [checkout.root / ".venv" / "bin" / "airflow", "standalone"],
        is_healthy=lambda: _is_healthy(checkout),
        env=environment(checkout, image),
        depends_on=preload,
        start_seconds=420,
    )
    ensure_started(checkout, server)
    wait_healthy(checkout, server)


def environment(checkout: Checkout, image: LoaderImage) -> dict[str, str]:
    """Everything that Airflow, or its command line, needs to be this checkout's Airflow."""
    home = _home(checkout)
    port = str(checkout.port("airflow"))
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(checkout.root / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(checkout.root / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "16",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{checkout.airflow_url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": checkout.airflow_url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": _secret(checkout),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(checkout.port("airflow_worker_log")),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(checkout.port("airflow_trigger_log")),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        # A new model's DAG shows within so many seconds; more often costs a core that the tasks need.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        # A worker may notice only so much later that its task has parked, and the scheduler fails a task that resumes
        # before (docs/adr/0011-quick-resumes.md). The default of 5 s was seen to be too long.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": _connection(
            "kubernetes", {"kube_config_path": str(home / "kubeconfig"), "namespace": NAMESPACE}
        ),
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": _connection(
            "google_cloud_platform", {"is_anonymous": True, "project": "test"}
        ),
        "AIRFLOW__MODEL_REFRESH__NAMESPACE": NAMESPACE,
        "AIRFLOW__MODEL_REFRESH__LOADER_IMAGE": image.name,
        "AIRFLOW__MODEL_REFRESH__IMAGE_PULL_POLICY": "IfNotPresent",
        # The fleet of the checkout, and the models that the demo and the tests make for themselves.
        "AIRFLOW__MODEL_REFRESH__MODELS_FOLDERS": f"{checkout.root}/include/models:{checkout.state}/models",
        "AIRFLOW__MODEL_REFRESH__LOADER_ENV": json.dumps(loader_environment(checkout)),
        "STORAGE_EMULATOR_HOST": checkout.bucket_url,
        "PATH": f"{checkout.root / '.venv' / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }


def loader_environment(checkout: Checkout, *, slow: bool = False) -> dict[str, str]:
    """What the loader's pods are given so that they copy from this bucket, by its slow door if so."""
    options = json.dumps(bucket.gsutil_options(checkout, slow=slow))
    url = checkout.slow_bucket_url if slow else ""
    return bucket.client_environment(checkout, url) | {"MODEL_REFRESH_GSUTIL_OPTIONS": options}


def _home(checkout: Checkout) -> Path:
    return checkout.state / "airflow"


def _connection(kind: str, extra: dict[str, object]) -> str:
    return json.dumps({"conn_type": kind, "extra": extra})


def _secret(checkout: Checkout) -> str:
    """The key that Airflow's parts prove themselves with to one another; the same in each, and at each start."""
    file = _home(checkout) / "jwt-secret"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return file.read_text()


def _is_healthy(checkout: Checkout) -> bool:
    """Airflow calls itself ready before its API listens; this asks each part's own heartbeat."""
    try:
        answer = httpx.get(f"{checkout.airflow_url}/api/v2/monitor/health", timeout=5, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.is_success and all(answer.json()[name]["status"] == "healthy" for name in _COMPONENTS)
