"""Every measure against a loop over queries and keys, with distances by vectors instead of the haversine."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from atmorep_lite.attention_maps import AttentionCapture, attention_maps, head_table, heads
from atmorep_lite.attention_maps.capture import capture_attention
from atmorep_lite.attention_maps.measures import (
    great_circle,
    key_distance,
    mean_distance,
    mean_lag,
    mean_map,
    moved_share,
    relative_entropy,
    share_by,
    share_within,
)
from atmorep_lite.errors import UserError
from tests.tiny import HEAT, WIND, coupled_fields, ready_model, tiny_model, wave
from tests.widgets.planes import BOX, STEP, plane_capture

QUERIES = [0, 5, 11]


@pytest.fixture(scope="module")
def capture() -> AttentionCapture:
    record = wave(times=10, names=(WIND, HEAT))
    model = ready_model(tiny_model(*coupled_fields(), locality=0.4), record)
    return capture_attention(model, record, "2001-01-01T18", latitude=45.0, longitude=5.0)


@pytest.fixture(scope="module")
def weights(capture: AttentionCapture) -> xr.DataArray:
    return attention_maps(capture, queries=QUERIES)[f"{WIND}/{HEAT}"]["attention"]


def place(weights: xr.DataArray, axis: str, index: int) -> dict:
    token = weights.isel({axis: index})
    names = ("level", "time", "latitude", "longitude")
    return {name: token[f"{axis}_{name}"].item() for name in names}


def kilometres(a: dict, b: dict) -> float:
    """Angle between two unit vectors, times the radius."""
    points = []
    for p in (a, b):
        north, east = math.radians(p["latitude"]), math.radians(p["longitude"])
        points.append(
            np.array([math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)])
        )
    return 6371.0 * math.atan2(float(np.linalg.norm(np.cross(*points))), float(points[0] @ points[1]))


def by_loops(weights: xr.DataArray, radius: float) -> dict[str, np.ndarray]:
    """[layer, head, query] of each measure."""
    shape = weights.shape[:3]
    out = {name: np.zeros(shape) for name in ("entropy", "distance", "near", "lag")}
    keys = [place(weights, "key", k) for k in range(weights.sizes["key"])]
    for layer, head, q in np.ndindex(*shape):
        asker = place(weights, "query", q)
        for k, key in enumerate(keys):
            w = float(weights[layer, head, q, k])
            out["entropy"][layer, head, q] -= w * math.log(w) / math.log(len(keys))
            out["distance"][layer, head, q] += w * kilometres(asker, key)
            out["near"][layer, head, q] += w * (kilometres(asker, key) < radius)
            out["lag"][layer, head, q] += w * (asker["time"] - key["time"]) / 3.6e12
    return out


def test_measures_are_those_of_the_loop(weights: xr.DataArray) -> None:
    expected = by_loops(weights, 3000.0)
    found = {
        "entropy": relative_entropy(weights),
        "distance": mean_distance(weights),
        "near": share_within(weights, 3000.0),
        "lag": mean_lag(weights),
    }
    for name, values in found.items():
        assert values.dims == ("layer", "head", "query"), name
        np.testing.assert_allclose(values, expected[name], rtol=1e-6, atol=1e-8, err_msg=name)
    assert 0.02 < expected["near"].mean() < 0.98  # the radius divides the keys


def test_sharpest_and_flattest_row(weights: xr.DataArray) -> None:
    count = weights.sizes["key"]
    one_key, flat = np.zeros(weights.shape), np.full(weights.shape, 1 / count)
    one_key[..., 3] = 1.0
    np.testing.assert_array_equal(relative_entropy(weights.copy(data=one_key)), 0.0)
    np.testing.assert_allclose(relative_entropy(weights.copy(data=flat)), 1.0)
    distance = mean_distance(weights.copy(data=one_key))
    np.testing.assert_allclose(distance[0, 0], key_distance(weights)[:, 3])
    np.testing.assert_allclose(share_within(weights.copy(data=flat), 1e5), 1.0)


def test_known_distances() -> None:
    degrees = [xr.DataArray(x, dims="pair") for x in ([0.0, 90, 48, 0], [0.0, 0, 11, 350], [0.0, -90, 48, 0])]
    north, east, north2 = degrees
    east2 = xr.DataArray([0.0, 77, 11, 10], dims="pair")
    expected = [0.0, np.pi * 6371, 0.0, np.deg2rad(20) * 6371]  # the last crosses 0 degrees east
    np.testing.assert_allclose(great_circle(north, east, north2, east2), expected, atol=1e-6)


@pytest.mark.parametrize("axis", ["level", "time", "latitude", "longitude"])
def test_shares_sum_to_one_and_are_those_of_the_loop(weights: xr.DataArray, axis: str) -> None:
    shares = share_by(weights, axis)
    assert shares.dims == ("layer", "head", "query", f"key_{axis}")
    np.testing.assert_allclose(shares.sum(f"key_{axis}"), 1.0)
    value = shares[f"key_{axis}"].values[-1]
    of_value = [k for k, label in enumerate(weights[f"key_{axis}"].values) if label == value]
    np.testing.assert_allclose(shares[..., -1], weights.values[..., of_value].sum(-1))


def test_moved_share_and_mean(weights: xr.DataArray) -> None:
    first, second = np.zeros(weights.shape), np.zeros(weights.shape)
    first[..., 0] = 1.0
    second[..., :4] = 0.25
    a, b = weights.copy(data=first), weights.copy(data=second)
    np.testing.assert_allclose(moved_share(a, b), 0.75)
    np.testing.assert_array_equal(moved_share(a, a), 0.0)
    assert moved_share(a.isel(query=0, layer=0, head=0), b.isel(query=0, layer=0, head=0)).item() == 0.75
    later = b.assign_coords(layer=b.layer + 7)  # labels do not matter
    np.testing.assert_allclose(mean_map([a, later]).values[..., 0], 0.625)
    np.testing.assert_allclose(mean_map([a, b]).sum("key"), 1.0)
    assert mean_map([a, later]).layer.equals(a.layer)


def test_table_has_a_row_for_each_head(capture: AttentionCapture, weights: xr.DataArray) -> None:
    table = head_table(capture, radius=3000.0, queries=QUERIES)
    assert len(table) == 2 * 2 * 4 + 2 * 2  # two self pairs of four heads, two couplings of one, two layers
    chosen = table.query(f"query_field == '{WIND}' and key_field == '{HEAT}'")
    assert set(chosen["kind"]) == {"coupling"}
    expected = {name: values.mean(-1).ravel() for name, values in by_loops(weights, 3000.0).items()}
    for column, name in {
        "entropy": "entropy",
        "distance_km": "distance",
        "near": "near",
        "lag_h": "lag",
    }.items():
        np.testing.assert_allclose(chosen[column], expected[name], rtol=1e-6, atol=1e-8)
    same = sum(
        weights.values[..., k] * (weights["query_level"].values == weights["key_level"].values[k])
        for k in range(weights.sizes["key"])
    )
    np.testing.assert_allclose(chosen["same_level"], same.mean(-1).ravel())
    offset = sum(
        weights.values[..., k] * (weights["key_level"].values[k] - weights["query_level"].values)
        for k in range(weights.sizes["key"])
    )
    np.testing.assert_allclose(chosen["level_offset"], offset.mean(-1).ravel())
    assert chosen["level_offset"].max() > 100  # queries at 500 hPa, keys at 850 hPa


def test_table_in_pieces_is_the_table_at_once(capture: AttentionCapture, monkeypatch) -> None:
    at_once = head_table(capture)
    monkeypatch.setattr(heads, "ALL_WEIGHTS", 20_000)
    pd.testing.assert_frame_equal(head_table(capture), at_once)


def test_table_over_queries_of_each_field(capture: AttentionCapture) -> None:
    """Those that are named, and near is nearer than 2000 km."""
    mixed = head_table(capture, queries={WIND: [0, 5], HEAT: [30]})
    for name, queries in ((WIND, [0, 5]), (HEAT, [30])):
        alone = head_table(capture, queries=queries, radius=2000.0).query(f"query_field == '{name}'")
        mine = mixed.query(f"query_field == '{name}'")
        pd.testing.assert_frame_equal(mine.reset_index(drop=True), alone.reset_index(drop=True))
        assert (mine["queries"] == len(queries)).all()
    near, far = (head_table(capture, radius=r)["near"] for r in (1500.0, 2500.0))
    assert not np.allclose(near, mixed["near"].mean()) and (near < far).any()
    assert set(head_table(capture, queries={WIND: [0]})["query_field"]) == {WIND}
    for wrong, words in (
        ({"queries": []}, "no query|at least one query"),
        ({"queries": {WIND: []}}, "at least one query"),
        ({"queries": {}}, "no field"),
        ({"queries": {"ozone": [0]}}, "ozone is not a field"),
        ({"radius": -1.0}, "radius"),
    ):
        with pytest.raises(UserError, match=words):
            head_table(capture, **wrong)


def test_table_on_a_plane_is_that_of_the_loop() -> None:
    capture = plane_capture()
    queries = [2 * 256 + 5 * 16 + 15]
    table = head_table(capture, queries=queries)
    weights = attention_maps(capture, queries=queries)["vorticity/vorticity"]["attention"]
    names = ("time", "y", "x")
    expected = np.zeros((2, 2, 3))
    for layer, head, q in np.ndindex(2, 2, 1):
        asker = {n: weights[f"query_{n}"].values[q] for n in names}
        for k in range(weights.sizes["key"]):
            w, key = float(weights[layer, head, q, k]), {n: weights[f"key_{n}"].values[k] for n in names}
            far = math.hypot(*(min(abs(key[n] - asker[n]), BOX - abs(key[n] - asker[n])) for n in ("y", "x")))
            lag = asker["time"] - key["time"]
            expected[layer, head] += np.array([w * far, w * lag, w * (far < 2.5 * STEP)])
    for i, column in enumerate(("distance", "lag", "near")):
        np.testing.assert_allclose(table[column], expected[..., i].ravel(), rtol=1e-6, err_msg=column)
    assert not {"distance_km", "lag_h"} & set(table) and np.allclose(table["same_level"], 1)
    tree = attention_maps(capture, queries=[0])["vorticity/vorticity"]["attention"]
    np.testing.assert_allclose(share_by(tree, "y").sum("key_y"), 1.0)
    with pytest.raises(UserError, match="no 'latitude'"):
        share_by(tree, "latitude")


def test_mistakes_are_explained(capture: AttentionCapture, weights: xr.DataArray) -> None:
    with pytest.raises(UserError, match="as attention_maps labels them"):
        relative_entropy(weights.sum("key"))
    with pytest.raises(UserError, match="the dimensions query, key"):
        mean_distance(weights.isel(query=0))
    with pytest.raises(UserError, match="no 'pressure'"):
        share_by(weights, "pressure")
    with pytest.raises(UserError, match="cannot be compared"):
        moved_share(weights, weights.isel(layer=[0]))
    with pytest.raises(UserError, match="at least one map"):
        mean_map([])
    with pytest.raises(UserError, match="different shapes"):
        mean_map([weights, weights.isel(layer=[0])])
    with pytest.raises(UserError, match="two keys"):
        relative_entropy(weights.isel(key=[0]))
