"""Shows wrong model files as an import error of their own, while every other model's DAGs stay.

It makes no DAG: either the fleet is fine, or Airflow's list of import errors says which file is wrong, where and
what is allowed.
"""

from model_refresh.building import build_dags
from model_refresh.domain.errors import ConfigError
from model_refresh.fleet import load_fleet
from model_refresh.flows.refresh import refresh_dag
from model_refresh.settings import get_settings

settings = get_settings()
fleet = load_fleet(*settings.models_folders, namespace=settings.namespace)
if errors := [*fleet.errors, *build_dags(fleet.models.values(), refresh_dag)[1]]:
    raise ConfigError("\n".join(error.message for error in errors))
