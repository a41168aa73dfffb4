"""One lecturer's session: hears what the page wants, asks the model, sends what comes back.

Knows no Panel: it drives a :class:`~atmorep_lite.widgets.stage_map.StageMap`, whoever shows that. Whatever
goes wrong becomes one sentence on the page, and the last good picture stays.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from atmorep_lite.app.attention import Look, explore, release
from atmorep_lite.app.compute import Answer, answer
from atmorep_lite.app.reading import problem_words
from atmorep_lite.app.scenes import CARDS, Scene, check_hours, check_member, field_of
from atmorep_lite.app.sending import as_scene, as_sent
from atmorep_lite.data.samples import SAMPLES, sample_path
from atmorep_lite.errors import UserError
from atmorep_lite.widgets.stage_map import StageMap

_log = logging.getLogger(__name__)
_ASKED = ("data", "model", "time", "latitude", "longitude", "task", "hide", "field")


class Session:
    """What one page shows.

    Parameters
    ----------
    scenes
        Checked scenes (:func:`~atmorep_lite.app.scenes.load_scenes`).
    fills
        Whether it fills the browser's window, and its keys work everywhere on the page.

    Attributes
    ----------
    stage_map : StageMap
        What draws it.
    """

    def __init__(self, scenes: Sequence[Scene], *, fills: bool = False) -> None:
        self.scenes = list(scenes)
        self._number = self._turn = 0
        self._last: dict[str, Any] = {}
        self._looked: tuple[Answer, Look] | None = None
        first = as_state(self.scenes[0], 0)
        self.stage_map = StageMap(
            {
                "scenes": [{"name": scene.name, "text": scene.text} for scene in self.scenes],
                "data": known_data(scene.data for scene in self.scenes),
                "models": sorted({"demo", *(scene.model for scene in self.scenes)}),
                "cards": list(CARDS),
                "fills": fills,
            },
            first,
        )
        self._show(first)
        self.stage_map.observe(self._asked, "selected")

    def _asked(self, change: Mapping[str, Any]) -> None:
        """The page wants to see something else."""
        wanted = dict(change["new"])
        if wanted == self._last:
            return
        try:
            if any(wanted[key] != self._last[key] for key in ("scene", "visit")):
                number = min(max(int(wanted["scene"]), 0), len(self.scenes) - 1)
                counts = {key: wanted[key] for key in ("visit", "asked")}
                wanted = as_state(self.scenes[number], number) | counts
            self._show(wanted)
        except UserError as error:
            self._regret(str(error), wanted)
        except Exception as error:  # whatever it is: the class sees a sentence
            _log.debug("a question failed", exc_info=True)
            words = f"This could not be shown ({type(error).__name__}); the picture is the one before."
            self._regret(words, wanted)

    def _show(self, wanted: dict[str, Any]) -> None:
        """Ask, and send what comes back; raises before anything has changed on the page."""
        scene = _as_scene(wanted, self.scenes)
        stage = scene.stage()
        if self._last and wanted["model"] != self._last["model"]:  # which may have other members and hours
            hours = min(stage.hours, key=lambda hour: abs(hour - scene.hours))
            wanted |= {"member": "mean", "hours": hours}
            scene = _as_scene(wanted, self.scenes)
        check_hours(scene, stage)
        check_member(scene, stage)
        given = answer(stage, scene.question())
        name, level = field_of(scene)
        wanted |= {"field": name, "level": level, "time": given.question.time[:16]}
        explorer = None
        if wanted["view"] == "attention":
            look = scene.attention or Look(field=name, level=level)
            if self._looked is None or self._looked != (given, look):
                explorer = explore(given, look)
                self._looked = (given, look)
        last, self._last = self._last, wanted
        if explorer is not None:
            self.stage_map.send_guest(explorer)
            release(explorer)
        self._turn += 1
        scene_text = as_scene(_scene_keys(wanted, self.scenes))
        told = {"turn": self._turn, "fault": "", "scene": scene_text, "stands": wanted}
        if not last or any(last[key] != wanted[key] for key in _ASKED):
            self._number += 1
            sent, numbers = as_sent(given, name, self._number)
            self.stage_map.send_answer(sent | told, numbers)
        else:
            self.stage_map.answer = {**self.stage_map.answer, **told}
        if wanted != self.stage_map.selected:
            self.stage_map.selected = wanted

    def _regret(self, words: str, wanted: Mapping[str, Any]) -> None:
        """Say what is wrong; what the page shows stays, and so do its controls."""
        self._turn += 1
        counts = {key: wanted.get(key, self._last[key]) for key in ("visit", "asked")}
        self._last = self._last | counts
        told = {"turn": self._turn, "fault": words, "stands": self._last}
        self.stage_map.answer = {**self.stage_map.answer, **told}
        self.stage_map.selected = dict(self._last)


def as_state(scene: Scene, number: int) -> dict[str, Any]:
    """A scene as what the page selects."""
    state = scene.model_dump(mode="json", exclude={"name", "text", "hide"})
    state["hide"] = [stroke.model_dump(mode="json", exclude_defaults=True) for stroke in scene.hide]
    name, level = field_of(scene)
    state |= {"field": name, "level": level, "time": scene.question().time[:16], "scene": number}
    state["visit"] = 0  # counts up where a scene is shown afresh
    state["asked"] = 0  # counts the page's choices: of an old one's echo the page takes nothing over
    state["view"] = "maps" if scene.attention is None else "attention"
    state["brush"] = {"levels": "all", "hours": "this", "fields": "all"}
    return state


def known_data(named: Any) -> list[str]:
    """Records that the page offers: the shipped ones that are there, and those of the scenes."""
    found = []
    for name in SAMPLES:
        try:
            sample_path(name)
        except UserError:
            continue
        found.append(name)
    return list(dict.fromkeys([*found, *named]))


def _as_scene(state: Mapping[str, Any], scenes: Sequence[Scene]) -> Scene:
    """The page's state as a scene, checked like one."""
    try:
        return Scene.model_validate(_scene_keys(state, scenes))
    except ValidationError as error:
        raise UserError(problem_words(error, Scene)) from error


def _scene_keys(state: Mapping[str, Any], scenes: Sequence[Scene]) -> dict[str, Any]:
    own = {key: value for key, value in state.items() if key in Scene.model_fields}
    return {"name": scenes[state["scene"]].name, "text": scenes[state["scene"]].text} | own
