"""Scenes: the shipped ones work; every mistake in a file is told, with its scene, in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from atmorep_lite.app.scenes import SHIPPED, load_scenes
from atmorep_lite.errors import UserError


def written(folder: Path, text: str) -> Path:
    path = folder / "scenes.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        load_scenes(written(folder, text))
    return str(caught.value)


def test_the_shipped_scenes_work_and_fit_on_the_screen() -> None:
    scenes = load_scenes()
    assert 6 <= len(scenes) <= 8
    assert len({scene.name for scene in scenes}) == len(scenes)
    for scene in scenes:
        assert len(scene.name) <= 40 and 20 < len(scene.text) <= 145, scene.name
    assert any(scene.attention for scene in scenes)
    assert {scene.task for scene in scenes} >= {"forecast", "fill"}


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        ("{name: A, feild: temperature}", "unknown key feild; did you mean field?"),
        ("{name: A, hide: [{aria: {north: 1}}]}", "unknown key hide.0.aria; did you mean area"),
        ("{name: A, task: guess}", "task is 'guess'"),
        ("{text: no name}", "the key name is missing"),
        ("{name: A, time: 2011-01-01}", "no window of 12 states around 2011-01-01T00:00"),
        ("{name: A, time: yesterday}", "'yesterday' is not a date"),
        ("{name: A, field: ozone}", "has no field 'ozone'; it has vorticity"),
        ("{name: A, field: geopotential}", "has no field 'geopotential'"),
        ("{name: A, field: temperature, level: 300}", "temperature has no level 300"),
        ("{name: A, hours: 5}", "no state at 5 hours; choose one of -9, -6"),
        ("{name: A, member: 9}", "no member 9; choose 1 to 8"),
        ("{name: A, cards: [truth, lies]}", "cards.1 is 'lies'"),
        ("{name: A, hide: [{fields: geopotential}]}", "has no field 'geopotential'"),
        ("{name: A, hide: [{levels: 300}]}", "300 hPa is no level"),
        ("{name: A, hide: [{hours: 48}]}", "the hour 48 lies outside"),
        ("{name: A, hide: [{area: {north: 0, south: 9, west: 0, east: 9}}]}", "must lie below its north"),
        ("{name: A, task: fill}", "nothing is hidden"),
        ("{name: A, task: fill, hide: [{}]}", "everything is hidden"),
        ("{name: A, attention: {layer: 7}}", "layer"),
        ("{name: A, attention: {hours: 99}}", "99 hours lie outside"),
        ("{name: A, data: nowhere.zarr}", "nowhere.zarr"),
        ("{name: A, model: nobody}", "no model 'nobody'"),
        ("just words", "it should be a section of keys"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path: Path, scene: str, words: str) -> None:
    said = complaint(tmp_path, f"scenes:\n- {scene}\n")
    first, *lines = said.splitlines()
    assert first.endswith("scenes.yaml cannot be shown:")
    assert len(lines) == 1 and lines[0].startswith("- scene 1"), said
    assert words in lines[0]


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    said = complaint(
        tmp_path,
        "common: {levle: 500}\nscenes:\n"
        "- {name: A, feild: temperature, level: x, time: 2011-01-01}\n"
        "- {name: B}\n"
        "- {name: C, hours: 5, hide: [{fields: ozone}, {levels: 1}]}\n",
    )
    lines = said.splitlines()[1:]
    assert [line.split(":")[0] for line in lines] == [
        *["- scene 1 (A)"] * 4, "- scene 2 (B)", *["- scene 3 (C)"] * 4,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scenes: [", "is not valid YAML"),
        ("- name: A", "must hold the key scenes"),
        ("scenes: []", "must hold the key scenes"),
        ("scenes: [{name: A}]\nscene: []", "has the unknown key scene"),
        ("scenes: [{name: A}]\ncommon: [1]", "common should be a section"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    said = complaint(tmp_path, text)
    assert words in said and "\n" not in said


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file of scenes"):
        load_scenes(tmp_path / "none.yaml")


def test_common_keys_are_shared_and_dates_may_be_of_any_kind(tmp_path: Path) -> None:
    first, second = load_scenes(
        written(
            tmp_path,
            "common: {time: 2010-01-21T12:00:00, field: t, level: 500}\n"
            "scenes: [{name: A}, {name: B, time: 2010-01-22, level: 850}]",
        )
    )
    assert first.question().time.startswith("2010-01-21T12:00")
    assert second.question().time.startswith("2010-01-22T00:00")
    assert (first.level, second.level) == (500, 850)


def test_the_shipped_file_is_where_the_help_says() -> None:
    assert "--scenes mine.yaml" in SHIPPED.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", ["atmorep_lite.cli", "atmorep_lite.app.scenes"])
def test_panel_is_imported_only_where_it_is_used(module: str) -> None:
    source = f"import sys, {module}; print('panel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "False", done.stderr
