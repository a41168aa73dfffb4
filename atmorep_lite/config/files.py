"""Configurations in files: presets, overrides as ``key=value``, and what is wrong, in one sentence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

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
    if (path / "config.yaml").is_file():  # the folder of a run or a model
        path = path / "config.yaml"
    if not path.suffix and not path.is_file():
        path = PRESETS / f"{source}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PRESETS.rglob("*.yaml")))
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
        apply_override(tree, override)
    return parse_config(tree, f"the preset {path.stem}" if path.parent == PRESETS else str(path))


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
        raise UserError(f"{origin}: {first_problem(error, kind)}") from error


def dump_config(config: BaseModel) -> str:
    """The configuration as YAML text that :func:`load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_none=True), sort_keys=False)


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Change a nested dictionary as ``key.subkey=value`` says; ``value`` is YAML, a list's entry a number.

    Raises
    ------
    UserError
        If it is no such text, or names an entry that is not there.
    """
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


_EXPECTED = {
    "model_type": "a section of keys, {key: value, ...}",
    "dict_type": "a section of keys, {key: value, ...}",
    "tuple_type": "a list in brackets, [...]",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
}


def first_problem(error: ValidationError, kind: type[BaseModel] | None = None) -> str:
    """The first thing that is wrong, in words: which key, what it holds, what was expected.

    ``kind``: what was to be made; unknown keys are then told with the known ones that resemble them.
    """
    problem = min(
        error.errors(), key=lambda each: each["type"] != "extra_forbidden"
    )  # a misspelling explains more
    place = ".".join(str(part) for part in problem["loc"]) or "it"
    if problem["type"] == "extra_forbidden":
        *section, key = problem["loc"]
        near = get_close_matches(str(key), _keys(kind, section), n=2, cutoff=0.5)
        meant = f"did you mean {' or '.join(near)}?" if near else "check its spelling or remove it"
        return f"unknown key {place}; {meant}"
    if problem["type"] == "missing":
        return f"the key {place} is missing; add it"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    if problem["type"] in _EXPECTED:
        message = f"it should be {_EXPECTED[problem['type']]}"
    given = repr(problem.get("input"))
    if len(given) > 60 or problem["type"] == "value_error":
        return f"{place}: {message}"
    return f"{place} is {given}, but {message[0].lower()}{message[1:]}"


def _keys(kind: Any, section: Sequence[int | str]) -> list[str]:
    """Names of the keys that a section of a configuration may have."""
    for part in section:
        if isinstance(part, str):
            kind = kind.model_fields[part].annotation if part in _fields(kind) else None
        while kind is not None and not _fields(
            kind
        ):  # a tuple of sections, or a section that may be left out
            inner = [each for each in get_args(kind) if each not in (Ellipsis, type(None))]
            kind = inner[0] if inner else None
    return list(_fields(kind))


def _fields(kind: Any) -> dict[str, Any]:
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}
