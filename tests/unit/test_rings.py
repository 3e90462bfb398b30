"""Imports point inward only; what a pod runs knows no Airflow; DAG files only wire."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "plugins" / "model_refresh"
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))

# What each part may import, besides the standard library and itself. A part is a folder or a module of the package.
INSIDE: dict[str, set[str]] = {
    "domain": set(),
    "names": set(),
    "contract": {"domain"},
    "listing": {"domain"},
    "config": {"domain", "contract"},
    "fleet": {"domain", "config"},
    "failing": {"domain"},
    "building": {"domain", "config"},
    "settings": {"domain"},
    "handover": {"domain", "contract", "names"},
    "hooks": {"domain", "config", "listing", "names", "settings"},
    "triggers": {"domain", "contract", "config", "hooks"},
    "loader": {"domain", "contract", "listing"},
    "__main__": {"config", "fleet"},
}
_ADAPTERS = {"domain", "contract", "config", "settings", "handover", "names", "failing", "hooks", "triggers"}
INSIDE["sensors"] = _ADAPTERS
# A roll back watches as the sensor does.
INSIDE["operators"] = _ADAPTERS | {"sensors"}
INSIDE["flows"] = {"domain", "contract", "config", "names", "sensors", "operators"}

OUTSIDE: dict[str, set[str]] = {
    "domain": {"pydantic"},
    "names": set(),
    "contract": {"pydantic"},
    "listing": {"google"},
    "config": {"pydantic", "croniter"},
    "fleet": {"pydantic", "pydantic_core", "yaml"},
    "failing": {"airflow"},
    "building": {"airflow"},
    "settings": {"airflow", "pydantic"},
    "handover": {"pydantic"},
    "hooks": {"airflow", "google", "kubernetes", "pydantic", "urllib3"},
    "triggers": {"airflow", "asgiref"},
    "loader": {"google", "google_crc32c", "numpy", "pydantic", "safetensors"},
    "sensors": {"airflow"},
    "operators": {"airflow", "kubernetes", "pydantic"},
    "flows": {"airflow"},
    "__main__": set(),
}


def part_of(module: str) -> str:
    """The part of the package that a dotted name below it belongs to."""
    return module.split(".")[1] if "." in module else ""


def imported(source: str) -> set[str]:
    """Dotted names of all that a source imports anywhere in it, type checking included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point"
            module = node.module or ""
            # `from model_refresh import handover` imports a module, `from model_refresh.x import y` from one.
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "model_refresh" else {module}
    return names


def violations(part: str, source: str) -> list[str]:
    """What a source of a part imports although the part may not."""
    found = []
    for name in sorted(imported(source)):
        top = name.split(".")[0]
        if top == "model_refresh":
            if part_of(name) not in INSIDE[part] | {part}:
                found.append(name)
        elif top not in sys.stdlib_module_names and top not in OUTSIDE[part]:
            found.append(name)
    return found


def parts() -> dict[str, list[Path]]:
    """Every source of the package by its part."""
    sources: dict[str, list[Path]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        sources.setdefault(part, []).append(file)
    return sources


@pytest.mark.parametrize("part", [part for part in parts() if part not in {"__init__", "web"}])
def test_a_part_imports_only_what_is_further_in(part):
    assert part in INSIDE, f"say in this test what {part} may import"
    found = {str(file.relative_to(ROOT)): violations(part, file.read_text()) for file in parts()[part]}
    assert {file: names for file, names in found.items() if names} == {}


def test_the_rings_have_no_way_back():
    """The table itself: following it outward never comes back."""
    reached = {part: set(inner) for part, inner in INSIDE.items()}
    for _ in INSIDE:
        for inner in reached.values():
            inner |= {deeper for part in inner for deeper in INSIDE[part]}
    assert [part for part, inner in reached.items() if part in inner] == []


def test_a_pod_meets_no_airflow_on_any_way():
    reached = {"loader"}
    for _ in INSIDE:
        reached |= {inner for part in reached for inner in INSIDE[part]}
    assert not any("airflow" in OUTSIDE[part] or "kubernetes" in OUTSIDE[part] for part in reached)


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("domain", "import airflow"),
        ("domain", "from airflow.sdk import DAG"),
        ("domain", "from model_refresh.contract import Request"),
        ("domain", "def late():\n    import kubernetes"),
        ("contract", "from model_refresh import config"),
        ("loader", "from model_refresh.operators.steps import X"),
        ("loader", "import airflow.sdk as sdk"),
        ("loader", "from model_refresh.hooks.bucket import BucketHook"),
        ("hooks", "from model_refresh.flows.refresh import refresh_dag"),
        ("operators", "from model_refresh.flows import refresh"),
        ("handover", "import yaml"),
        ("sensors", "if TYPE_CHECKING:\n    from model_refresh.operators.promote import X"),
        ("flows", "import dags.refresh"),
    ],
)
def test_a_planted_import_is_found(part, source):
    assert len(violations(part, source)) == 1


def test_an_inward_import_is_no_violation():
    assert (
        violations("operators", "import json\nfrom model_refresh.domain.plan import split\nfrom airflow.sdk import X")
        == []
    )


def long_or_clever(source: str) -> list[str]:
    """What makes a DAG file more than a docstring and a loop."""
    tree = ast.parse(source)
    wrong = []
    if len(source.splitlines()) >= 40:
        wrong.append("is 40 lines or longer")
    if not ast.get_docstring(tree):
        wrong.append("has no docstring")
    if any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda) for node in ast.walk(tree)):
        wrong.append("defines something")
    if any(name.split(".")[0] not in {"model_refresh", "airflow"} for name in imported(source)):
        wrong.append("imports more than the package")
    # Airflow's safe mode parses only files that hold both words.
    if not all(word in source.lower() for word in ("airflow", "dag")):
        wrong.append("does not look like a DAG file to Airflow")
    return wrong


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.name)
def test_a_dag_file_is_a_docstring_and_a_loop(file):
    assert long_or_clever(file.read_text()) == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ('"""airflow dag"""\n' + "x = 1\n" * 40, "is 40 lines or longer"),
        ("# airflow dag\n", "has no docstring"),
        ('"""airflow dag"""\ndef make(): pass\n', "defines something"),
        ('"""airflow dag"""\nimport kubernetes\n', "imports more than the package"),
        ('"""Hello."""\n', "does not look like a DAG file to Airflow"),
    ],
)
def test_a_dag_file_that_does_more_is_found(source, wrong):
    assert long_or_clever(source) == [wrong]


def test_nothing_imports_a_dag_file():
    names = {file.stem for file in DAG_FILES}
    assert names
    for file in [*PACKAGE.rglob("*.py"), *DAG_FILES]:
        assert not {name for name in imported(file.read_text()) if name.split(".")[0] in {"dags", *names}}
