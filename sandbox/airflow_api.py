"""A small client of Airflow's REST API, for the demo and for tests that drive real runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

ENDED = {"success", "failed"}
TASK_ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}
PAUSE = 1.0
"""Seconds between two looks; the machine runs Airflow and Kubernetes besides."""
SERVER_FAILURES = 10
"""Answers of a failing server in a row before one is believed."""
SEEN_PARKED = 3.0
"""Seconds in which Airflow's scheduler surely notices that a task has parked."""


@dataclass(frozen=True)
class Run:
    """One run of a DAG."""

    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        """Its place in the API."""
        return f"dags/{self.dag_id}/dagRuns/{self.run_id}"


class AirflowApi:
    """Airflow, as one user sees it.

    Args:
        url: of the API server.
        user: name; password likewise.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._client = httpx.Client(base_url=f"{url}/api/v2/", timeout=60, trust_env=False)
        token = httpx.post(
            f"{url}/auth/token", json={"username": user, "password": password}, timeout=60, trust_env=False
        )
        token.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, again while the server fails: beside many tasks, sqlite turns writers away for a moment."""
        for _ in range(SERVER_FAILURES):
            answer = self._client.request(method, path, **options)
            if not answer.is_server_error:
                break
            time.sleep(PAUSE)
        return answer

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def get(self, path: str, **params: Any) -> Any:
        """GET, as JSON."""
        answer = self._send("GET", path, params=params)
        answer.raise_for_status()
        return answer.json()

    def wait_for_dag(self, dag_id: str, *, seconds: float = 180) -> None:
        """Wait until Airflow has parsed a DAG, and unpause it."""

        def unpaused() -> bool:
            return self._send("PATCH", f"dags/{dag_id}", json={"is_paused": False}).is_success

        wait_until(unpaused, f"DAG {dag_id}", seconds=seconds)

    def trigger(self, dag_id: str, **conf: Any) -> Run:
        """Start a run."""
        answer = self._send("POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})
        assert answer.is_success, answer.text
        return Run(dag_id, answer.json()["dag_run_id"])

    def end(self, run: Run) -> None:
        """Mark a run that goes on as failed, which ends what it does."""
        self._send("PATCH", run.path, json={"state": "failed"}).raise_for_status()

    def state(self, run: Run) -> str:
        """The run's state."""
        return str(self.get(run.path)["state"])

    def tasks(self, run: Run) -> dict[str, list[dict[str, Any]]]:
        """Task instances by task id, mapped ones in order."""
        found: dict[str, list[dict[str, Any]]] = {}
        for instance in self.get(f"{run.path}/taskInstances", limit=100)["task_instances"]:
            found.setdefault(instance["task_id"], []).append(instance)
        for instances in found.values():
            instances.sort(key=lambda instance: instance["map_index"])
        return found

    def task_states(self, run: Run) -> dict[str, set[str]]:
        """States by task id."""
        return {task: {str(i["state"]) for i in instances} for task, instances in self.tasks(run).items()}

    def wait_for_end(self, run: Run, *, seconds: float = 600) -> str:
        """Wait for the run to end; its state."""
        wait_until(
            lambda: self.state(run) in ENDED, f"the end of {run}", seconds=seconds, show=lambda: self.explain(run)
        )
        return self.state(run)

    def wait_for_question(self, run: Run, *, seconds: float = 600) -> dict[str, Any]:
        """Wait until the run asks its person; the question."""

        def question() -> dict[str, Any] | None:
            assert self.state(run) not in ENDED, f"{run} ended without asking:\n{self.explain(run)}"
            details = self.get(f"{run.path}/hitlDetails", response_received=False)["hitl_details"]
            return details[0] if details else None

        asked: dict[str, Any] = wait_until(
            question, f"the question of {run}", seconds=seconds, show=lambda: self.explain(run)
        )
        return asked

    def clear(self, run: Run) -> None:
        """Make a run do everything again, as a person can."""
        self._send("POST", f"{run.path}/clear", json={"dry_run": False, "only_failed": False}).raise_for_status()

    def answer(self, run: Run, option: str) -> httpx.Response:
        """Answer the run's question, as no person could faster (docs/adr/0011-quick-resumes.md)."""
        time.sleep(SEEN_PARKED)
        return self._send(
            "PATCH",
            f"{run.path}/taskInstances/approve_release/-1/hitlDetails",
            json={"chosen_options": [option], "params_input": {}},
        )

    def xcom(self, run: Run, task: str, *, key: str = "return_value", map_index: int = -1) -> Any:
        """What a task handed on."""
        path = f"{run.path}/taskInstances/{task}/xcomEntries/{key}"
        return self.get(path, map_index=map_index, deserialize=True)["value"]

    def log(self, run: Run, task: str, *, map_index: int = -1, try_number: int | None = None) -> str:
        """A task's log, as text."""
        if try_number is None:
            [instance] = [i for i in self.tasks(run)[task] if i["map_index"] == map_index]
            try_number = max(1, instance["try_number"])
        path = f"{run.path}/taskInstances/{task}/logs/{try_number}"
        content = self.get(path, map_index=map_index, full_content=True)["content"]
        return "\n".join(_line(entry) for entry in content)

    def explain(self, run: Run) -> str:
        """The states of all tasks and the log of those that failed, for a failing test's message."""
        parts = [f"{task}: {states}" for task, states in self.task_states(run).items()]
        for task, instances in self.tasks(run).items():
            parts += [
                f"--- {task}[{i['map_index']}] try {i['try_number']}\n"
                + self.log(run, task, map_index=i["map_index"], try_number=max(1, i["try_number"]))[-3000:]
                for i in instances
                if i["state"] in {"failed", "up_for_retry"}
            ]
        return "\n".join(parts)


def _line(entry: dict[str, Any]) -> str:
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in entry.get("error_detail") or ()]
    return "\n".join([str(entry["event"]), *errors])


def wait_until(look: Callable[[], Any], what: str, *, seconds: float, show: Callable[[], str] = lambda: "") -> Any:
    """Look again and again until there is something; it.

    Raises:
        TimeoutError: with what was waited for, and what ``show`` says.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come in {seconds:.0f} s\n{show()}")
        time.sleep(PAUSE)
