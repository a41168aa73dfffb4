"""Mistakes of those who make an attention explorer, or set its view: each is told in one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.errors import UserError
from atmorep_lite.widgets import AttentionExplorer


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"heads": 1}, "heads are 1, where a list"),
        ({"layers": 2}, "layers are 2, where a list"),
        ({"layers": [2.0]}, "whole numbers"),
        ({"fields": [1]}, "names were expected"),
        ({"scenes": "abc"}, "scenes are 'abc'"),
        ({"scenes": [3]}, "Scene 1 is 3"),
        ({"evidence": 5}, "evidence is int"),
        ({"references": {"r": 5}}, "reference 'r' is no capture"),
        ({"references": 5}, "references are int"),
        ({"ahead": "1"}, "ahead is '1'"),
        ({"title": 5}, "title is 5"),
    ],
)
def test_wrong_types_are_told(capture: AttentionCapture, options: dict, told: str) -> None:
    fault = AttentionExplorer(capture, **options).fault
    assert fault is not None and told in fault


def test_what_is_no_capture_is_told() -> None:
    assert "The capture is NoneType" in str(AttentionExplorer(None).fault)  # type: ignore[arg-type]


def test_indices_are_whole_numbers(capture: AttentionCapture) -> None:
    own = AttentionExplorer(capture)
    own.selected = {"layer": 1.0, "head": np.int64(0), "query": 5.0}
    assert [type(own.selected[name]) for name in ("layer", "head", "query")] == [int, int, int]
    for wrong in ({"layer": True}, {"query": True}, {"query": float("nan")}, {"arrows": 1}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            own.selected = wrong


@pytest.mark.parametrize("place", [{"latitude": 999}, {"latitude": float("nan")}, {"longitude": "east"}])
def test_tokens_lie_on_the_globe(explorer: AttentionExplorer, place: dict) -> None:
    with pytest.raises(UserError, match=next(iter(place))):
        explorer.token("temperature", **{"latitude": 0.0, "longitude": 0.0, **place})
