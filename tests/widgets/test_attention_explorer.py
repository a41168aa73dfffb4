"""The explorer's numbers, its page and its refusals, without a browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.errors import UserError
from atmorep_lite.widgets import AttentionExplorer
from atmorep_lite.widgets.coastline import BREAK, COASTLINE, packed
from atmorep_lite.widgets.packing import pretty_units
from atmorep_lite.widgets.page import HERE, _parts, module_source
from tests.widgets.synthetic import HEADS, NAMES

SHAPE = (2, 3, 8, 16)


def explicit(
    capture: AttentionCapture,
    names: tuple[str, str],
    query: int,
    layer: int,
    head: int,
    temperature: float = 1.0,
) -> np.ndarray:
    """One row straight from the capture's float32 arrays, all (query, key) scores written out."""
    pair = capture.pairs[names]
    q, k = pair.q[layer, head].astype(float), pair.k[layer, head].astype(float)
    here, there = (capture.fields[name].position.astype(float) for name in names)
    scores = np.einsum("qc,kc->qk", q, k) / np.sqrt(q.shape[-1])
    scores -= pair.slope[layer, head] * np.sqrt(((here[:, None] - there[None]) ** 2).sum(-1))
    weights = np.exp(scores / temperature)
    return (weights / weights.sum(axis=1, keepdims=True))[query].reshape(SHAPE)


@pytest.mark.parametrize("query", [0, 391, 767])
@pytest.mark.parametrize("layer", [0, 3])
def test_weights_equal_an_explicit_softmax(
    explorer: AttentionExplorer, capture: AttentionCapture, query: int, layer: int
) -> None:
    found = explorer.weights("temperature", query, layer, 2, temperature=1.5)
    for key, row in found.items():
        expected = explicit(
            capture, ("temperature", key), query, layer, 2 if key == "temperature" else 0, 1.5
        )
        assert row.shape == SHAPE
        assert row.sum() == pytest.approx(1.0, abs=1e-12)
        assert np.abs(row - expected).max() < 2e-3 * expected.max()


def test_float32_is_exact_and_float16_within_its_bound(capture: AttentionCapture) -> None:
    expected = explicit(capture, ("vorticity", "vorticity"), 500, 3, 0)
    rows = {
        precision: AttentionExplorer(capture, layers=[3], precision=precision).weights("vorticity", 500, 3, 0)
        for precision in ("float16", "float32")
    }
    errors = {name: np.abs(row["vorticity"] - expected).max() / expected.max() for name, row in rows.items()}
    assert errors["float32"] < 1e-6
    assert 1e-6 < errors["float16"] < 2e-3  # above: the numbers really are rounded


def test_mean_of_heads_is_the_mean_of_the_softmaxes(explorer: AttentionExplorer) -> None:
    rows = [explorer.weights("vorticity", 10, 1, head)["vorticity"] for head in range(HEADS)]
    assert np.allclose(explorer.weights("vorticity", 10, 1)["vorticity"], np.mean(rows, axis=0), atol=1e-15)


def test_a_missing_coupling_has_no_weights(explorer: AttentionExplorer) -> None:
    assert set(explorer.weights("temperature", 0, 0)) == set(NAMES) - {"specific_humidity"}
    assert set(explorer.weights("specific_humidity", 0, 0)) == set(NAMES)


def test_layers_and_heads_keep_their_numbers(capture: AttentionCapture, explorer: AttentionExplorer) -> None:
    small = AttentionExplorer(capture, layers=[1, 3], heads=[2])
    for layer in (1, 3):
        few, all_ = (e.weights("vorticity", 77, layer, 2)["vorticity"] for e in (small, explorer))
        assert np.array_equal(few, all_)
    assert len(small.data) < 0.35 * len(explorer.data)
    with pytest.raises(UserError, match="layer 0"):
        small.weights("vorticity", 77, 0, 2)


def test_ships_queries_and_keys_not_matrices(explorer: AttentionExplorer, capture: AttentionCapture) -> None:
    numbers = sum(pair.q.size + pair.k.size for pair in capture.pairs.values())
    assert 2 * numbers < len(explorer.data) < 2 * numbers + 400_000


def test_the_first_view_shows_most_of_the_mass(
    explorer: AttentionExplorer, capture: AttentionCapture
) -> None:
    chosen = AttentionExplorer(capture).selected
    rows = explorer.weights(chosen["query_field"], chosen["query"], chosen["layer"])
    level = list(capture.fields["vorticity"].level).index(chosen["key_level"])
    time = [-24.0, -12.0, 0.0].index(chosen["key_hours"])
    shares = np.mean([row.sum(axis=(2, 3)) for row in rows.values()], axis=0)
    assert shares[level, time] == shares.max()


def test_selected_completes_what_is_left_out(capture: AttentionCapture) -> None:
    explorer = AttentionExplorer(capture, layers=[0, 2])
    before = explorer.selected
    explorer.selected = {"query_field": "temperature", "head": 1}
    assert explorer.selected == {**before, "query_field": "temperature", "head": 1}
    explorer.selected = {
        "query": explorer.token("temperature", latitude=52, longitude=-10, level=500, hours=-13)
    }
    level, time, row, column = np.unravel_index(explorer.selected["query"], SHAPE)
    field = capture.fields["temperature"]
    assert (field.level[level], time) == (500, 1)
    assert abs(field.latitude[row] - 52) <= field.token_size[0] / 2
    assert abs(field.longitude[column] - 350) <= field.token_size[1] / 2


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({"query_field": "rain"}, "rain"),
        ({"query": 768}, "768"),
        ({"query": 1.5}, "1.5"),
        ({"layer": 4}, "layer 4"),
        ({"head": 7}, "head 7"),
        ({"temperature": 0}, "temperature"),
        ({"key_level": "low"}, "key_level"),
        ({"view": "globe"}, "globe"),
        ({"laier": 1}, "laier"),
        ({"compare": "the moon"}, "the moon"),
        ({"by": "times"}, "times"),
        ({"view": "error"}, "error"),
        ({"show": "A"}, "pin_a"),
        ({"pin_a": {"query_field": "temperature", "query": 0}, "show": "A minus B"}, "pin_b"),
        ({"pin_a": {"query_field": "temperature", "query": 768}}, "768"),
        ({"pin_b": [1, 2]}, "pin_b"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(explorer: AttentionExplorer, wish: dict, named: str) -> None:
    before = explorer.selected
    with pytest.raises(UserError, match=named):
        explorer.selected = wish
    assert explorer.selected == before


def changed_pair(capture: AttentionCapture, **changes: object) -> AttentionCapture:
    key = ("vorticity", "temperature")
    return replace(capture, pairs={**capture.pairs, key: replace(capture.pairs[key], **changes)})


def changed_field(capture: AttentionCapture, **changes: object) -> AttentionCapture:
    name = "vorticity"
    return replace(capture, fields={**capture.fields, name: replace(capture.fields[name], **changes)})


def broken(capture: AttentionCapture, fault: str) -> AttentionCapture:
    pair, field = capture.pairs["vorticity", "temperature"], capture.fields["vorticity"]
    missing = pair.k.copy()
    missing[1, 0, 5, 3] = np.nan
    return {
        "no pair": lambda: replace(capture, pairs={}),
        "NaN": lambda: changed_pair(capture, k=missing),
        "too few keys": lambda: changed_pair(capture, k=pair.k[:, :, :-1]),
        "other channels": lambda: changed_pair(capture, q=pair.q[..., :-1]),
        "slope": lambda: changed_pair(capture, slope=pair.slope[0]),
        "wrong name": lambda: changed_pair(capture, key_field="rain"),
        "fewer layers": lambda: changed_pair(capture, q=pair.q[:2], k=pair.k[:2], slope=pair.slope[:2]),
        "too large": lambda: changed_pair(capture, q=pair.q * 1e5),
        "mask": lambda: changed_field(capture, mask=field.mask[0]),
        "values": lambda: changed_field(capture, values=field.values[:, :, 1:]),
        "position": lambda: changed_field(capture, position=field.position[1:]),
    }[fault]()


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("no pair", "no attention pair"),
        ("NaN", "NaN"),
        ("too few keys", "k of the pair vorticity to temperature"),
        ("other channels", "pair vorticity to temperature"),
        ("slope", "slope of the pair"),
        ("wrong name", "rain"),
        ("fewer layers", "numbers of layers"),
        ("too large", "float16"),
        ("mask", "mask of vorticity"),
        ("values", "values of vorticity"),
        ("position", "positions of vorticity"),
    ],
)
def test_a_bad_capture_is_refused_in_one_sentence(capture: AttentionCapture, fault: str, named: str) -> None:
    explorer = AttentionExplorer(broken(capture, fault))
    assert explorer.fault is not None and named in explorer.fault
    assert not re.search(r"\.\s", explorer.fault.replace("... ", ""))
    for act in (
        lambda: explorer.weights("vorticity", 0, 0),
        lambda: explorer.token("vorticity", latitude=0, longitude=0),
        lambda: explorer.error_bound,
        lambda: explorer.to_html("never.html"),
        lambda: setattr(explorer, "selected", {"layer": 0}),
    ):
        with pytest.raises(UserError, match=re.escape(explorer.fault)):
            act()


def test_some_of_the_fields(capture: AttentionCapture, explorer: AttentionExplorer) -> None:
    few = AttentionExplorer(capture, fields=["temperature", "vorticity"], references={"itself": capture})
    assert [field["name"] for field in few.meta["fields"]] == ["vorticity", "temperature"]
    found = few.weights("temperature", 77, 2)
    assert set(found) == {"vorticity", "temperature"}
    assert np.array_equal(found["vorticity"], explorer.weights("temperature", 77, 2)["vorticity"])
    assert "wind" in few.meta  # small, and needed to look upstream
    assert len(AttentionExplorer(capture, fields=["temperature"]).data) < 0.12 * len(explorer.data)


@pytest.mark.parametrize(
    "options",
    [
        {"layers": [9]},
        {"fields": ["rain"]},
        {"fields": []},
        {"heads": [4]},
        {"layers": []},
        {"precision": "int4"},
    ],
)
def test_unknown_layers_heads_and_precisions_are_refused(capture: AttentionCapture, options: dict) -> None:
    assert next(iter(options)).rstrip("s") in (AttentionExplorer(capture, **options).fault or "")


def test_missing_values_of_a_field_are_allowed(capture: AttentionCapture) -> None:
    values = capture.fields["vorticity"].values.copy()
    values[0] = np.nan
    assert AttentionExplorer(changed_field(capture, values=values)).fault is None


def test_the_page_names_no_server_and_leaves_no_debris(explorer: AttentionExplorer, tmp_path: Path) -> None:
    path = explorer.to_html(tmp_path / "new folder" / "page.html")
    text = path.read_text(encoding="utf-8")
    assert not re.search(
        r"\b(https?|wss?|ftp)://(?!www\.w3\.org/2000/svg)|\b(src|href)=\"(?!data:)|@import|url\(|fetch\(|import\(",
        text,
    )
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_size < 1.36 * len(explorer.data) + 190_000


def test_the_module_is_one_small_file_that_imports_nothing() -> None:
    source = module_source("attention_explorer")
    assert len(source.encode()) < 100_000
    assert not re.search(r"^\s*import\b", source, re.MULTILINE)
    assert source.count("export ") == 1
    assert re.search(r"export default ?\{ ?render ?\};$", source.rstrip())
    parts = [HERE / "attention_explorer.js", *HERE.glob("parts/*.js")]
    used = [path for path in parts if path.stem in {*_parts(parts[0]), "attention_explorer"}]
    names = [
        name
        for path in used
        for name in re.findall(
            r"^(?:export )?(?:async )?(?:function|const|let) (\w+)",
            path.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ]
    assert len(names) > 100
    assert len(names) == len(set(names)), [name for name in names if names.count(name) > 1]


def test_coastlines_are_small_and_cross_no_map() -> None:
    lines = json.loads(COASTLINE.read_text())["lines"]
    assert COASTLINE.stat().st_size < 40_000
    points = [np.array(line) for line in lines]
    assert max(np.abs(np.diff(line[:, 0])).max() for line in points) < 60
    everything = np.concatenate(points)
    assert np.abs(everything[:, 0]).max() <= 180
    assert -89 < everything[:, 1].min() < -75
    assert everything[:, 1].max() > 80
    # Somewhere on the coast of Iceland, of Sri Lanka and of Tasmania.
    for lon, lat in ((-22.8, 65.7), (81.0, 6.2), (146.9, -43.6)):
        assert np.hypot(*(everything - (lon, lat)).T).min() < 1.5
    numbers = np.frombuffer(packed(), "<i2").reshape(-1, 2)
    assert (numbers[:, 0] == BREAK).sum() == len(lines)
    assert np.allclose(numbers[0] / 10, points[0][0])


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ("m s-1", (1.0, "m s⁻¹")),
        ("m2 s-2", (1.0, "m² s⁻²")),
        ("m s**-1", (1.0, "m s⁻¹")),
        ("K", (1.0, "K")),
        ("kg kg-1", (1000.0, "g kg⁻¹")),
        ("s-1", (1e5, "10⁻⁵ s⁻¹")),
    ],
)
def test_units_are_shown_as_one_writes_them(units: str, expected: tuple[float, str]) -> None:
    assert pretty_units(units) == expected
