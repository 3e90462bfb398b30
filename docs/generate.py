"""Writes every file that is made from the code, or with ``--check`` says which of them are stale."""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from model_refresh.__main__ import schema as model_schema
from model_refresh.config import ModelConfig
from model_refresh.contract import EXIT_CODES
from model_refresh.domain.errors import RETRYABLE, USUAL_MENDS
from model_refresh.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


def requirements() -> str:
    """What an Airflow deployment installs, from ``uv.lock``."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "export",
        "--frozen",
        "--quiet",
        "--extra",
        "airflow",
        "--no-hashes",
        "--no-emit-project",
    ]
    command += ["--no-annotate", "--no-header"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return f"# From uv.lock by `make docs`: what an Airflow deployment installs.\n{listed}"


def schema() -> str:
    """The JSON schema of a model's file."""
    return f"{model_schema()}\n"


def configuration() -> str:
    """Every field of a model's file and every setting of the deployment."""
    lines = [
        "# Configuration",
        "",
        "Made from the code by `make docs`.",
        "",
        "## A model's file",
        "",
        "`include/models/<name>.yaml`; only name, source, claim and deployment have no default.",
        "",
        "| field | default | meaning |",
        "|---|---|---|",
        *_field_rows(ModelConfig),
        "",
        "## The deployment's settings",
        "",
        "Section `[model_refresh]` of Airflow's configuration, or `AIRFLOW__MODEL_REFRESH__<SETTING>`.",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
        *_field_rows(Settings),
        "",
    ]
    return "\n".join(lines)


def _field_rows(model: type[BaseModel], prefix: str = "") -> list[str]:
    rows: list[str] = []
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner: Any = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            rows += _field_rows(inner, f"{path}.")
            continue
        default = "required" if field.is_required() else f"`{_plain_default(model, name)}`"
        rows.append(f"| `{path}` | {default} | {field.description or ''} |")
    return rows


def _plain_default(model: type[BaseModel], name: str) -> str:
    value = model.model_construct().model_dump(mode="json", include={name})[name]
    return json.dumps(value).replace(f"{ROOT}/", "")


def dags() -> str:
    """The runbook of each DAG family: its module's docstring."""
    parts = ["<!-- Made from the docstrings in dags/ by `make docs`. -->"]
    for file in sorted((ROOT / "dags").glob("*.py")):
        docstring = ast.get_docstring(ast.parse(file.read_text()))
        heading = "" if docstring and docstring.startswith("#") else f"# {file.stem}\n\n"
        parts.append(f"{heading}{docstring}\n\n(`dags/{file.name}`)")
    return "\n\n".join(parts) + "\n"


def reasons() -> str:
    """Every reason that a task can fail with."""
    lines = [
        "# Reasons",
        "",
        (
            "Made from the code by `make docs`. A failed task's message begins with one of these words, and says what "
            "happened, where and what to do; this is what to do where it has nothing more specific to say."
        ),
        "",
        "| reason | exit code of the pod | tried again | what to do |",
        "|---|---|---|---|",
        *(
            f"| `{reason}` | {EXIT_CODES.get(reason, '')} | {'yes' if reason in RETRYABLE else 'no'} | {mend} |"
            for reason, mend in USUAL_MENDS.items()
        ),
    ]
    return "\n".join(lines) + "\n"


GENERATED: dict[str, Callable[[], str]] = {
    "requirements.txt": requirements,
    "include/models/schema.json": schema,
    "docs/configuration.md": configuration,
    "docs/dags.md": dags,
    "docs/reasons.md": reasons,
}


def main() -> int:
    """Write or check; returns 1 when something is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, make in GENERATED.items():
        file, content = ROOT / name, make()
        if file.exists() and file.read_text() == content:
            continue
        stale.append(name)
        if not check:
            file.write_text(content)
    if stale and check:
        print(f"Stale: {', '.join(stale)}. Run `make docs` and commit.", file=sys.stderr)
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
