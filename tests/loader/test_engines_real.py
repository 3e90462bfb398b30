"""The real gcloud and gsutil against a real server: what the engines are counted on for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import get_args

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from model_refresh.contract import EngineName
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.loader.bucket import CloudBucket
from tests.loader.world import BUCKET, World, noise

SERVER_VARIABLE = "FAKE_GCS_SERVER"
MIB = 1024 * 1024
BIG: dict[EngineName, int] = {"gcloud": 64 * MIB, "gsutil": 160 * MIB}
"""More than the CLI would fetch in one slice if it were let (its own thresholds: 50 MiB and 150 MB)."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Its ports and its process."""

    http: int
    https: int
    process: subprocess.Popen[bytes]


def _program() -> Path | None:
    given = os.environ.get(SERVER_VARIABLE) or shutil.which("fake-gcs-server")
    built = sorted(Path.home().glob(".cache/model-refresh/go/fake-gcs-server-*/bin/fake-gcs-server"))
    return Path(given) if given else next(iter(built), None)


@pytest.fixture(params=get_args(EngineName))
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    if shutil.which(name) is None:
        pytest.skip(f"the Google Cloud SDK's {name} is not on PATH")
    return name


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Cloud Storage on this machine."""
    program = _program()
    if program is None:
        pytest.skip(f"no fake-gcs-server: `make up` builds it, or name one in {SERVER_VARIABLE}")
    root = tmp_path_factory.mktemp("gcs")
    (root / BUCKET).mkdir()
    http, https = _free_port(), _free_port()
    address = f"127.0.0.1:{http}"
    command = [str(program), "-scheme", "both", "-host", "127.0.0.1", "-port", str(https), "-port-http", str(http)]
    command += ["-backend", "filesystem", "-filesystem-root", str(root), "-log-level", "error"]
    command += ["-public-host", address, "-external-url", f"http://{address}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 10
        while not _answers(http):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Server(http=http, https=https, process=process)
        process.terminate()
    shutil.rmtree(root)


def _answers(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class RealBucket(CloudBucket):
    """Cloud Storage's own client, for the publisher's side as well."""

    def put(self, name: str, content: bytes) -> None:
        with closing(Client(project="test", credentials=AnonymousCredentials())) as client:  # type: ignore[no-untyped-call] # google-auth's
            client.bucket(BUCKET).blob(name).upload_from_string(content)


@pytest.fixture
def world(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    path = os.environ["PATH"]
    world = World(tmp_path, monkeypatch)
    for name, value in {
        "PATH": path,
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{server.http}",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"http://127.0.0.1:{server.http}/storage/v1/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": "test",
        "MODEL_REFRESH_GSUTIL_OPTIONS": json.dumps(
            [
                "Credentials:gs_json_host=127.0.0.1",
                f"Credentials:gs_json_port={server.https}",
                "Boto:https_validate_certificates=False",
            ]
        ),
    }.items():
        monkeypatch.setenv(name, value)
    world.bucket = RealBucket()  # type: ignore[assignment] # the same two methods
    return world


class Writers:
    """Watches which processes have the unfinished big file open while something runs."""

    def __init__(self) -> None:
        self._over = Event()
        self.seen: set[int] = set()

    def during(self, work: Callable[[], object]) -> set[int]:
        watcher = Thread(target=self._watch)
        watcher.start()
        try:
            work()
        finally:
            self._over.set()
            watcher.join()
        return self.seen

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.seen |= writers_now()


def writers_now() -> set[int]:
    return {int(handle.parts[2]) for handle in Path("/proc").glob("[0-9]*/fd/*") if _is_partial(handle)}


def test_files_arrive_whole_in_their_folders_by_one_writer_each(world: World, engine: EngineName) -> None:
    block = noise(1, MIB)
    files = {
        "big.bin": block * (BIG[engine] // MIB),
        "config.json": b"{}",
        "sub/config.json": b"[]",
        "sub/with space & é.txt": b"text",
        "empty": b"",
    }
    release = world.upload(f"whole-{engine}", files)
    world.plan(release, pods=1)
    writers = Writers().during(lambda: world.copy(release, engine=engine, workers=4))
    assert len(writers) == 1
    tree = world.tree(release)
    assert {path: (tree / path).read_bytes() == content for path, content in files.items()} == dict.fromkeys(
        files, True
    )
    world.verify(release)


def test_an_overwritten_object_is_drift_and_never_an_update(world: World, engine: EngineName) -> None:
    release = world.upload(f"drift-{engine}", {"a.bin": noise(1, 5000), "b.bin": noise(2, 5000)})
    world.plan(release, pods=1)
    world.bucket.put(f"llama/drift-{engine}/b.bin", noise(3, 5000))
    with pytest.raises(RefreshError) as caught:
        world.copy(release, engine=engine)
    assert caught.value.reason is Reason.GENERATION_DRIFT
    assert not (world.tree(release) / "b.bin").exists()


def test_a_bucket_that_falls_silent_is_a_stall_and_leaves_no_process(
    world: World, server: Server, engine: EngineName
) -> None:
    release = world.upload(f"stall-{engine}", {"a.bin": noise(1, 5000)})
    world.plan(release)
    server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(RefreshError) as caught:
            world.copy(release, engine=engine, stall_seconds=2)
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert caught.value.reason is Reason.STALLED
    assert not [line for line in _command_lines() if str(world.root) in line]


def _command_lines() -> list[str]:
    return subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout.splitlines()


def _is_partial(handle: Path) -> bool:
    try:
        return str(handle.readlink()).endswith("big.bin_.gstmp")
    except OSError:
        return False
