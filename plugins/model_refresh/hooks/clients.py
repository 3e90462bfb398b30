"""Where the hooks get their clients from: Airflow's connections, or whatever a test puts in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from airflow.sdk import Variable

if TYPE_CHECKING:
    from google.cloud.storage import Client


class Clients:
    """What Airflow offers; :class:`model_refresh.hooks.fakes.FakeClients` offers the same, in memory."""

    def kubernetes(self, conn_id: str) -> Any:
        """The cluster of a connection: an object with ``apps_v1_client`` and ``core_v1_client``."""
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

        return KubernetesHook(conn_id=conn_id)

    def storage(self, conn_id: str) -> Client:
        """The Cloud Storage client of a connection."""
        from airflow.providers.google.cloud.hooks.gcs import GCSHook

        return GCSHook(gcp_conn_id=conn_id).get_conn()

    def variable(self, key: str) -> str | None:
        """An Airflow Variable's text, None where there is none."""
        text: str | None = Variable.get(key, default=None)
        return text

    def set_variable(self, key: str, text: str) -> None:
        """Write an Airflow Variable."""
        Variable.set(key, text)

    def ask(self, question: dict[str, Any]) -> tuple[str, str | None]:
        """Put a question to Airflow's people; subject and body of the card that they are shown.

        Airflow stores a task's first card and keeps it, whatever a later try or a cleared task would ask
        (``upsert_hitl_detail`` of its execution API); the operator's own call drops the answer that says so.

        Args:
            question: arguments of Airflow's ``CreateHITLDetailPayload``.
        """
        from airflow.sdk.execution_time import task_runner  # noqa: PLC0415 - only a running task has a supervisor
        from airflow.sdk.execution_time.comms import (  # noqa: PLC0415 - see above
            CreateHITLDetailPayload,
            HITLDetailRequestResult,
        )

        shown = task_runner.SUPERVISOR_COMMS.send(CreateHITLDetailPayload(**question))
        if not isinstance(shown, HITLDetailRequestResult):
            raise TypeError(f"Airflow answered a question with {shown!r}")
        return shown.subject, shown.body


_clients: ContextVar[Clients] = ContextVar("clients", default=Clients())  # noqa: B039 - it holds nothing


def clients() -> Clients:
    """The clients to use here and now."""
    return _clients.get()


@contextmanager
def using(instead: Clients) -> Iterator[None]:
    """Use other clients for the while, in this thread and in what it starts."""
    token = _clients.set(instead)
    try:
        yield
    finally:
        _clients.reset(token)
