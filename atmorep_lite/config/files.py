"""Configurations in files: presets, overrides as ``key=value``, and what is wrong, in one sentence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from atmorep_lite.config.base import Strict
from atmorep_lite.config.model import ModelConfig
from atmorep_lite.config.run import Config
from atmorep_lite.errors import UserError

PRESETS = Path(__file__).parents[1] / "configs"
_Kind = TypeVar("_Kind", bound=Strict)


def load_config(source: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """Read a preset (``"demo"``) or a YAML file, apply ``key.subkey=value`` overrides and validate.

    Raises
    ------
    UserError
        Unknown preset or file, unknown key, wrong value: one sentence that names it.
    """
    path = Path(source)
    if not path.suffix and not path.is_file():
        path = PRESETS / f"{source}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))
        raise UserError(
            f"there is no configuration {str(source)!r}; give a YAML file or one of the presets {known}"
        )
    try:
        tree = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold a mapping with the keys data, model and training")
    for override in overrides:
        _apply(tree, override)
    return parse_config(tree, str(path))


def parse_config(tree: dict[str, Any], origin: str = "the configuration") -> Config:
    """Validate a nested dictionary; see :func:`load_config`."""
    return _validated(Config, tree, origin)


def parse_model_config(tree: dict[str, Any], origin: str = "the configuration") -> ModelConfig:
    """Validate the part ``model`` of a configuration alone."""
    return _validated(ModelConfig, tree, origin)


def _validated(kind: type[_Kind], tree: dict[str, Any], origin: str) -> _Kind:
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{origin}: {first_problem(error)}") from error


def dump_config(config: BaseModel) -> str:
    """The configuration as YAML text that :func:`load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_none=True), sort_keys=False)


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"{override!r} is not an override; write key=value, for example training.seed=1")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"override {override!r}: {text!r} is not a YAML value; check its brackets") from error
    *parents, last = key.split(".")
    node: Any = tree
    for parent in parents:
        node = node[_entry(node, parent, override)] if isinstance(node, list) else node.setdefault(parent, {})
        if not isinstance(node, dict | list):
            raise UserError(f"override {override!r}: {parent} holds a single value, not a section")
    node[_entry(node, last, override) if isinstance(node, list) else last] = value


def _entry(node: list[Any], name: str, override: str) -> int:
    if not name.isdecimal() or int(name) >= len(node):
        raise UserError(f"override {override!r}: {name} is not an entry of the list, 0 to {len(node) - 1}")
    return int(name)


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, in words: which key, what it holds, what was expected."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"]) or "it"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {place}; check its spelling or remove it"
    if problem["type"] == "missing":
        return f"the key {place} is missing; add it"
    message = problem["msg"].removeprefix("Value error, ")
    given = repr(problem.get("input"))
    if len(given) > 60 or problem["type"] == "value_error":
        return f"{place}: {message}"
    return f"{place} is {given}, but {message[0].lower()}{message[1:]}"
