"""The whole flow on a real cluster, through Airflow's API: every way it can go that a user would notice."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

import httpx
import pytest

from sandbox.airflow_api import TASK_ENDED, AirflowApi, wait_until
from sandbox.errors import SandboxError
from tests.cluster.models import MIB, Fixture, Sandbox, some_files

pytestmark = pytest.mark.cluster


def flip_a_byte(file: Path) -> None:
    """Change one byte in place, as a bad disk would."""
    with file.open("r+b") as content:
        content.seek(MIB)
        byte = content.read(1)
        content.seek(MIB)
        content.write(bytes([byte[0] ^ 1]))


def test_approved(model: Fixture, airflow: AirflowApi, alice: AirflowApi) -> None:
    """Two releases, one after the other; the second links what it shares with the first."""
    model.configure()
    first = some_files("one")
    before = model.promote("r1", first)
    model.assert_serves("r1")

    second = first | {"weights/part-0.bin": b"new" * MIB, "config.json": b"{}"}
    model.publish("r2", second)
    run = model.refresh()
    question = airflow.wait_for_question(run)
    assert before in question["body"]
    assert airflow.task_states(run)["approve_release"] == {"awaiting_input"}
    assert alice.answer(run, "Approve").is_success
    assert airflow.wait_for_end(run) == "success", airflow.explain(run)

    model.assert_serves("r2")
    after = model.serving()
    assert after is not None
    release = model.folder / "releases" / after
    receipt = json.loads((release / "release.json").read_text())
    assert receipt["release_id"] == after
    assert receipt["copied_bytes"] == len(b"new" * MIB) + len(b"{}")
    assert receipt["reused_bytes"] == 3 * 2 * MIB
    files = [file for file in release.rglob("*") if file.is_file()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o444}
    folders = [release, *(folder for folder in release.rglob("*") if folder.is_dir())]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o555}
    shared = "weights/part-1.bin"
    assert (release / shared).stat().st_ino == (model.folder / "releases" / before / shared).stat().st_ino
    assert not any((model.folder / "incoming").iterdir())
    decisions = json.loads(airflow.get(f"variables/model_refresh__{model.name}__decisions")["value"])["decisions"]
    assert [(d["release_id"], d["outcome"], d["by"]) for d in decisions] == [
        (before, "promoted", "admin"),
        (after, "promoted", "alice"),
    ]


def test_rejected_is_untouched_and_not_offered_again(model: Fixture, airflow: AirflowApi, alice: AirflowApi) -> None:
    model.configure()
    untouched = model.template()
    model.publish("r1", some_files("one"))
    run = model.refresh()
    airflow.wait_for_question(run)
    assert alice.answer(run, "Reject").is_success
    assert airflow.wait_for_end(run) == "success", airflow.explain(run)
    states = airflow.task_states(run)
    assert states["promote_release"] == states["prune_releases"] == states["record"] == {"skipped"}
    assert model.template() == untouched
    [decision] = json.loads(airflow.get(f"variables/model_refresh__{model.name}__decisions")["value"])["decisions"]
    assert (decision["outcome"], decision["by"]) == ("rejected", "alice")

    again = model.refresh()
    assert airflow.wait_for_end(again) == "success"
    assert airflow.task_states(again)["wait_for_release"] == {"skipped"}

    by_name = model.refresh(release="r1")
    airflow.wait_for_question(by_name)
    # The volume holds it already, so nothing is copied; every byte is read back all the same.
    assert airflow.xcom(by_name, "plan_copy", key="plan")["published"] is True
    assert alice.answer(by_name, "Reject").is_success
    assert airflow.wait_for_end(by_name) == "success"


def test_a_cleared_run_never_asks_under_its_old_card(model: Fixture, airflow: AirflowApi, alice: AirflowApi) -> None:
    """Airflow keeps a task's first card: a yes to it must not promote what the run found the second time."""
    model.configure(approval={"approvers": ["admin"]})
    model.publish("r1", some_files("one"))
    run = model.refresh()
    airflow.wait_for_question(run)
    refused = alice.answer(run, "Approve")
    assert refused.status_code == httpx.codes.FORBIDDEN, "alice is no approver of this model"
    assert airflow.answer(run, "Reject").is_success
    assert airflow.wait_for_end(run) == "success"

    model.publish("r2", some_files("two"))
    untouched = model.template()
    airflow.clear(run)
    assert airflow.wait_for_end(run) == "failed"
    assert "start a new run" in airflow.log(run, "approve_release")
    assert model.template() == untouched


def test_nobody_answers(model: Fixture, airflow: AirflowApi) -> None:
    model.configure(approval={"timeout": "5s"})
    untouched = model.template()
    model.publish("r1", some_files("one"))
    run = model.refresh()
    assert airflow.wait_for_end(run) == "failed"
    states = airflow.task_states(run)
    assert states["publish_release"] == {"success"}
    assert states["approve_release"] == {"failed"}
    assert states["promote_release"] == {"upstream_failed"}
    assert states["roll_back"] == {"skipped"}
    assert model.template() == untouched
    assert "Nobody answered" in airflow.log(run, "approve_release")


def test_killed_copy_pod_resumes(model: Fixture, airflow: AirflowApi) -> None:
    """SIGKILL in the middle: the retry keeps what is proven, and copies only the rest."""
    model.configure(slow=True, copy={"pods": 1})
    files = some_files("one", count=5, size=8 * MIB)
    model.publish("r1", files)
    run = model.refresh()
    arrival = model.arrival()
    model.wait_for_proven(arrival, count=2)
    [process] = model.loader_processes("copy")
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: not model.loader_processes("copy"), "the pod's end", seconds=30)
    kept = {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in model.wait_for_proven(arrival, count=2)}
    kept_bytes = sum(file.stat().st_size for file in kept)
    assert len(kept) < len(files), "the kill came too late to show anything"

    airflow.wait_for_question(run)
    copied = airflow.xcom(run, "copy_shard", map_index=0)
    assert copied["kept_bytes"] == kept_bytes
    assert copied["copied_bytes"] == sum(map(len, files.values())) - kept_bytes
    release = model.folder / "releases" / airflow.xcom(run, "publish_release")["release_id"]
    for file, identity in kept.items():
        now = (release / file.relative_to(arrival / "tree")).stat()
        assert (now.st_ino, now.st_mtime_ns) == identity
    [shard] = airflow.tasks(run)["copy_shard"]
    assert shard["try_number"] == 2
    assert airflow.answer(run, "Approve").is_success
    assert airflow.wait_for_end(run) == "success", airflow.explain(run)
    model.assert_serves("r1")


def test_overwritten_object_is_drift(model: Fixture, airflow: AirflowApi) -> None:
    model.configure(slow=True, copy={"pods": 1})
    untouched = model.template()
    files = some_files("one", count=4, size=8 * MIB)
    model.publish("r1", files)
    run = model.refresh()
    proven = {file.name for file in model.wait_for_proven(model.arrival(), count=1)}
    victim = next(path for path in reversed(files) if Path(path).name not in proven and path.startswith("weights"))
    model.upload("r1", victim, b"other" * MIB)
    assert airflow.wait_for_end(run) == "failed"
    states = airflow.task_states(run)
    assert states["promote_release"] == {"upstream_failed"}
    assert states["roll_back"] == {"skipped"}
    assert "GenerationDrift" in airflow.explain(run)
    assert model.template() == untouched


def test_flipped_byte_is_a_mismatch(model: Fixture, airflow: AirflowApi) -> None:
    """What the copy proved is not what the volume holds any more: verify reads it again and says so."""
    model.configure(slow=True, copy={"pods": 1})
    untouched = model.template()
    model.publish("r1", some_files("one", count=4, size=8 * MIB))
    run = model.refresh()
    [file, *_] = [f for f in model.wait_for_proven(model.arrival(), count=2) if f.stat().st_size > MIB]
    flip_a_byte(file)
    assert airflow.wait_for_end(run) == "failed"
    states = airflow.task_states(run)
    assert states["copy_shard"] == {"success"}
    assert "failed" in states["verify_shard"]
    assert states["promote_release"] == {"upstream_failed"}
    log = airflow.explain(run)
    assert "HashMismatch" in log
    assert file.name in log
    assert model.template() == untouched
    # The next run mends exactly that file.
    again = model.refresh()
    airflow.wait_for_question(again)
    assert airflow.xcom(again, "copy_shard", map_index=0)["copied_bytes"] == file_size(model, file)
    assert airflow.answer(again, "Reject").is_success
    assert airflow.wait_for_end(again) == "success"


def file_size(model: Fixture, file: Path) -> int:
    """Bytes of a published file, by its name."""
    return next(len(content) for path, content in model.released["r1"].items() if Path(path).name == file.name)


def test_crash_loop_rolls_back(model: Fixture, airflow: AirflowApi) -> None:
    """The new release's pods die; the old release serves throughout, and the run fails with the pods' own reason."""
    model.configure()
    before = model.promote("r1", some_files("one"))
    model.publish("r2", some_files("two") | {"CRASH": b"this model cannot be loaded"})
    run = model.refresh()
    airflow.wait_for_question(run)
    with model.polled() as failures:
        assert airflow.answer(run, "Approve").is_success
        assert airflow.wait_for_end(run) == "failed"
    assert failures == []
    states = airflow.task_states(run)
    assert states["watch_rollout"] == {"failed"}
    assert states["roll_back"] == {"success"}
    assert states["prune_releases"] == {"upstream_failed"}
    log = airflow.log(run, "watch_rollout")
    assert "CrashLoopBackOff" in log
    assert model.serving() == before
    model.assert_serves("r1")
    # A release that did not start is not offered again by itself.
    again = model.refresh()
    assert airflow.wait_for_end(again) == "success"
    assert airflow.task_states(again)["wait_for_release"] == {"skipped"}


def test_no_worker_is_held_while_waiting(model: Fixture, airflow: AirflowApi) -> None:
    """For a release, a copy, a person: in each the task is parked, never running."""
    model.configure(slow=True, copy={"pods": 1}, detection={"poll": "1s", "wait": "2m"})
    run = model.refresh()
    waiting = {"wait_for_release": "deferred", "copy_shard": "deferred", "approve_release": "awaiting_input"}
    for task, parked in waiting.items():

        def is_parked(task: str = task, parked: str = parked) -> bool:
            return parked in airflow.task_states(run).get(task, set())

        wait_until(is_parked, f"{task} {parked}", seconds=240, show=lambda: airflow.explain(run))
        states = airflow.task_states(run)
        others = {t: s for t, s in states.items() if t != task and s & {"running", "queued"}}
        assert others == {}
        if task == "wait_for_release":
            model.publish("r1", some_files("one", count=3, size=8 * MIB))
    assert airflow.answer(run, "Reject").is_success
    assert airflow.wait_for_end(run) == "success"


def test_airflow_is_refused_elsewhere_and_pods_have_no_token(
    model: Fixture, airflow: AirflowApi, sandbox: Sandbox
) -> None:
    def as_airflow(*words: str) -> str:
        return sandbox.kubectl(f"--kubeconfig={sandbox.env['AIRFLOW_HOME']}/kubeconfig", "-n", "models", *words)

    annotate = ("--type=merge", "--dry-run=server", "-p", '{"metadata":{"annotations":{"a":"b"}}}')
    assert "patched" in as_airflow("patch", "deployment", model.name, *annotate)
    for refused in (
        ("patch", "deployment", "another", *annotate),
        ("get", "deployments"),
        ("delete", "deployment", model.name, "--dry-run=server"),
        ("get", "secrets"),
        ("get", "--raw", "/api/v1/namespaces/models/pods/any-pod/exec?command=true"),
        ("get", "pods", "-n", "kube-system"),
    ):
        with pytest.raises(SandboxError, match=r"(?i)forbidden"):
            as_airflow(*refused)

    model.configure(slow=True, copy={"pods": 1})
    model.publish("r1", some_files("one", count=2, size=8 * MIB))
    run = model.refresh()
    wait_until(lambda: model.loader_processes("copy"), "a copy pod", seconds=240, show=lambda: airflow.explain(run))
    [pod] = json.loads(
        sandbox.kubectl("-n", "models", "get", "pods", "-l", f"model-refresh/model={model.name}", "-o", "json")
    )["items"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    [process] = model.loader_processes("copy")
    assert not Path(f"/proc/{process}/root/var/run/secrets").exists()
    airflow.wait_for_question(run)
    assert airflow.answer(run, "Reject").is_success
    assert airflow.wait_for_end(run) == "success"
    assert set().union(*airflow.task_states(run).values()) <= TASK_ENDED
