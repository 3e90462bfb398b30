"""The program in the pod: what it takes, what it leaves, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlparse

import pytest

from model_refresh.contract import (
    EXIT_CODES,
    TERMINATION_LIMIT,
    AnyRequest,
    AnyResult,
    CopyResult,
    Failure,
    PlanRequest,
    PlanResult,
    PruneRequest,
    PruneResult,
    PublishRequest,
    PublishResult,
    VerifyRequest,
    VerifyResult,
)
from model_refresh.domain.errors import Reason
from model_refresh.loader.__main__ import main
from tests.loader.world import MODEL, FakeBucket, World, a_model, noise

PRUNE = PruneRequest(model=MODEL, run_id="run-1", keep=1, held=())


@contextmanager
def served(bucket: FakeBucket) -> Iterator[str]:
    """The bucket's listing over HTTP, as Cloud Storage gives it; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlparse(self.path)
            prefix = parse_qs(url.query)["prefix"][0]
            items = [
                {
                    "name": listed.name,
                    "generation": str(listed.generation),
                    "size": str(listed.size),
                    "crc32c": listed.crc32c,
                    "timeCreated": listed.created.isoformat().replace("+00:00", "Z"),
                    # A change of storage class moves this one, and no release with it.
                    "updated": "2099-01-01T00:00:00Z",
                }
                for listed in bucket.list(f"gs://{url.path.split('/')[4]}/{prefix}")
            ]
            body = json.dumps({"items": items}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def finish(pod: subprocess.Popen[str]) -> tuple[int, str]:
    output, errors = pod.communicate(timeout=30)
    return pod.returncode, output + errors


def test_a_refresh_from_plan_to_prune(world: World) -> None:
    release = world.upload("v1", a_model())
    run = {"model": MODEL, "run_id": "run-1"}
    with served(world.bucket) as address:
        steps: list[tuple[AnyRequest, type[AnyResult]]] = [
            (PlanRequest(**run, release=release, serving=None, pods=1), PlanResult),
            (world.copy_request(release), CopyResult),
            (VerifyRequest(**run, release=release, shard=0, workers=2), VerifyResult),
            (PublishRequest(**run, release=release), PublishResult),
            (PRUNE, PruneResult),
        ]
        for request, kind in steps:
            code, said = finish(world.start(request, request.command, STORAGE_EMULATOR_HOST=address))
            assert code == 0, said
            assert isinstance(world.termination, kind)
            assert json.loads(said.splitlines()[-1])["event"] == "result"
    assert (world.release(release) / "release.json").exists()


def test_a_bucket_that_does_not_answer_is_a_failure_with_a_reason(world: World) -> None:
    release = world.upload("v1", {"a.bin": b"x"})
    request = PlanRequest(model=MODEL, run_id="run-1", release=release, serving=None, pods=1)
    world.bucket.put("llama/v1/a.bin", b"y")
    with served(world.bucket) as address:
        code, _ = finish(world.start(request, STORAGE_EMULATOR_HOST=address))
    assert code == EXIT_CODES[Reason.GENERATION_DRIFT]
    assert isinstance(world.termination, Failure)
    assert world.termination.reason is Reason.GENERATION_DRIFT


def test_sigterm_ends_pod_and_engine_at_once(world: World) -> None:
    release = world.upload("v1", {"a.bin": noise(1, 5000)})
    world.plan(release)
    world.tell(hang="a.bin")
    pod = world.start(world.copy_request(release))
    while not world.fetched:
        assert pod.poll() is None
        time.sleep(0.02)
    began = time.monotonic()
    pod.send_signal(signal.SIGTERM)
    code, _ = finish(pod)
    assert time.monotonic() - began < 5
    assert code == EXIT_CODES[Reason.KILLED]
    assert isinstance(world.termination, Failure)
    assert world.termination.reason is Reason.KILLED
    assert world.termination.error().retryable
    engine = int(world.log.read_text().split()[0])
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["kill", "-0", str(engine)], check=True, stderr=subprocess.DEVNULL)


@pytest.fixture
def inside(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """For calling the program's main function: it changes what a process has one of."""
    monkeypatch.setenv("MODEL_REFRESH_VOLUME", str(world.root))
    monkeypatch.setenv("MODEL_REFRESH_TERMINATION_LOG", str(world.folder / "termination"))
    before = signal.getsignal(signal.SIGTERM)
    yield world
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("request_text", "arguments", "words"),
    [
        (None, [], "no MODEL_REFRESH_REQUEST"),
        ("{}", [], "command"),
        ('{"command": "prune", "version": 2, "model": "m", "run_id": "r", "keep": 1, "held": []}', [], "version"),
        (PRUNE.model_dump_json(), ["publish"], "Told to publish"),
        (PRUNE.model_dump_json(), ["prune", "now"], "Told to prune now"),
    ],
)
def test_a_request_that_is_not_understood_is_refused(
    inside: World,
    monkeypatch: pytest.MonkeyPatch,
    request_text: str | None,
    arguments: list[str],
    words: str,
) -> None:
    if request_text is not None:
        monkeypatch.setenv("MODEL_REFRESH_REQUEST", request_text)
    assert main(arguments) == EXIT_CODES[Reason.BAD_REQUEST]
    assert isinstance(inside.termination, Failure)
    assert words in inside.termination.message


def test_the_argument_may_be_left_out(inside: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_REFRESH_REQUEST", PRUNE.model_dump_json())
    assert main([]) == main(["prune"]) == 0


def test_a_long_failure_fits_the_termination_message(inside: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_REFRESH_REQUEST", json.dumps({"command": "x" * 10_000}))
    assert main([]) == EXIT_CODES[Reason.BAD_REQUEST]
    assert len((inside.folder / "termination").read_bytes()) <= TERMINATION_LIMIT


def test_a_termination_log_that_cannot_be_written_does_not_hide_the_exit_code(
    inside: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_REFRESH_TERMINATION_LOG", str(inside.folder / "no/such/folder"))
    monkeypatch.setenv("MODEL_REFRESH_REQUEST", "{}")
    assert main([]) == EXIT_CODES[Reason.BAD_REQUEST]
    assert "termination_message_lost" in capsys.readouterr().out


def test_an_error_nobody_foresaw_is_unexpected_with_its_trace(
    inside: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    releases = inside.root / MODEL / "releases"
    releases.parent.mkdir()
    releases.write_text("a file where a folder belongs")
    monkeypatch.setenv("MODEL_REFRESH_REQUEST", PRUNE.model_dump_json())
    assert main([]) == EXIT_CODES[Reason.UNEXPECTED]
    assert "Traceback" in capsys.readouterr().err


def test_every_reason_of_a_pod_has_its_own_exit_code() -> None:
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)
    assert all(10 <= code < 126 for code in EXIT_CODES.values())
