"""Models for tests: a Deployment, a file of the fleet, and releases with bytes that the test knows."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx
import yaml
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from model_refresh.names import refresh_dag_id
from sandbox import serving
from sandbox.airflow import loader_environment
from sandbox.airflow_api import AirflowApi, Run, wait_until
from sandbox.bucket import SLOW_DOORS
from sandbox.checkout import Checkout
from sandbox.errors import SandboxError
from sandbox.kubectl import kubectl

MIB = 1024 * 1024
SLOW_KIB_PER_SECOND = 2048
"""Through the slow door a file of 8 MiB takes 4 s: long enough to meddle in the middle of a copy."""


@dataclass(frozen=True)
class Sandbox:
    """What `make up` brought up."""

    checkout: Checkout
    env: Mapping[str, str]

    @property
    def volume(self) -> Path:
        """The folder behind the claim."""
        return Path(self.env["SANDBOX_VOLUME"])

    def kubectl(self, *words: str) -> str:
        """As the administrator."""
        return kubectl(self.checkout, *words)


def some_files(seed: str, *, count: int = 4, size: int = 2 * MIB) -> dict[str, bytes]:
    """Files of a release: the same seed gives the same bytes."""
    files = {f"weights/part-{n}.bin": Random(f"{seed}-{n}").randbytes(size) for n in range(count)}
    return files | {"config.json": json.dumps({"seed": seed}).encode()}


@dataclass
class Fixture:
    """One model of the sandbox's fleet."""

    sandbox: Sandbox
    airflow: AirflowApi
    name: str
    released: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @classmethod
    def make(cls, sandbox: Sandbox, airflow: AirflowApi, test: str) -> Fixture:
        """Deploy a server for a model named after the test."""
        word = re.sub(r"[^a-z0-9]+", "-", test.lower().removeprefix("test_")).strip("-")[:24].strip("-")
        made = cls(sandbox, airflow, f"{word}-{uuid.uuid4().hex[:6]}")
        serving.deploy(sandbox.checkout, made.name, image=sandbox.env["SANDBOX_IMAGE"])
        return made

    def remove(self) -> None:
        """Take it all away again, the volume's part too."""
        self._file.unlink(missing_ok=True)
        serving.remove(self.sandbox.checkout, self.name)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _file(self) -> Path:
        return Path(self.sandbox.env["SANDBOX_MODELS"]) / f"{self.name}.yaml"

    @property
    def folder(self) -> Path:
        """The model's folder on the volume."""
        return self.sandbox.volume / self.name

    @property
    def dag_id(self) -> str:
        """Its DAG."""
        return refresh_dag_id(self.name)

    def configure(self, *, slow: bool = False, **fields: Any) -> None:
        """Write the model's file and wait for its DAG.

        Args:
            slow: copy through the slow door.
            **fields: more fields of the file.
        """
        engine = self.sandbox.env["SANDBOX_ENGINES"].split(",")[0]
        small = {"engine": engine, "pods": 2, "workers": 1, "resources": {"cpu": "50m", "memory": "256Mi"}}
        copy = small | fields.pop("copy", {})
        if slow:
            copy["env"] = self._slow_door()
        content = {
            "name": self.name,
            "source": f"{self.sandbox.env['MODEL_BUCKET']}/{self.name}",
            "claim": "models",
            "deployment": self.name,
            "schedule": None,
            "detection": {"poll": "1s", "wait": "3s"},
            "rollout": {"poll": "1s"},
            "copy": copy,
        } | fields
        self._file.write_text(yaml.safe_dump(content))
        self.airflow.wait_for_dag(self.dag_id)

    def _slow_door(self) -> dict[str, str]:
        api = self.sandbox.env["SANDBOX_TOXIPROXY_URL"]
        toxic = {
            "name": "slow",
            "type": "bandwidth",
            "stream": "downstream",
            "attributes": {"rate": SLOW_KIB_PER_SECOND},
        }
        for door in SLOW_DOORS:
            answer = httpx.post(f"{api}/proxies/{door}/toxics", json=toxic, trust_env=False)
            assert answer.is_success or answer.status_code == httpx.codes.CONFLICT, answer.text
        return loader_environment(self.sandbox.checkout, slow=True)

    def publish(self, release: str, files: Mapping[str, bytes], *, marker: bool = True) -> None:
        """Upload a release, marker last."""
        self.released[release] = dict(files)
        for path, content in files.items():
            self.upload(release, path, content)
        if marker:
            self.upload(release, "_SUCCESS", b"")

    def upload(self, release: str, path: str, content: bytes) -> None:
        """Upload, or overwrite, one object."""
        client = Client(project="test", credentials=AnonymousCredentials())
        bucket = client.bucket(self.sandbox.env["MODEL_BUCKET"].removeprefix("gs://"))
        bucket.blob(f"{self.name}/{release}/{path}").upload_from_string(content)
        client.close()

    def refresh(self, **conf: Any) -> Run:
        """Start a run of the DAG."""
        return self.airflow.trigger(self.dag_id, **conf)

    def promote(self, release: str, files: Mapping[str, bytes]) -> str:
        """Publish a release and take it all the way; its release id."""
        self.publish(release, files)
        run = self.refresh(release=release)
        self.airflow.wait_for_question(run)
        assert self.airflow.answer(run, "Approve").is_success
        assert self.airflow.wait_for_end(run) == "success", self.airflow.explain(run)
        return str(self.airflow.xcom(run, "publish_release")["release_id"])

    def template(self) -> dict[str, Any]:
        """The Deployment's pod template and generation."""
        deployment = json.loads(self.sandbox.kubectl("-n", "models", "get", "deployment", self.name, "-o", "json"))
        return {
            "generation": deployment["metadata"]["generation"],
            "annotations": deployment["spec"]["template"]["metadata"].get("annotations", {}),
        }

    def serving(self) -> str | None:
        """The release that the Deployment names."""
        return self.template()["annotations"].get("model-refresh/release")

    def assert_serves(self, release: str) -> None:
        """Both pods serve exactly the bytes that were published."""
        answers = serving.ask_each(self.sandbox.checkout, self.name)
        assert len(answers) == 2, answers
        expected = {p: hashlib.sha256(c).hexdigest() for p, c in self.released[release].items()}
        for answer in answers.values():
            assert answer["release"].startswith(f"{release}-")
            assert {p: h for p, h in answer["files"].items() if p != "release.json"} == expected

    def arrival(self) -> Path:
        """The one folder under ``incoming/``, once there is one."""
        incoming = self.folder / "incoming"
        found = wait_until(
            lambda: list(incoming.iterdir()) if incoming.is_dir() else None, f"{incoming}/…", seconds=180
        )
        return Path(found[0])

    def wait_for_proven(self, arrival: Path, *, count: int, seconds: float = 180) -> list[Path]:
        """Wait until at least so many files are proven; they."""
        tree = arrival / "tree"

        def proven() -> list[Path] | None:
            files = [file for file in tree.rglob("*") if file.is_file()] if tree.is_dir() else []
            return files if len(files) >= count else None

        return list(wait_until(proven, f"{count} proven files in {tree}", seconds=seconds))

    def loader_processes(self, command: str) -> list[int]:
        """Pids, on this machine, of this model's loader containers that run a command."""
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                variables = (process / "environ").read_bytes().split(b"\0")
                words = (process / "cmdline").read_bytes()
            except OSError:
                continue
            requests = [v for v in variables if v.startswith(b"MODEL_REFRESH_REQUEST=")]
            if b"model_refresh.loader" in words and requests:
                request = json.loads(requests[0].partition(b"=")[2])
                if request["model"] == self.name and request["command"] == command:
                    found.append(int(process.name))
        return found

    @contextmanager
    def polled(self) -> Iterator[list[str]]:
        """Ask the Service all the while; what failed or was not from one of the releases, for a person."""
        failures: list[str] = []
        asked = 0
        over = threading.Event()

        def poll() -> None:
            nonlocal asked
            while not over.is_set():
                try:
                    answer = serving.ask(self.sandbox.checkout, self.name)
                    if not answer["release"]:
                        failures.append(f"{time.ctime()}: no release: {answer}")
                except (SandboxError, ValueError) as error:
                    failures.append(f"{time.ctime()}: {error}")
                asked += 1
                over.wait(0.5)

        thread = threading.Thread(target=poll)
        thread.start()
        try:
            yield failures
        finally:
            over.set()
            thread.join()
        assert asked > 10, "the poll hardly ran, so it proves nothing"
