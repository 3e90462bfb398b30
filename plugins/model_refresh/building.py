"""Builds every model's DAG, each on its own, so that one that cannot be built never takes another away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from airflow.sdk import DAG

from model_refresh.config import ModelConfig
from model_refresh.domain.errors import ConfigError


def build_dags(
    models: Iterable[ModelConfig], make: Callable[..., DAG], **more: Any
) -> tuple[list[DAG], list[ConfigError]]:
    """What could be built, and an error for each model whose DAG could not.

    Airflow shows the DAGs that the calling file keeps in its globals, and no others.

    Args:
        models: the fleet.
        make: makes a model's DAG, one that does not register itself.
        more: what ``make`` takes besides the model.
    """
    dags: list[DAG] = []
    errors: list[ConfigError] = []
    for model in models:
        try:
            dags.append(make(model, **more))
        except Exception as error:  # noqa: BLE001 - whatever Airflow says to one model is not the others' affair
            errors.append(ConfigError(f"Model {model.name!r}: its DAG cannot be built: {error}"))
    return dags, errors
