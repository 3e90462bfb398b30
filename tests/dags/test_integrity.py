"""Every model gets its DAG, and a wrong file takes nobody's away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from model_refresh import names
from tests.airflow_home import MODELS
from tests.dags.conftest import DAGS


def errors_of(bag):
    return {Path(file).name: error for file, error in bag.import_errors.items()}


def test_every_model_has_its_dag_and_nothing_is_wrong(fleet, parse):
    fleet.write("llama")
    fleet.write("mistral", extra="schedule: null\n")
    bag = parse()
    assert bag.import_errors == {}
    assert set(bag.dags) == {"refresh__llama", "refresh__mistral"}


def test_every_dag_explains_itself(fleet, parse):
    fleet.write("llama", extra="description: Speaks.\n")
    (dag,) = parse().dags.values()
    assert dag.doc_md.startswith("# ")
    assert all(task_id in dag.doc_md for task_id in dag.task_ids)
    assert dag.description == "Speaks."
    assert {"model-refresh", "llama"} <= dag.tags


WRONG = {
    "unknown field": "copy: {enginee: gcloud}\n",
    "bad YAML": "copy: [\n",
    "bad cron": "schedule: every hour\n",
    "a day that is none": "description: 2024-13-45\n",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_file_is_an_import_error_of_its_own_and_the_others_stay(fleet, parse, wrong):
    fleet.write("llama")
    bad = fleet.write("mistral", extra=WRONG[wrong])
    bag = parse()
    assert set(bag.dags) == {"refresh__llama"}
    assert set(errors_of(bag)) == {"check_fleet.py"}
    assert str(bad) in errors_of(bag)["check_fleet.py"]


def test_a_model_whose_dag_cannot_be_built_is_an_import_error_of_its_own_and_the_others_stay(fleet, parse):
    """Airflow takes no asset called ``context``: its error comes when half of the DAG is made."""
    fleet.write("llama")
    fleet.write("context")
    bag = parse()
    assert set(bag.dags) == {"refresh__llama"}
    assert set(errors_of(bag)) == {"check_fleet.py"}
    assert "Model 'context': its DAG cannot be built" in errors_of(bag)["check_fleet.py"]


def test_two_models_of_one_deployment_are_told(fleet, parse):
    fleet.write("llama")
    fleet.write("mistral", extra="namespace: models\n").write_text(
        (MODELS / "mistral.yaml").read_text().replace("mistral-server", "llama-server")
    )
    bag = parse()
    assert set(bag.dags) == {"refresh__llama"}
    assert "mistral.yaml" in errors_of(bag)["check_fleet.py"]


def test_a_fleet_that_changed_is_seen_at_the_next_parse(fleet, parse):
    fleet.write("llama")
    assert set(parse().dags) == {"refresh__llama"}
    fleet.write("mistral")
    assert set(parse().dags) == {"refresh__llama", "refresh__mistral"}
    fleet.clear()
    assert parse().dags == {}


def test_two_models_may_come_from_one_folder(fleet, parse):
    """Their assets are one: Airflow lets no two assets with one URI be active under different names."""
    fleet.write("llama")
    fleet.write("twin").write_text((MODELS / "twin.yaml").read_text().replace("gs://bucket/twin", "gs://bucket/llama/"))
    bag = parse()
    assert bag.import_errors == {}
    published = {
        (asset["name"], asset["uri"])
        for dag in bag.dags.values()
        for asset in find_assets(DagSerialization.to_dict(dag)["dag"]["timetable"])
    }
    assert len(published) == 1


def find_assets(plain):
    """Every asset in a serialised timetable."""
    if isinstance(plain, dict):
        if {"name", "uri"} <= plain.keys():
            yield plain
        for value in plain.values():
            yield from find_assets(value)
    elif isinstance(plain, list):
        for value in plain:
            yield from find_assets(value)


@pytest.fixture
def dag(fleet, parse):
    fleet.write("llama", extra="copy: {engine: gsutil, pods: 7, workers: 3}\n")
    return parse().dags["refresh__llama"]


def test_one_run_at_a_time_and_none_for_the_past(dag):
    assert dag.max_active_runs == 1
    assert dag.catchup is False


def test_a_dag_survives_the_database(dag):
    plain = DagSerialization.to_dict(dag)
    json.dumps(plain)
    again = DagSerialization.from_dict(plain)
    assert set(again.task_ids) == set(dag.task_ids)
    assert {task_id: task.trigger_rule for task_id, task in again.task_dict.items()} == {
        task_id: task.trigger_rule for task_id, task in dag.task_dict.items()
    }
    assert DagSerialization.to_dict(dag) == plain


def test_a_model_that_did_not_change_makes_the_same_dag_again(dag, parse):
    """Another serialisation at each parse would be another DAG version at each parse."""
    again = parse().dags["refresh__llama"]
    assert DagSerialization.to_dict(again) == DagSerialization.to_dict(dag)


def test_copy_and_verify_are_mapped_over_the_plan(dag):
    for task_id in (names.COPY_SHARD, names.VERIFY_SHARD):
        task = dag.task_dict[task_id]
        assert task.is_mapped
        assert {argument: expanded.operator.task_id for argument, expanded in task.expand_input.value.items()} == {
            "shard": names.PLAN_COPY
        }
        assert expanded_key(task) == "return_value"


def expanded_key(task):
    (expanded,) = task.expand_input.value.values()
    return expanded.key


def test_what_must_not_be_tried_again_is_not(dag):
    assert dag.task_dict[names.PROMOTE_RELEASE].retries == 0
    # One, for a task that Airflow loses while it is parked; silence and a no are no failures that are retried.
    assert dag.task_dict[names.APPROVE_RELEASE].retries == 1
    assert all(
        dag.task_dict[task_id].retries > 0 for task_id in (names.PLAN_COPY, names.COPY_SHARD, names.VERIFY_SHARD)
    )


def test_promotions_defaults_come_from_the_models_file(dag):
    assert {name: dag.params[name] for name in dag.params} == {
        "release": None,
        "engine": "gsutil",
        "pods": 7,
        "workers": 3,
        "force": False,
        "dry_run": False,
    }
    dag.params.validate()


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("engine", "rsync"),
        ("engine", None),
        ("pods", 0),
        ("pods", 65),
        ("pods", "4"),
        ("workers", 1.5),
        ("force", "yes"),
        ("dry_run", None),
        ("release", 5),
    ],
)
def test_a_wrong_param_is_refused(dag, param, value):
    params = dag.params
    with pytest.raises(ParamValidationError):
        params[param] = value
    assert param in params


@pytest.mark.parametrize(("param", "value"), [("engine", "gcloud"), ("pods", 64), ("release", "v1"), ("force", True)])
def test_a_right_param_is_taken(dag, param, value):
    dag.params[param] = value
    assert dag.params[param] == value


COST = """
import runpy, sys
heavy = ["google.cloud.storage", "airflow.providers.google.cloud", "numpy", "safetensors", "model_refresh.loader"]
import model_refresh.flows.refresh
print(",".join(name for name in heavy if name in sys.modules))
runpy.run_path(sys.argv[1])
print(",".join(name for name in heavy if name in sys.modules))
"""


def test_parsing_a_dag_file_does_not_import_what_only_tasks_need(fleet):
    """Every task pays for what its DAG file imports.

    kubernetes.client comes with KubernetesPodOperator, and google.auth with that. Making an asset whose URI has a
    scheme makes Airflow load every provider's URI handlers; Google's brings its storage client (some 0.9 s).
    """
    fleet.write("llama")
    done = subprocess.run(
        [sys.executable, "-c", COST, str(DAGS / "refresh.py")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(DAGS.parent / "plugins")},
    )
    wiring, whole = done.stdout.splitlines()[-2:]
    assert wiring == ""
    assert whole == "google.cloud.storage,airflow.providers.google.cloud"
