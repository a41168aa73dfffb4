"""Finding parameters and layers of a model by their names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

from atmorep_lite.errors import UserError


def of_field(name: str, fields: Collection[str]) -> bool:
    """Whether a parameter or layer belongs to one of the fields' own transformers."""
    part, _, rest = name.partition(".")
    return part in ("embeddings", "encoders", "decoders", "tails") and rest.partition(".")[0] in fields


def matching(patterns: Iterable[str], names: Iterable[str], *, key: str, what: str) -> set[str]:
    """The names that match a pattern such as ``encoders.*``, in which ``*`` stands for dots too.

    Raises
    ------
    UserError
        If a pattern matches none; names that resemble it are listed.
    """
    names = set(names)
    found: set[str] = set()
    for pattern in patterns:
        matches = {name for name in names if fnmatchcase(name, pattern)}
        if not matches:
            near = get_close_matches(
                pattern.replace("*", ""), sorted(names | _groups(names)), n=3, cutoff=0.4
            )
            hint = f", as {', '.join(near)}" if near else ""
            raise UserError(
                f"{key}: {pattern!r} matches no {what} of the model; give names with * for any part{hint}"
            )
        found |= matches
    return found


def _groups(names: Collection[str]) -> set[str]:
    """``encoders.*``, ``encoders.temperature.*``, ... for all beginnings of the names."""
    parts = [name.split(".") for name in names]
    return {".".join(p[:n]) + ".*" for p in parts for n in range(1, len(p))}
