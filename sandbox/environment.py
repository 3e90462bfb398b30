"""Writes `.sandbox/env`: shell exports with which any client finds this checkout's cluster, bucket and Airflow."""

from __future__ import annotations

import shlex
from pathlib import Path

from sandbox import airflow, bucket
from sandbox.checkout import Checkout
from sandbox.errors import SandboxError
from sandbox.golang import KUBERNETES, bin_folder
from sandbox.loader_image import LoaderImage
from sandbox.serving import NAMESPACE


def file_of(checkout: Checkout) -> Path:
    return checkout.state / "env"


def write(checkout: Checkout, image: LoaderImage) -> None:
    """Writes the file; `. .sandbox/env` is all that a person or a test needs to do."""
    variables = airflow.environment(checkout, image) | bucket.client_environment(checkout)
    variables |= {
        "KUBECONFIG": str(checkout.admin_kubeconfig),
        "MODEL_BUCKET": f"gs://{bucket.NAME}",
        "AIRFLOW_URL": checkout.airflow_url,
        "AIRFLOW_USER": "admin",
        "AIRFLOW_PASSWORD": "admin",
        "SANDBOX_VOLUME": str(checkout.volume),
        "SANDBOX_NAMESPACE": NAMESPACE,
        "SANDBOX_MODELS": str(checkout.state / "models"),
        "SANDBOX_IMAGE": image.name,
        "SANDBOX_ENGINES": ",".join(image.engines),
        "SANDBOX_TOXIPROXY_URL": checkout.toxiproxy_url,
        "SANDBOX_SLOW_BUCKET_URL": checkout.slow_bucket_url,
    }
    del variables["PATH"]
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    programs = f"{checkout.root / '.venv' / 'bin'}:{bin_folder(checkout, KUBERNETES)}"
    lines.append(f'export PATH={shlex.quote(programs)}:"$PATH"')
    part = file_of(checkout).with_suffix(".part")
    part.write_text("\n".join(lines) + "\n")
    part.rename(file_of(checkout))


def read(checkout: Checkout) -> dict[str, str]:
    """The exports, as a program wants them.

    Raises:
        SandboxError: nothing was brought up yet.
    """
    file = file_of(checkout)
    if not file.exists():
        raise SandboxError("this checkout has no sandbox yet; `make up` makes one.")
    words = (shlex.split(line.removeprefix("export "))[0] for line in file.read_text().splitlines())
    return dict(word.partition("=")[::2] for word in words)
