"""A model's file: four lines are enough, and what is read is what is written back."""

from __future__ import annotations

from datetime import timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from model_refresh.config import Duration, ModelConfig
from tests.unit.given import model

FOUR_LINES = """\
name: llama
source: gs://bucket/llama
claim: models
deployment: llama-server
"""

EVERYTHING = """\
name: llama
description: Speaks.
source: gs://bucket/llama/
claim: models
deployment: llama-server
namespace: prod
schedule: null
detection: {marker: null, settle: 1h, poll: 10s, wait: 2m}
copy:
  engine: gsutil
  pods: 8
  workers: 2
  stall_timeout: 90s
  timeout: 1d
  resources: {cpu: 500m, memory: 2Gi}
  node_selector: {disk: fast}
  tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]
  env: {HTTPS_PROXY: "http://proxy:3128"}
  allow_unsafe: [AAAAAA==]
approval: {approvers: [alice, bob], timeout: 8h}
rollout: {deadline: 20m, patience: 3m, poll: 2s}
retention: {keep: 3, pinned: [v1-0123456789ab]}
"""


def read(text: str) -> ModelConfig:
    return ModelConfig.model_validate(yaml.safe_load(text))


def test_four_lines_make_a_model_with_every_default():
    config = read(FOUR_LINES)
    assert (config.copy_.engine, config.copy_.pods, config.detection.marker) == ("gcloud", 4, "_SUCCESS")
    assert config.approval.timeout == timedelta(days=3)
    assert config.rollout.deadline is None
    assert config.retention.keep == 2


def test_every_field_can_be_written():
    config = read(EVERYTHING)
    assert config.schedule is None
    assert config.detection.settle == timedelta(hours=1)
    assert config.copy_.tolerations[0].operator == "Exists"
    unset = {
        name
        for part in (config, config.detection, config.copy_, config.approval, config.rollout, config.retention)
        for name in type(part).model_fields.keys() - part.model_fields_set
    }
    assert unset == set()


@pytest.mark.parametrize("text", [FOUR_LINES, EVERYTHING])
def test_a_model_survives_its_plain_form(text):
    config = read(text)
    plain = config.model_dump(mode="json", by_alias=True)
    assert ModelConfig.model_validate(plain) == config
    assert ModelConfig.model_validate(yaml.safe_load(yaml.safe_dump(plain))) == config


DURATION = TypeAdapter(Duration)


@given(st.integers(min_value=0, max_value=366), st.sampled_from(["s", "m", "h", "d"]))
def test_a_duration_is_a_number_and_a_unit_and_survives_being_written(number, unit):
    span = DURATION.validate_python(f"{number}{unit}")
    assert span == number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] * timedelta(seconds=1)
    assert DURATION.validate_python(DURATION.dump_python(span, mode="json")) == span


@pytest.mark.parametrize(
    "value", ["", "5", 5, "5 m", "m", "1.5h", "-1s", "5w", "1h30m", None, "\u0665s", "367d", "9" * 20 + "d"]
)
def test_what_is_no_duration_is_refused(value):
    with pytest.raises(ValidationError):
        DURATION.validate_python(value)


@pytest.mark.parametrize(
    "field",
    [
        {"name": "Llama"},
        {"name": "llama_2"},
        {"name": "x" * 41},
        {"name": "-llama"},
        {"name": "llama\n"},
        {"source": "s3://bucket"},
        {"source": "gs://"},
        {"source": "gs://Bucket"},
        {"source": "gs://b"},
        {"source": "gs://[bucket/llama"},
        {"source": "gs://bucket]/llama"},
        {"source": "gs://bucket:x/llama"},
        {"source": "gs://" + "b" * 223},
        {"source": "gs://bucket/a b"},
        {"source": "gs://bucket/a\n"},
        {"source": "gs://bucket/a\0"},
        {"source": "gs://bucket/" + "x" * 1024},
        {"claim": "../x"},
        {"namespace": "{{ 7*7 }}"},
        {"deployment": ""},
        {"schedule": "every hour"},
        {"schedule": "61 * * * *"},
        {"copy": {"pods": 0}},
        {"copy": {"pods": 65}},
        {"copy": {"engine": "rsync"}},
        {"copy": {"resources": {"memory": "lots"}}},
        {"copy": {"allow_unsafe": ["deadbeef"]}},
        {"retention": {"keep": 0}},
        {"detection": {"marker": ""}},
        {"detection": {"poll": "0s"}},
        {"rollout": {"poll": "0s"}},
        {"rollout": {"deadline": "0s"}},
        {"approval": {"timeout": "0s"}},
        {"copy": {"stall_timeout": "0s"}},
        {"copy": {"timeout": "0s"}},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_wrong_field_is_refused(field):
    with pytest.raises(ValidationError):
        model(**field)


@pytest.mark.parametrize("schedule", ["*/15 * * * *", "0 6 * * 1-5", "@daily"])
def test_cron_expressions_are_schedules(schedule):
    assert model(schedule=schedule).schedule == schedule


def test_a_model_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        model().name = "other"
