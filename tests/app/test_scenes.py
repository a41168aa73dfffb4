"""Scenes: the shipped ones work; every mistake in a file is told, with its scene, in one sentence."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from atmorep_lite.app.scenes import SHIPPED, Scene, load_scenes, long_words
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
        ("{name: A, hide: [{aria: {north: 1}}]}", "unknown key aria of entry 1 of hide; did you mean area"),
        ("{name: A, task: guess}", "task is 'guess'"),
        ("{text: no name}", "the key name is missing"),
        ("{name: A, time: 2011-01-01}", "no window of 12 states around 2011-01-01T00:00"),
        ("{name: A, time: yesterday}", "'yesterday' is not a date"),
        ("{name: A, field: ozone}", "has no field 'ozone'; it has vorticity"),
        ("{name: A, field: geopotential}", "has no field 'geopotential'"),
        ("{name: A, field: temperature, level: 300}", "temperature has no level 300"),
        ("{name: A, hours: 5}", "no state at 5 hours; choose one of -9, -6"),
        ("{name: A, member: 9}", "no member 9; choose 1 to 8"),
        ("{name: A, cards: [truth, lies]}", "entry 2 of cards is 'lies'"),
        ("{name: A, hide: [{fields: geopotential}]}", "has no field 'geopotential'"),
        ("{name: A, hide: [{levels: 300}]}", "300 hPa is no level"),
        ("{name: A, hide: [{hours: 48}]}", "the hour 48 lies outside"),
        ("{name: A, hide: [{area: {north: 0, south: 9, west: 0, east: 9}}]}", "must lie below its north"),
        ("{name: A, hide: [{show: true}], task: fill}", "nothing is hidden on this map"),
        ("{name: 2010}", "name is 2010, but it should be text"),
        ("{name: A, 1: b}", "the key 1 is unknown"),
        ("{name: A, cards: [seen, truth, seen, error, held]}", "cards has 5 entries, but no more than 4"),
        ("{name: A, member: 0}", "member is 0, but it should be a whole number, 1 or more, or mean"),
        ("{name: A, time: 12:00}", "YAML reads this as the number 720; write day and hour in quotes"),
        ("{name: A, attention: {latitude: -50}}", "lies off the map"),
        ("{name: A, model: vortices}", "is a model of another kind"),
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
        ("1: 2\nscenes: [{name: A}]\nfoo: 3", "has the unknown key 1"),
        ("scenes:\n- name: A\n  level: 500\n  level: 850", "the key level stands twice, again in line 4"),
        ("scenes:\n- name: A: b", "mapping values are not allowed here at line 2, column 10"),
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


@pytest.mark.parametrize("time", ["2010-01-21T13:00:00+01:00", "2010-01-21T12:00:00Z", "'2010-01-21T12:00Z'"])
def test_a_time_with_a_zone_is_converted(tmp_path: Path, time: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (scene,) = load_scenes(written(tmp_path, f"scenes: [{{name: A, time: {time}}}]"))
        assert scene.question().time.startswith("2010-01-21T12:00")


def test_long_words_are_told() -> None:
    assert long_words(load_scenes()) == []
    first, second = long_words([Scene(name="n" * 61, text="t" * 161)])
    assert "name has 61 characters" in first and "text has 161 characters" in second


def test_a_fill_scene_may_begin_with_nothing_hidden(tmp_path: Path) -> None:
    assert load_scenes(written(tmp_path, "scenes: [{name: A, task: fill}]"))[0].hide == ()


def test_the_shipped_file_is_where_the_help_says() -> None:
    assert "--scenes mine.yaml" in SHIPPED.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", ["atmorep_lite.cli", "atmorep_lite.app.scenes"])
def test_panel_is_imported_only_where_it_is_used(module: str) -> None:
    source = f"import sys, {module}; print('panel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "False", done.stderr
