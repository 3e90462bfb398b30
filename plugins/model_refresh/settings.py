"""What the Airflow deployment decides, from section ``[model_refresh]`` of Airflow's configuration.

Each setting may also come as an environment variable, ``AIRFLOW__MODEL_REFRESH__<SETTING>``.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated

from airflow.sdk.configuration import conf
from pydantic import BeforeValidator, Field

from model_refresh.domain.document import Document

SECTION = "model_refresh"


def _split_folders(value: object) -> object:
    return value.split(os.pathsep) if isinstance(value, str) else value


class Settings(Document):
    """The deployment's settings."""

    models_folders: Annotated[
        tuple[Path, ...],
        BeforeValidator(_split_folders),
        Field(description="The fleet: folders with a YAML file a model, separated by a colon."),
    ] = (Path(__file__).resolve().parents[2] / "include" / "models",)
    namespace: Annotated[str, Field(description="Where models live that name no namespace themselves.")] = "models"
    loader_image: Annotated[
        str,
        Field(description="Image of the loader's pods; a tag that never moves, so that a retry runs the same code."),
    ] = "model-refresh/loader:0.1.0"
    image_pull_policy: Annotated[str, Field(description="Of the loader's image, in Kubernetes' words.")] = (
        "IfNotPresent"
    )
    loader_service_account: Annotated[
        str, Field(description="Account of the loader's pods; it has no rights in the cluster.")
    ] = "model-loader"
    loader_env: Annotated[
        dict[str, str], Field(description="JSON: environment of all loader pods, a proxy for example; no secrets.")
    ] = Field(default_factory=dict)
    kubernetes_conn_id: Annotated[str, Field(description="Airflow connection to the cluster.")] = "kubernetes_default"
    gcp_conn_id: Annotated[str, Field(description="Airflow connection to Cloud Storage, for looking for releases.")] = (
        "google_cloud_default"
    )


@cache
def get_settings() -> Settings:
    """Read the settings, once a process.

    Raises:
        pydantic.ValidationError: naming the setting that is wrong.
    """
    given: dict[str, object] = {
        name: conf.get(SECTION, name) for name in Settings.model_fields if conf.has_option(SECTION, name)
    }
    if "loader_env" in given:
        given["loader_env"] = conf.getjson(SECTION, "loader_env")
    return Settings.model_validate(given)
