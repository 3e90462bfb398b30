"""What the Airflow deployment decides, from section ``[model_refresh]`` of Airflow's configuration.

Each setting may also come as an environment variable, ``AIRFLOW__MODEL_REFRESH__<SETTING>``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from airflow.sdk.configuration import conf
from pydantic import Field

from model_refresh.domain.document import Document

SECTION = "model_refresh"


class Settings(Document):
    """The deployment's settings.

    Attributes:
        models_folder: the fleet.
        namespace: where models live that name no namespace themselves.
        loader_image: image of the loader's pods; a tag that never moves, so that a retry runs the same code.
        loader_service_account: account of the loader's pods; it has no rights in the cluster.
        loader_env: environment of all loader pods, a proxy for example.
        kubernetes_conn_id: Airflow connection to the cluster.
        gcp_conn_id: Airflow connection to Cloud Storage, for looking for releases.
    """

    models_folder: Path = Path(__file__).resolve().parents[2] / "include" / "models"
    namespace: str = "models"
    loader_image: str = "model-refresh/loader:0.1.0"
    image_pull_policy: str = "IfNotPresent"
    loader_service_account: str = "model-loader"
    loader_env: dict[str, str] = Field(default_factory=dict)
    kubernetes_conn_id: str = "kubernetes_default"
    gcp_conn_id: str = "google_cloud_default"


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
