"""Reading a file of scenes: dates and doubled keys of YAML, and what is wrong with a scene, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from atmorep_lite.config.files import first_problem
from atmorep_lite.errors import UserError

# Keys that hold a number, from the one that stands here, or the word "mean".
_NUMBER_OR_MEAN = {("member",): 1, ("attention", "head"): 0, ("attention", "coupling_head"): 0}


class OnceLoader(yaml.SafeLoader):
    """Reads YAML; a key that stands twice in one section is a mistake; YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The section as a dictionary; `UserError` where a key stands twice."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise UserError(f"the key {key.value} stands twice, again in line {line}; remove one")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def as_text(value: Any) -> Any:
    """A date of any kind as text, in UTC where it names a zone; YAML reads some dates on its own.

    Raises
    ------
    ValueError
        For a number, as which YAML reads 12:00 and 2010.
    """
    if isinstance(value, int | float):
        raise ValueError(
            f"YAML reads this as the number {value:g}; write day and hour in quotes, such as "
            '"2010-01-21T12:00"'
        )
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return value
        value = found if found.tzinfo is not None else value
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return value.isoformat() if isinstance(value, date) else value


def problem_words(error: ValidationError, kind: type[BaseModel]) -> str:
    """The first thing that is wrong with what should be ``kind``; entries of lists are counted from 1."""
    problem = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    place = problem["loc"]
    for key, least in _NUMBER_OR_MEAN.items():
        if place[: len(key)] == key:
            return (
                f"{'.'.join(key)} is {problem['input']!r}, but it should be a whole number, {least} or more, "
                "or mean"
            )
    match problem["type"]:
        case "too_long":
            most, given = problem["ctx"]["max_length"], problem["ctx"]["actual_length"]
            return f"{_spoken(place)} has {given} entries, but no more than {most} fit"
        case "too_short":
            return f"{_spoken(place)} is empty; give at least one entry, or remove the key"
        case "invalid_key":
            return f"the key {place[-1]} is unknown; check its spelling or remove it"
    return first_problem(error, kind).replace(".".join(map(str, place)), _spoken(place), 1)


def _spoken(place: Sequence[str | int]) -> str:
    """A place in nested keys: "area.north of entry 1 of hide" for hide.0.area.north."""
    words, path = "", ""
    for part in place:
        if isinstance(part, int):
            words, path = f"entry {part + 1} of {path}{words}", ""
        else:
            path = f"{path}.{part}" if path else part
            if words and not words.startswith(" of "):
                words = f" of {words}"
    return f"{path}{words}"
