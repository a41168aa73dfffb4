"""A Sphinx extension: sections of the configuration are described by their keys, types, limits and defaults.

Pydantic's signatures repeat all limits as Python objects; a list of keys reads better.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx

LIMITS = {
    "gt": "above {}",
    "ge": "at least {}",
    "lt": "below {}",
    "le": "at most {}",
    "multiple_of": "a multiple of {}",
    "min_length": "{} or more",
}


def is_section(kind: str, thing: object) -> bool:
    """Whether autodoc is at a section of the configuration."""
    return kind == "class" and isinstance(thing, type) and issubclass(thing, BaseModel)


def key_line(section: type[BaseModel], name: str, field: FieldInfo) -> str:
    """One key as an item of a list in reStructuredText."""
    annotations = [
        c.__annotations__[name] for c in section.__mro__ if name in vars(c).get("__annotations__", {})
    ]
    limits = [
        words.format(f"{getattr(rule, key):g}")
        for rule in field.metadata
        for key, words in LIMITS.items()
        if getattr(rule, key, None) is not None
    ]
    parts = [f"``{annotations[0]}``", *limits]
    default = field.default
    if isinstance(default, BaseModel):
        parts.append("by default with the defaults of its keys")
    elif default is not PydanticUndefined:
        parts.append(f"default ``{default!r}``")
    return f"- **{name}**: {', '.join(parts)}"


def list_keys(app: Sphinx, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Append the list of keys to the docstring of a section."""
    if is_section(kind, thing):
        lines += ["", *(key_line(thing, key, field) for key, field in thing.model_fields.items()), ""]


def drop_signature(app: Sphinx, kind: str, name: str, thing: Any, *rest: Any) -> tuple[str, None] | None:
    """No signature for a section."""
    return ("", None) if is_section(kind, thing) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", list_keys)
    app.connect("autodoc-process-signature", drop_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
