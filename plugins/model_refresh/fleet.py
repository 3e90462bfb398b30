"""Reads the fleet: every model's file, each on its own, so that a wrong one never takes another's DAGs away."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

from model_refresh.config import ModelConfig
from model_refresh.domain.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


@dataclass(frozen=True)
class Fleet:
    """All models that could be read, by name, and an error for each file that could not."""

    models: Mapping[str, ModelConfig]
    errors: tuple[ConfigError, ...]


def load_fleet(folder: Path) -> Fleet:
    """Read every ``*.yaml`` and ``*.yml`` of a folder.

    A folder that does not exist is an error, not an empty fleet: a wrong mount must not look like
    "all models were removed".
    """
    if not folder.is_dir():
        return Fleet({}, (ConfigError(f"{folder} is not a folder: it should hold a YAML file a model."),))
    models: dict[str, ModelConfig] = {}
    errors: list[ConfigError] = []
    for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            model = load_model(file)
        except ConfigError as error:
            errors.append(error)
            continue
        if model.name in models:
            errors.append(ConfigError(f"{file}: another file already describes model {model.name!r}."))
            continue
        models[model.name] = model
    return Fleet(models, tuple(errors))


def load_model(file: Path) -> ModelConfig:
    """Read one model's file.

    Raises:
        ConfigError: naming file, field, value, what is allowed and the nearest right spelling.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        model = ModelConfig.model_validate(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(detail)}" for detail in error.errors())
        raise ConfigError(f"{file}:\n{problems}") from error
    if model.name != file.stem:
        raise ConfigError(f"{file}:\n  name: is {model.name!r}, but the file is called {file.stem!r}; make them equal.")
    return model


def _explain(detail: ErrorDetails) -> str:
    field = ".".join(str(part) for part in detail["loc"]) or "file"
    if detail["type"] == "extra_forbidden":
        known = list(_fields_at(detail["loc"][:-1]))
        return f"{field}: unknown field; {_nearest(str(detail['loc'][-1]), known)}allowed: {', '.join(sorted(known))}."
    if detail["type"] == "missing":
        return f"{field}: missing, and it has no default."
    message = detail["msg"].removeprefix("Value error, ")
    said = f"{field}: {detail['input']!r} is not allowed: {message[:1].lower()}{message[1:]}"
    if detail["type"] == "literal_error":
        allowed = str(detail.get("ctx", {}).get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        return f"{said}. {_nearest(str(detail['input']), allowed)}".rstrip()
    return f"{said}."


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def _fields_at(location: tuple[int | str, ...]) -> Iterable[str]:
    model: type[BaseModel] = ModelConfig
    for part in location:
        found = next((f for name, f in model.model_fields.items() if part in {name, f.alias}), None)
        inner: Any = found.annotation if found else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ()
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]
