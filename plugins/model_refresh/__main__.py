"""``python -m model_refresh``: what an author of models needs at the command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from model_refresh.config import ModelConfig
from model_refresh.fleet import load_fleet


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 fine, 1 a wrong model file, 2 a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m model_refresh", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    lint = commands.add_parser("lint", help="check every model file of a folder")
    lint.add_argument("folder", type=Path, nargs="?", default=Path("include/models"))
    commands.add_parser("schema", help="print the JSON schema of a model file, for editors")
    chosen = parser.parse_args(arguments)
    if chosen.command == "schema":
        print(schema())
        return 0
    return _lint(chosen.folder)


def schema() -> str:
    """The JSON schema of a model's file, as text."""
    return json.dumps(ModelConfig.model_json_schema(by_alias=True), indent=2, ensure_ascii=False)


def _lint(folder: Path) -> int:
    fleet = load_fleet(folder)
    for name, model in sorted(fleet.models.items()):
        print(f"{name}: {model.source} -> claim {model.claim}, Deployment {model.deployment}")
    for error in fleet.errors:
        print(error.message, file=sys.stderr)
    return 1 if fleet.errors else 0


if __name__ == "__main__":
    sys.exit(main())
