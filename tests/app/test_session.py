"""A session without a page: what it refuses, and what it lets go."""

from __future__ import annotations

from typing import Any

import pytest
from ipywidgets.widgets.widget import _instances

from atmorep_lite.app.scenes import Scene
from atmorep_lite.app.session import Session
from atmorep_lite.widgets import AttentionExplorer

SCENE = Scene(name="one", text="", data="sample", model="demo", time="2010-01-21T12:00")


@pytest.fixture
def session() -> Session:
    return Session([SCENE])


def choose(session: Session, **entries: Any) -> None:
    asked = session.stage_map.selected["asked"] + 1
    session.stage_map.selected = session.stage_map.selected | entries | {"asked": asked}


@pytest.mark.parametrize(
    ("entry", "wrong", "words"), [("member", 99, "no member 99"), ("hours", 7.5, "no state at 7.5")]
)
def test_what_the_model_lacks_is_told_and_the_picture_stays(
    session: Session, entry: str, wrong: float, words: str
) -> None:
    before = session.stage_map.selected[entry]
    choose(session, **{entry: wrong})
    assert words in session.stage_map.answer["fault"]
    assert session.stage_map.selected[entry] == before
    choose(session, view="maps")
    assert session.stage_map.answer["fault"] == ""


def test_explorers_that_were_sent_are_let_go(session: Session) -> None:
    def explorers() -> int:
        return sum(isinstance(widget, AttentionExplorer) for widget in _instances.values())

    before = explorers()
    for time in ("2010-01-21T12:00", "2010-01-21T15:00"):
        choose(session, view="attention", time=time)
        assert session.stage_map.answer["fault"] == ""
    assert session.stage_map.guest["number"] == 2
    assert explorers() == before
