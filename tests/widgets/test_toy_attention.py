"""ToyAttention in Python: numbers against the library's attention, refused states, size of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atmorep_lite.attention import attend, attention_weights
from atmorep_lite.errors import UserError
from atmorep_lite.widgets import ToyAttention
from atmorep_lite.widgets.toy_attention import FORMS

KEYS = [[1.8, -0.6], [0.6, 1.9], [-1.7, 0.8], [-0.5, -1.8]]
VALUES = [[0.0, 2.0], [-2.0, 0.0], [0.0, -2.0], [2.0, 0.5]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_numbers_are_the_librarys(form: Any, temperature: float) -> None:
    toy = ToyAttention(
        query=[1.0, 0.5], keys=KEYS, values=VALUES, form=form, angle=35, temperature=temperature
    )
    query = torch.tensor([[1.0, 0.5]], dtype=torch.float64) @ torch.from_numpy(toy.matrix()) / temperature
    q, k, v = (torch.as_tensor(x, dtype=torch.float64)[None, None] for x in (query, KEYS, VALUES))
    assert np.allclose(toy.weights(), attention_weights(q, k)[0, 0, 0])
    assert np.allclose(toy.output(), attend(q, k, v)[0, 0, 0])
    toy.selected = {"values": None}
    assert np.allclose(toy.output(), attend(q, k, k)[0, 0, 0])


def test_a_turn_looks_at_what_lies_at_the_angle() -> None:
    for degrees in (-120, 30, 90):
        angle = np.deg2rad([0, degrees])
        query, best = np.stack((np.cos(angle), np.sin(angle)), 1)
        around = np.deg2rad(degrees + np.array([-40, 0, 40]))
        keys = np.stack((np.cos(around), np.sin(around)), 1)
        toy = ToyAttention(query=query, keys=keys, form="turn", angle=degrees)
        assert toy.weights().argmax() == 1
        assert np.allclose(toy.matrix().T @ query, best)


def test_a_stretch_has_the_eigenvalues_that_it_says() -> None:
    toy = ToyAttention(form="stretch", angle=25)
    assert np.allclose(toy.matrix(), toy.matrix().T)
    values, vectors = np.linalg.eigh(toy.matrix())
    assert np.allclose(values, [-0.5, 2])
    assert np.allclose(abs(vectors[:, 1] @ [np.cos(np.deg2rad(25)), np.sin(np.deg2rad(25))]), 1)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"query": [1, 2, 3]}, "query is not a point"),
        ({"query": [1, 9]}, "between -3 and 3"),
        ({"keys": [[0, float("nan")]]}, "keys are not points"),
        ({"keys": "abc"}, "keys are not points"),
        ({"keys": [[0, 0]] * 7}, "7 keys"),
        ({"values": [[0, 0]]}, "1 values and 4 keys"),
        ({"form": "swirl"}, "is 'swirl'"),
        ({"temperature": 0}, "0.0625 to 16"),
        ({"temperature": "hot"}, "'hot'"),
        ({"angle": 200}, "-180 to 180"),
    ],
)
def test_mistakes_are_told_and_change_nothing(wrong: dict[str, Any], told: str) -> None:
    faulty = ToyAttention(**wrong)
    assert told in str(faulty.fault)
    with pytest.raises(UserError, match=told):
        faulty.weights()
    toy = ToyAttention()
    before = dict(toy.selected)
    with pytest.raises(UserError, match=told):
        toy.selected = wrong
    assert toy.selected == before


def test_unknown_entries_are_refused() -> None:
    with pytest.raises(UserError, match="colour"):
        ToyAttention().selected = {"colour": "red"}


def test_state_and_script_are_small(tmp_path: Path) -> None:
    toy = ToyAttention(title="A & B </script>")
    page = toy.to_html(tmp_path / "new" / "toy.html")
    assert page.stat().st_size < 60_000, "with all that it shares with the other explorers"
    folder = Path(__file__).parents[2] / "atmorep_lite" / "widgets"
    own = [*folder.glob("toy_attention.[jc]s*"), *folder.glob("parts/toy_*")]
    assert len(own) == 5 and sum(file.stat().st_size for file in own) < 30_000
    assert "https://" not in page.read_text(encoding="utf-8")
