"""Scenes: what a lecturer prepares, in a small YAML file, and what is wrong with it before the class sees it.

A file holds ``scenes``, a list, and may hold ``common``, keys that all of them share::

    common: {data: sample, model: demo, time: 2010-01-21T12:00}
    scenes:
      - name: The question
        text: Tomorrow is hidden. What comes back?
        field: vorticity
        hide: [{fields: temperature, area: {north: 60, south: 30, west: -60, east: 0}}]
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from atmorep_lite.app.attention import Look, explore, release
from atmorep_lite.app.compute import Question, answer
from atmorep_lite.app.hiding import Stroke, Task, check, check_field, series
from atmorep_lite.app.reading import OnceLoader, as_text, problem_words
from atmorep_lite.app.stage import Stage, open_stage
from atmorep_lite.config.base import Strict
from atmorep_lite.errors import UserError

LONG_NAME, LONG_TEXT = 60, 160  # characters
SHIPPED = Path(__file__).with_name("scenes.yaml")
Card = Literal[
    "seen", "prediction", "truth", "error", "spread", "held", "held_error", "convolution", "members"
]  # fmt: skip
CARDS: tuple[Card, ...] = get_args(Card)
_FIRST_CARDS: tuple[Card, ...] = ("seen", "prediction", "truth", "error")


class Scene(Strict):
    """One view of one question, with a title and a sentence for the class.

    Attributes
    ----------
    name, text
        Title and sentence.
    data, model
        As the command line takes them.
    time
        The last state that a forecast sees; the first one that the data allow if left out.
    latitude, longitude
        Centre of the map.
    task, hide
        What is hidden: a task, and strokes over it.
    field, level, hours
        What is shown: a field, a level in hPa (its last if left out), hours from ``time``.
    cards
        One to four of "seen", "prediction", "truth", "error", "spread", "held" (without a model),
        "held_error", "convolution" and "members".
    member
        Which member "prediction" shows, from 1, or "mean".
    attention
        Opens the attention explorer on a token.
    """

    name: Annotated[str, Field(min_length=1)]
    text: str = ""
    data: str = "sample"
    model: str = "demo"
    time: Annotated[str | None, BeforeValidator(as_text)] = None
    latitude: Annotated[float, Field(ge=-90, le=90)] = 45.0
    longitude: Annotated[float, Field(ge=-180, le=360)] = 320.0
    task: Task = "forecast"
    hide: tuple[Stroke, ...] = ()
    field: str | None = None
    level: int | None = None
    hours: float = 24.0
    cards: Annotated[tuple[Card, ...], Field(min_length=1, max_length=4)] = _FIRST_CARDS
    member: Annotated[int, Field(ge=1)] | Literal["mean"] = "mean"
    attention: Look | None = None

    def stage(self) -> Stage:
        """Its record and model."""
        return open_stage(self.data, self.model)

    def question(self) -> Question:
        """What it asks the model."""
        time = self.stage().times[0] if self.time is None else self.stage().at(self.time)
        return Question(str(time), self.latitude, self.longitude, self.task, self.hide)


@dataclass(frozen=True)
class _Problems:
    """What is wrong, by scene."""

    found: list[str]

    def add(self, scene: str, words: str) -> None:
        self.found.append(f"scene {scene}: {words}")


def load_scenes(path: str | os.PathLike[str] = SHIPPED) -> list[Scene]:
    """Read a file of scenes and try every one of them, so that none fails before the class.

    Raises
    ------
    UserError
        If the file cannot be read, or with one sentence for every mistake in it.
    """
    source = Path(path)
    tree = _tree(source)
    problems = _Problems([])
    common = tree.get("common") or {}
    scenes = []
    for number, own in enumerate(tree["scenes"], 1):
        if not isinstance(own, dict):
            problems.add(str(number), "it should be a section of keys, such as name: and text:")
            continue
        title = f"{number} ({own['name']})" if isinstance(own.get("name"), str) else str(number)
        before = len(problems.found)
        scene = _parsed({**common, **own}, title, problems)
        if scene is not None:
            for words in faults(scene, rehearse=len(problems.found) == before):
                problems.add(title, words)
            scenes.append(scene)
    if problems.found:
        listed = "\n".join(f"- {words}" for words in problems.found)
        raise UserError(f"{source} cannot be shown:\n{listed}")
    return scenes


def faults(scene: Scene, *, rehearse: bool = True) -> list[str]:
    """What is wrong with a scene, in sentences: what it names; if that is right, what becomes of it."""
    try:
        stage = scene.stage()
    except UserError as error:
        return [str(error)]
    tries: list[Callable[[], object]] = [
        scene.question,
        partial(field_of, scene),
        partial(check_hours, scene, stage),
        partial(check_member, scene, stage),
        *(partial(check, stage, stroke) for stroke in scene.hide),
    ]
    return _failures(tries) or (_failures([partial(_rehearse, scene, stage)]) if rehearse else [])


def field_of(scene: Scene) -> tuple[str, int]:
    """The field and the level that a scene shows.

    Raises
    ------
    UserError
        If the model has no such field, or the field no such level.
    """
    stage = scene.stage()
    name = check_field(stage, scene.field) if scene.field else stage.network.predicted[0]
    levels = stage.network.config.field(name).levels
    level = levels[-1] if scene.level is None else scene.level
    if level not in levels:
        raise UserError(
            f"{name} has no level {level} in the model {scene.model!r}; choose one of {series(levels)}"
        )
    return name, level


def check_hours(scene: Scene, stage: Stage) -> None:
    """Raise `UserError` unless the data have a state at the scene's hour."""
    if scene.hours not in stage.hours:
        raise UserError(
            f"there is no state at {scene.hours:g} hours; choose one of "
            f"{series(f'{hour:g}' for hour in stage.hours)}"
        )


def check_member(scene: Scene, stage: Stage) -> None:
    """Raise `UserError` unless the model has the scene's member."""
    members = stage.network.config.members
    if scene.member != "mean" and scene.member > members:
        raise UserError(f"there is no member {scene.member}; choose 1 to {members}, or mean")


def _rehearse(scene: Scene, stage: Stage) -> None:
    given = answer(stage, scene.question())
    given.shown(field_of(scene)[0])
    if scene.hide and not given.asks:
        raise UserError("nothing is hidden on this map, so there is nothing to predict: mend or remove hide")
    if scene.attention is not None:
        release(explore(given, scene.attention))


def _failures(tries: Sequence[Callable[[], object]]) -> list[str]:
    found = []
    for attempt in tries:
        try:
            attempt()
        except UserError as error:
            found.append(str(error))
    return found


def long_words(scenes: Sequence[Scene]) -> list[str]:
    """What will hardly fit on the screen, in sentences."""
    found = []
    for number, scene in enumerate(scenes, 1):
        for key, words, most in (("name", scene.name, LONG_NAME), ("text", scene.text, LONG_TEXT)):
            if len(words) > most:
                long = f"{key} has {len(words)} characters"
                found.append(f"scene {number}: {long}; more than {most} hardly fit on the screen")
    return found


def _tree(source: Path) -> dict[str, Any]:
    """The file as nested dictionaries, with a list of scenes that is not empty."""
    if not source.is_file():
        raise UserError(f"there is no file of scenes {str(source)!r}; check its name")
    try:
        tree = yaml.load(source.read_text(encoding="utf-8"), OnceLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split()).replace('in "<unicode string>", line', "at line")
        raise UserError(f"{source} is not valid YAML: {words}") from error
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("scenes"), list) or not tree["scenes"]:
        raise UserError(f"{source} must hold the key scenes, a list of them, and may hold the key common")
    if unknown := sorted(str(key) for key in set(tree) - {"common", "scenes"}):
        raise UserError(f"{source} has the unknown key {unknown[0]}; only common and scenes stand at its top")
    if not isinstance(tree.get("common") or {}, dict):
        raise UserError(f"{source}: common should be a section of keys, {{key: value, ...}}")
    return tree


def _parsed(tree: dict[str, Any], title: str, problems: _Problems) -> Scene | None:
    """The scene without what is no key or value of one, which is told; None where too little is left."""
    tree = copy.deepcopy(tree)
    while True:
        try:
            return Scene.model_validate(tree)
        except ValidationError as error:
            first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
            problems.add(title, problem_words(error, Scene))
            if first["loc"] == ("name",) and "name" in tree:
                tree["name"] = title
            elif not _leave_out(tree, first["loc"]):
                return None


def _leave_out(tree: Any, place: Sequence[str | int]) -> bool:
    """Remove the innermost entry of a nested tree that a place names; False if there is none."""
    for depth in range(len(place), 0, -1):
        node = tree
        try:
            for part in place[: depth - 1]:
                node = node[part]
            del node[place[depth - 1]]
        except (KeyError, IndexError, TypeError):
            continue
        return True
    return False
