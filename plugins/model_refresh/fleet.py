"""Reads the fleet: every model's file, each on its own, so that a wrong one never takes another's DAGs away."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

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


def load_fleet(*folders: Path, namespace: str | None = None) -> Fleet:
    """Read every ``*.yaml`` and ``*.yml`` of some folders.

    A folder that does not exist is an error, not an empty fleet: a wrong mount must not look like
    "all models were removed".

    Args:
        folders: where the files lie.
        namespace: where models live that name no namespace themselves.
    """
    models: dict[str, ModelConfig] = {}
    errors = [
        ConfigError(f"{folder} is not a folder: it should hold a YAML file a model.")
        for folder in folders
        if not folder.is_dir()
    ]
    served: dict[tuple[str | None, str], str] = {}
    for file in [file for folder in folders for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])]:
        try:
            model = load_model(file)
        except ConfigError as error:
            errors.append(error)
            continue
        if model.name in models:
            errors.append(ConfigError(f"{file}: another file already describes model {model.name!r}."))
            continue
        # Two models that switch one Deployment would each take the other's release for a stranger's change.
        owner = served.setdefault((model.namespace or namespace, model.deployment), model.name)
        if owner != model.name:
            errors.append(
                ConfigError(f"{file}:\n  deployment: {model.deployment!r} already serves model {owner!r}; use another.")
            )
            continue
        models[model.name] = model
    return Fleet(models, tuple(errors))


def load_model(file: Path) -> ModelConfig:
    """Read one model's file.

    Raises:
        ConfigError: naming file, field, value, what is allowed and the nearest right spelling.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - it is a SafeLoader
    # PyYAML lets a date that is none, or endless nesting, out as Python's own error.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    try:
        model = ModelConfig.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(detail)}" for detail in error.errors())
        raise ConfigError(f"{file}:\n{problems}") from error
    if model.name != file.stem:
        raise ConfigError(f"{file}:\n  name: is {model.name!r}, but the file is called {file.stem!r}; make them equal.")
    return model


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which PyYAML would take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


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
        if isinstance(part, int):
            continue
        found = next((f for name, f in model.model_fields.items() if part in {name, f.alias}), None)
        inner = _model_in(found.annotation) if found else None
        if inner is None:
            return ()
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of a field, or of the items of a field that is a list of them."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
