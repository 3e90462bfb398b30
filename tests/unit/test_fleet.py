"""A wrong file says what is wrong with it, and takes nobody else's model away."""

from __future__ import annotations

import pytest

from model_refresh.domain.errors import ConfigError, Reason
from model_refresh.fleet import load_fleet, load_model
from tests.unit.test_config import FOUR_LINES


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def write(folder):
    def write(name, text=FOUR_LINES):
        folder.mkdir(exist_ok=True)
        file = folder / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


def other(name, deployment=None, extra=""):
    return (
        FOUR_LINES.replace("name: llama", f"name: {name}").replace("llama-server", deployment or f"{name}-server")
        + extra
    )


def test_four_lines_are_a_fleet(write, folder):
    write("llama.yaml")
    fleet = load_fleet(folder)
    assert list(fleet.models) == ["llama"]
    assert fleet.errors == ()


def test_an_empty_folder_is_an_empty_fleet_and_a_missing_one_an_error(tmp_path, folder):
    assert load_fleet(tmp_path).models == {}
    assert load_fleet(tmp_path).errors == ()
    fleet = load_fleet(folder)
    assert fleet.models == {}
    assert [error.reason for error in fleet.errors] == [Reason.BAD_CONFIG]
    assert str(folder) in fleet.errors[0].message


ERRORS = {
    "unknown field": (
        FOUR_LINES + "copy: {enginee: gcloud}\n",
        ["copy.enginee", "unknown", "did you mean 'engine'?", "stall_timeout"],
    ),
    "unknown top field": (FOUR_LINES + "schedul: x\n", ["schedul:", "did you mean 'schedule'?"]),
    "the alias is what is offered": (FOUR_LINES + "coppy: {}\n", ["did you mean 'copy'?"]),
    "unknown field in a list": (
        FOUR_LINES + "copy: {tolerations: [{keyy: gpu}]}\n",
        ["copy.tolerations.0.keyy", "did you mean 'key'?", "allowed: effect, key, operator, value"],
    ),
    "unlike anything": (FOUR_LINES + "zzzzzz: x\n", ["zzzzzz", "allowed: approval, claim, copy"]),
    "missing": ("name: llama\nsource: gs://b\nclaim: models\n", ["deployment: missing"]),
    "literal": (
        FOUR_LINES + "copy: {engine: gclod}\n",
        ["copy.engine", "'gclod'", "'gcloud' or 'gsutil'", "did you mean 'gcloud'?"],
    ),
    "range": (FOUR_LINES + "copy: {pods: 65}\n", ["copy.pods", "65", "less than or equal to 64"]),
    "duration": (FOUR_LINES + "approval: {timeout: 3 days}\n", ["approval.timeout", "'3 days'", "30s, 10m, 2h or 3d"]),
    "endless duration": (FOUR_LINES + f"approval: {{timeout: {'9' * 20}d}}\n", ["approval.timeout"]),
    "source": (FOUR_LINES.replace("gs://bucket/llama", "s3://x"), ["source", "'s3://x'", "gs://"]),
    "schedule": (FOUR_LINES + "schedule: every hour\n", ["schedule", "'every hour'", "cron"]),
    "two at once": (FOUR_LINES + "copy: {pods: 0, workers: 0}\n", ["copy.pods", "copy.workers"]),
    "name": (other("mistral"), ["name", "'mistral'", "'llama'"]),
    "not a mapping": ("- name: llama\n", ["mapping of fields, not a list"]),
    "empty": ("", ["mapping of fields, not a NoneType"]),
    "bad YAML": ("name: [llama\n", ["cannot be read", "line 2"]),
    "tag": ("!!python/object/apply:os.system [id]\n", ["cannot be read"]),
    "two documents": (FOUR_LINES + "---\n" + FOUR_LINES, ["cannot be read"]),
    "a day that is none": (FOUR_LINES + "description: 2024-13-45\n", ["cannot be read", "month"]),
    "a day": (FOUR_LINES + "description: 2024-12-24\n", ["description", "valid string"]),
    "nested without end": ("[" * 20000, ["cannot be read"]),
    "key twice": (FOUR_LINES + "claim: other\n", ["cannot be read", "claim", "twice"]),
    "not UTF-8": (b"name: \xff\n", ["cannot be read"]),
}


@pytest.mark.parametrize("wrong", ERRORS)
def test_a_wrong_file_says_what_and_leaves_the_others(write, folder, wrong):
    text, said = ERRORS[wrong]
    file = write("llama.yaml", text)
    write("good.yaml", other("good"))
    fleet = load_fleet(folder)
    assert list(fleet.models) == ["good"]
    (error,) = fleet.errors
    assert isinstance(error, ConfigError)
    for part in (str(file), *said):
        assert part in error.message


def test_a_file_that_cannot_be_opened_leaves_the_others(write, folder):
    write("good.yaml", other("good"))
    (folder / "llama.yaml").symlink_to("nowhere.yaml")
    (folder / "folder.yaml").mkdir()
    fleet = load_fleet(folder)
    assert list(fleet.models) == ["good"]
    assert len(fleet.errors) == 2


def test_two_files_of_one_model_are_one_model_and_an_error(write, folder):
    write("llama.yaml")
    write("llama.yml")
    fleet = load_fleet(folder)
    assert list(fleet.models) == ["llama"]
    assert "llama.yml" in fleet.errors[0].message


def test_two_models_never_switch_one_deployment(write, folder):
    write("a.yaml", other("a", "shared"))
    write("b.yaml", other("b", "shared"))
    write("c.yaml", other("c", "shared", "namespace: elsewhere\n"))
    fleet = load_fleet(folder)
    assert list(fleet.models) == ["a", "c"]
    (error,) = fleet.errors
    for part in ("b.yaml", "deployment", "'shared'", "model 'a'"):
        assert part in error.message


def test_a_namespace_that_is_spelled_out_is_the_same_as_the_default(write, folder):
    write("a.yaml", other("a", "shared"))
    write("b.yaml", other("b", "shared", "namespace: models\n"))
    assert len(load_fleet(folder, namespace="models").errors) == 1
    assert len(load_fleet(folder, namespace="elsewhere").errors) == 0


def test_one_file_can_be_read_on_its_own(write):
    assert load_model(write("llama.yaml")).name == "llama"
    with pytest.raises(ConfigError, match="mistral"):
        load_model(write("other.yaml", other("mistral")))


def test_a_fleet_may_lie_in_several_folders_and_a_name_counts_in_all_of_them(tmp_path):
    for place, deployment in (("mine", "first"), ("yours", "second")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "twice.yaml").write_text(
            f"name: twice\nsource: gs://bucket/twice\nclaim: models\ndeployment: {deployment}\n"
        )
    (tmp_path / "yours" / "once.yaml").write_text(
        "name: once\nsource: gs://bucket/once\nclaim: models\ndeployment: once\n"
    )
    fleet = load_fleet(tmp_path / "mine", tmp_path / "yours", tmp_path / "missing")
    assert {name: model.deployment for name, model in fleet.models.items()} == {"twice": "first", "once": "once"}
    missing, doubled = fleet.errors
    assert "missing is not a folder" in missing.message
    assert str(tmp_path / "yours" / "twice.yaml") in doubled.message
