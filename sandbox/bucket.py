"""Runs the bucket: fake-gcs-server, and toxiproxy before it for who needs the bucket to be slow or to break.

Of fake-gcs-server 1.56 one must know (tried, with curl and gcloud 528):
- it keeps only the newest generation of an object; asked for another by `generation` it answers 404, as Cloud Storage
  does for one that is gone, and `gcloud storage cp gs://b/o#GENERATION` says "matched no objects";
- it does not check `ifGenerationMatch` on a download: it answers 200 whatever the generation is. Pin by `generation`.
"""

from __future__ import annotations

from pathlib import Path

import httpx

from sandbox.checkout import Checkout
from sandbox.golang import program
from sandbox.http import answers
from sandbox.processes import Program, ensure_started, wait_healthy

NAME = "models"
SLOW_DOORS = {"slow-bucket": ("slow_bucket", "bucket_http"), "slow-bucket-https": ("slow_bucket_https", "bucket_https")}
"""Toxiproxy's name of each slow door, its port and the port behind it; gsutil needs the second."""


def start(checkout: Checkout) -> None:
    """Starts both; the bucket `models` is there afterwards."""
    folder = checkout.state / "bucket"
    (folder / NAME).mkdir(parents=True, exist_ok=True)  # a folder at the server's start is a bucket
    servers = (_bucket(checkout), _toxiproxy(checkout))
    for server in servers:
        ensure_started(checkout, server)
    for server in servers:
        wait_healthy(checkout, server)
    _make_slow_doors(checkout)


def names(checkout: Checkout, prefix: str) -> list[str]:
    """The objects below a prefix."""
    url = f"{checkout.bucket_url}/storage/v1/b/{NAME}/o"
    answer = httpx.get(url, params={"prefix": prefix}, timeout=60, trust_env=False)
    return [item["name"] for item in answer.raise_for_status().json().get("items", [])]


def upload(checkout: Checkout, name: str, file: Path) -> None:
    """Makes an object out of a file."""
    url = f"{checkout.bucket_url}/upload/storage/v1/b/{NAME}/o"
    with file.open("rb") as content:
        parameters = {"uploadType": "media", "name": name}
        httpx.post(url, params=parameters, content=content, timeout=600, trust_env=False).raise_for_status()


def client_environment(checkout: Checkout, url: str = "") -> dict[str, str]:
    """What makes gcloud, gsutil and the Python client talk to this bucket, in a pod or on the machine.

    Args:
        checkout: whose bucket.
        url: another door to it: `checkout.slow_bucket_url`.
    """
    url = url or checkout.bucket_url
    return {
        "STORAGE_EMULATOR_HOST": url,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{url}/storage/v1/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": "test",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    }


def gsutil_options(checkout: Checkout, *, slow: bool = False) -> list[str]:
    """What gsutil needs on top, each for an option `-o`: it speaks HTTPS only, and to a boto host."""
    return [
        f"Credentials:gs_json_host={checkout.host}",
        f"Credentials:gs_json_port={checkout.port('slow_bucket_https' if slow else 'bucket_https')}",
        "Boto:https_validate_certificates=False",
    ]


def _bucket(checkout: Checkout) -> Program:
    command: list[str | Path] = [
        program(checkout, "fake-gcs-server"),
        "-scheme=both",
        f"-host={checkout.host}",
        f"-port={checkout.port('bucket_https')}",
        f"-port-http={checkout.port('bucket_http')}",
        "-backend=filesystem",
        f"-filesystem-root={checkout.state / 'bucket'}",
        f"-public-host={checkout.host}:{checkout.port('bucket_http')}",
        f"-external-url={checkout.bucket_url}",
        "-log-level=warn",
    ]
    url = f"{checkout.bucket_url}/storage/v1/b/{NAME}"
    return Program("fake-gcs-server", command, lambda: answers(url))


def _toxiproxy(checkout: Checkout) -> Program:
    port = checkout.port("toxiproxy")
    command: list[str | Path] = [program(checkout, "toxiproxy"), f"-host={checkout.host}", f"-port={port}"]
    return Program("toxiproxy", command, lambda: answers(f"{checkout.toxiproxy_url}/version"))


def _make_slow_doors(checkout: Checkout) -> None:
    """Second doors to the bucket, as fast as the first until a test adds a toxic to them."""
    doors = [
        {
            "name": name,
            "listen": f"{checkout.host}:{checkout.port(door)}",
            "upstream": f"{checkout.host}:{checkout.port(behind)}",
        }
        for name, (door, behind) in SLOW_DOORS.items()
    ]
    httpx.post(f"{checkout.toxiproxy_url}/populate", json=doors, trust_env=False).raise_for_status()
