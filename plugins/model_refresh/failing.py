"""How a refresh's own errors become Airflow's: worth a retry, or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from model_refresh.domain.errors import RefreshError


def as_airflow(error: RefreshError) -> AirflowException:
    """The exception that retries a task whose trouble may pass, and fails any other at once."""
    return AirflowException(str(error)) if error.retryable else AirflowFailException(str(error))


@contextmanager
def refresh_errors() -> Iterator[None]:
    """Around the body of a task."""
    try:
        yield
    except RefreshError as error:
        raise as_airflow(error) from error
