"""The scenes of LiveVortices, and what a vortex in a scene may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from atmorep_lite.errors import UserError
from atmorep_lite.widgets.explorer import Between

SIDE = 2 * math.pi
VORTEX = {
    "y": Between(0, SIDE),
    "x": Between(0, SIDE),
    "radius": Between(0.15, 1.5),
    "strength": Between(-20, 20),
    "eccentricity": Between(0, 0.97),
    "angle": Between(-SIDE, SIDE),
}
_ROUND = {"radius": 0.45, "eccentricity": 0.0, "angle": 0.0}
Vortex = Mapping[str, float]

SCENES: tuple[dict[str, Any], ...] = (
    {
        "name": "pair",
        "text": "Two vortices that turn the same way carry each other around; a third makes the sum zero.",
        "vortices": (
            {"y": 3.14, "x": 2.14, "strength": 3.0},
            {"y": 3.14, "x": 4.14, "strength": 3.0},
            {"y": 0.5, "x": 0.5, "strength": -3.0, "radius": 0.6},
        ),
    },
    {
        "name": "dipole",
        "text": "Two vortices that turn opposite ways carry each other along a straight line.",
        "vortices": (
            {"y": 2.69, "x": 1.2, "strength": -3.5, "radius": 0.4},
            {"y": 3.59, "x": 1.2, "strength": 3.5, "radius": 0.4},
        ),
    },
    {
        "name": "merging",
        "text": "Two like vortices, close enough to become one and to shed filaments.",
        "vortices": (
            {"y": 3.14, "x": 2.59, "strength": 3.5, "radius": 0.4},
            {"y": 3.14, "x": 3.69, "strength": 3.5, "radius": 0.4},
        ),
    },
    {
        "name": "lone",
        "text": "One long vortex, which turns. What is missing to the sum of zero is spread over the square.",
        "vortices": ({"y": 3.14, "x": 3.14, "strength": 3.0, "radius": 0.5, "eccentricity": 0.8},),
    },
    {
        "name": "many",
        "text": "Six vortices of random place and shape, as in the training.",
        "vortices": (
            {"y": 1.1, "x": 1.3, "strength": 2.6, "radius": 0.5, "eccentricity": 0.7, "angle": 0.6},
            {"y": 4.9, "x": 1.0, "strength": -2.9, "radius": 0.45, "eccentricity": 0.5, "angle": 2.0},
            {"y": 3.0, "x": 2.4, "strength": 2.2, "radius": 0.4, "eccentricity": 0.3, "angle": 0.0},
            {"y": 1.7, "x": 4.1, "strength": -3.2, "radius": 0.38, "eccentricity": 0.8, "angle": 1.2},
            {"y": 4.3, "x": 4.6, "strength": 3.1, "radius": 0.48, "eccentricity": 0.6, "angle": 2.6},
            {"y": 5.4, "x": 3.2, "strength": -2.4, "radius": 0.55, "eccentricity": 0.4, "angle": 0.3},
        ),
    },
    {
        "name": "too strong",
        "text": "The dipole with vortices twice as strong: it goes twice as far in a step.",
        "vortices": (
            {"y": 2.69, "x": 1.2, "strength": -7.0, "radius": 0.4},
            {"y": 3.59, "x": 1.2, "strength": 7.0, "radius": 0.4},
        ),
    },
)
"""The scenes to start from: a name, what happens in it, and its vortices."""


def token_at(vortices: Sequence[Vortex], rows: int, columns: int) -> int:
    """The token in which the first vortex lies."""
    if not vortices:
        return 0
    y, x = (int(vortices[0][axis] / SIDE * n) % n for axis, n in (("y", rows), ("x", columns)))
    return y * columns + x


def check_scene(scene: Mapping[str, Any]) -> dict[str, Any]:
    """A scene with all entries of its vortices; `UserError` for what it cannot be."""
    if not isinstance(scene, Mapping):
        raise UserError(f"A scene is {scene!r}; give a dictionary with name, text and vortices.")
    missing = {"name", "text", "vortices"} - set(scene)
    if missing:
        raise UserError(f"A scene lacks {sorted(missing)}: give name, text and vortices.")
    if not isinstance(scene["vortices"], list | tuple):
        raise UserError(f"The vortices of a scene are {scene['vortices']!r}; give a list of dictionaries.")
    vortices = [check_vortex(vortex) for vortex in scene["vortices"]]
    return {"name": str(scene["name"]), "text": str(scene["text"]), "vortices": vortices}


def check_vortex(vortex: Vortex) -> dict[str, float]:
    """A vortex with all its entries as numbers; `UserError` for what it cannot be."""
    if not isinstance(vortex, Mapping):
        raise UserError(f"A vortex is {vortex!r}; give a dictionary with y, x and strength.")
    full = {**_ROUND, **vortex}
    if set(full) != set(VORTEX):
        raise UserError(
            f"A vortex has the entries {sorted(vortex)}; expected y, x, strength, {', '.join(_ROUND)}."
        )
    for name, value in full.items():
        if value not in VORTEX[name]:
            raise UserError(f"The {name} of a vortex is {value!r}: choose {VORTEX[name]}.")
    return {name: float(full[name]) for name in VORTEX}
