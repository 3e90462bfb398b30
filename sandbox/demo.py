"""Shows the whole job on the sandbox: a new release goes from the bucket to pods that serve it, past a person."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import httpx

from sandbox import demo_report, environment, serving
from sandbox.airflow_api import ENDED, AirflowApi, Run
from sandbox.checkout import Checkout
from sandbox.demo_release import MODEL, publish_next
from sandbox.errors import SandboxError
from sandbox.kubectl import kubectl
from sandbox.progress import say

_DAG = f"refresh__{MODEL}"
_APPROVE = "approve_release"
_POLL_SECONDS = 1.0
_CONFIG = """\
# Written by `make demo`. Only the first four fields are needed; the rest fits a run into a small machine.
name: {model}
source: gs://models/{model}
claim: models
deployment: {model}
schedule: null
detection: {{poll: 2s, wait: 1m}}
rollout: {{poll: 2s}}
copy: {{engine: {engine}, pods: 2, workers: 2, resources: {{cpu: 100m, memory: 1Gi}}}}
"""


def demo(checkout: Checkout, *, approve: bool) -> None:
    """Publishes a release and refreshes the model with it.

    Args:
        checkout: whose sandbox; it must be up.
        approve: answer the approval as alice, instead of waiting for a person in the Airflow UI.

    Raises:
        SandboxError: whatever did not work, with the failed tasks' logs.
    """
    try:
        _demo(checkout, approve=approve)
    except (httpx.HTTPError, TimeoutError, AssertionError) as error:
        raise SandboxError(f"the demo could not go on: {error}\nIs the sandbox up? `make up` says so.") from error


def _demo(checkout: Checkout, *, approve: bool) -> None:
    env = environment.read(checkout)
    api = AirflowApi(checkout.airflow_url, "admin", "admin")
    (checkout.state / "models" / f"{MODEL}.yaml").write_text(
        _CONFIG.format(model=MODEL, engine=env["SANDBOX_ENGINES"].split(",")[0])
    )
    serving.deploy(checkout, MODEL, image=env["SANDBOX_IMAGE"])
    before = _served(checkout)
    release, sums = publish_next(checkout)
    say(f"demo: waiting for DAG {_DAG}")
    api.wait_for_dag(_DAG)
    _end_left_behind(api)
    began = time.monotonic()
    run = api.trigger(_DAG)
    say(f"demo: run {run.run_id}: {checkout.airflow_url}/dags/{_DAG}/runs/{run.run_id}")
    state = _follow(checkout, api, run, approve=approve)
    seconds = time.monotonic() - began
    if state != "success":
        raise SandboxError(f"the run ended as {state}:\n{api.explain(run)}")
    after = _served(checkout)
    if not after.startswith(f"{release}-"):
        raise SandboxError(f"the run succeeded, but Deployment {MODEL} names release {after or 'none'}, not {release}.")
    _compare(checkout, after, sums)
    demo_report.print_report(api, run)
    api.close()
    print(f"refreshed {MODEL}: {before or 'none'} -> {after} in {seconds:.0f}s", flush=True)


def _served(checkout: Checkout) -> str:
    """The release that the Deployment names; empty before the first."""
    path = r"jsonpath={.spec.template.metadata.annotations.model-refresh/release}"
    return kubectl(checkout, "get", "deployment", MODEL, "--namespace", serving.NAMESPACE, "-o", path).strip()


def _end_left_behind(api: AirflowApi) -> None:
    """An earlier demo that was interrupted at its approval would keep this one waiting: one run a model at a time."""
    for run in api.get(f"dags/{_DAG}/dagRuns", limit=50, order_by="-id")["dag_runs"]:
        if run["state"] not in ENDED:
            say(f"demo: ending run {run['dag_run_id']}, which an earlier demo left behind")
            api.end(Run(_DAG, run["dag_run_id"]))


def _follow(checkout: Checkout, api: AirflowApi, run: Run, *, approve: bool) -> str:
    """Says each change of a task's state until the run ends; answers, or asks for, the approval in between."""
    shown: dict[str, str] = {}
    asked = False
    while True:
        ended = api.state(run)
        states = {
            f"{task}[{instance['map_index']}]" if instance["map_index"] >= 0 else task: str(instance["state"])
            for task, instances in api.tasks(run).items()
            for instance in instances
        }
        for task, state in states.items():
            if shown.get(task) != state and state != "None":
                say(f"demo:   {task}: {state}")
        shown = states
        if states.get(_APPROVE) == "awaiting_input" and not asked:
            asked = True
            _ask(checkout, api, run, approve=approve)
        if ended in ENDED:
            return ended
        time.sleep(_POLL_SECONDS)


def _ask(checkout: Checkout, api: AirflowApi, run: Run, *, approve: bool) -> None:
    question = api.wait_for_question(run)
    say(f"demo: {question['subject']}")
    if approve:
        alice = AirflowApi(checkout.airflow_url, "alice", "alice")
        answer = alice.answer(run, "Approve")
        alice.close()
        if not answer.is_success:
            raise SandboxError(f"alice's approval was refused with {answer.status_code}: {answer.text}")
        say("demo: alice approved it, by Airflow's REST API")
        return
    url = f"{checkout.airflow_url}/dags/{_DAG}/runs/{run.run_id}/tasks/{_APPROVE}/required_actions"
    say(f"demo: a person is asked now. Answer here, as user alice with password alice:\n\n    {url}\n")


def _compare(checkout: Checkout, release: str, sums: Mapping[str, str]) -> None:
    """Asks each serving pod what it has mounted: it must be what was uploaded, byte for byte."""
    answers = serving.ask_each(checkout, MODEL)
    expected = json.loads(
        kubectl(checkout, "get", "deployment", MODEL, "--namespace", serving.NAMESPACE, "-o", "json")
    )["spec"]["replicas"]
    if len(answers) != expected:
        raise SandboxError(f"{len(answers)} pods of {MODEL} are ready, not {expected}.")
    for pod, answer in answers.items():
        served = {name: digest for name, digest in answer["files"].items() if name in sums}
        if answer["release"] != release or served != sums:
            raise SandboxError(f"pod {pod} serves {answer}, not {release} with {dict(sums)}.")
        say(f"demo: pod {pod} serves {release}: {len(sums)} files, every sha256 as uploaded")
