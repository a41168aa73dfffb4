"""Rollout against the dense product of naive matrices over all tokens of all fields."""

from __future__ import annotations

import numpy as np
import pytest

from atmorep_lite.attention_maps import (
    AttentionCapture,
    attention_maps,
    capture_attention,
    field_flow,
    heads,
    neighbourhood,
    rollout,
)
from atmorep_lite.errors import UserError
from tests.tiny import HEAT, WIND, coupled_fields, ready_model, tiny_field, tiny_model, wave
from tests.widgets.planes import plane_capture

PLACE = {"latitude": 45.0, "longitude": 5.0}
TIME = "2001-01-01T18"


@pytest.fixture(scope="module")
def model():
    record = wave(times=10, names=(WIND, HEAT))
    return ready_model(tiny_model(*coupled_fields(), locality=0.4, coupling_heads=2), record)


@pytest.fixture(scope="module")
def capture(model) -> AttentionCapture:
    return capture_attention(model, wave(times=10, names=(WIND, HEAT)), TIME, **PLACE)


def dense(capture: AttentionCapture, share) -> np.ndarray:
    """Product over layers of (A + I) / 2; ``share(layer, query_field, key_field, head)`` weighs heads."""
    names, maps = list(capture.fields), attention_maps(capture)
    depth = next(iter(capture.pairs.values())).q.shape[0]
    total = None
    for layer in range(depth):
        blocks = []
        for asking in names:
            row = []
            for key in names:
                size = capture.fields[asking].mask.size, capture.fields[key].mask.size
                block = np.zeros(size)
                if (asking, key) in capture.pairs:
                    weights = maps[f"{asking}/{key}"]["attention"].values[layer]
                    for head, each in enumerate(weights):
                        block += share(layer, asking, key, head) * each
                row.append(block)
            blocks.append(np.concatenate(row, 1))
        matrix = np.concatenate(blocks, 0)
        matrix /= matrix.sum(1, keepdims=True)
        step = (matrix + np.eye(len(matrix))) / 2
        total = step if total is None else step @ total
    return total


def equal(capture: AttentionCapture):
    return lambda layer, asking, key, head: 1 / capture.pairs[asking, key].q.shape[1]


def test_rows_are_those_of_the_dense_product(capture: AttentionCapture, monkeypatch) -> None:
    monkeypatch.setattr(heads, "ALL_WEIGHTS", 30_000)  # several pieces
    queries = {HEAT: [0, 40], WIND: [17]}
    found = rollout(capture, queries=queries)
    start = {WIND: 0, HEAT: capture.fields[WIND].mask.size}
    expected = dense(capture, equal(capture))[[start[HEAT], start[HEAT] + 40, start[WIND] + 17]]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum("key"), 1.0)
    assert found.query_field.values.tolist() == [HEAT, HEAT, WIND]
    field = capture.fields[WIND]
    one = found.isel(query=2)
    level, time, row, column = np.unravel_index(17, field.mask.shape)
    assert one.query_level == field.level[level] and one.query_latitude == field.latitude[row]
    assert one.query_longitude == field.longitude[column] and one.query_time.values == field.time[time]
    assert found.sel(key_field=HEAT).sizes["key"] == capture.fields[HEAT].mask.size
    own = one.sel(key_field=WIND).isel(key=17)
    assert own > 0.25 and own == one.max()  # half of itself in each of two layers


def test_measured_shares(model, capture: AttentionCapture) -> None:
    cube = neighbourhood(model, wave(times=10, names=(WIND, HEAT)), TIME, **PLACE)
    flow = field_flow(model, cube.tokens, cube.static)
    by_head = field_flow(model, cube.tokens, cube.static, per_head=True)

    def whole(layer: int, asking: str, key: str, head: int) -> float:
        heads = capture.pairs[asking, key].q.shape[1]
        return float(flow.sel(layer=layer, query_field=asking, key_field=key)) / heads

    def each(layer: int, asking: str, key: str, head: int) -> float:
        return float(by_head.sel(layer=layer, head=head, query_field=asking, key_field=key))

    plain = rollout(capture, queries={WIND: [3]})
    for shares, given in ((whole, flow), (each, by_head)):
        found = rollout(capture, queries={WIND: [3]}, flow=given)
        np.testing.assert_allclose(found, dense(capture, shares)[[3]], atol=1e-12)
        assert np.abs(found - plain).max() > 1e-3


def test_one_layer_is_the_map_itself(capture: AttentionCapture) -> None:
    found = rollout(capture, queries={WIND: [5]}, layers=[1])[0]
    maps = attention_maps(capture, query_fields=[WIND], layers=[1], queries=[5])
    heard = maps[f"{WIND}/{HEAT}"]["attention"][0, :, 0].mean("head")
    np.testing.assert_allclose(found.sel(key_field=HEAT), heard / 4, atol=1e-12)


def test_a_field_that_hears_nobody_else_stays_alone() -> None:
    fields = tiny_field(WIND, coupled_to=(HEAT,)), tiny_field(HEAT)
    record = wave(times=10, names=(WIND, HEAT))
    capture = capture_attention(ready_model(tiny_model(*fields), record), record, TIME, **PLACE)
    found = rollout(capture, queries={WIND: [0], HEAT: [0]})
    assert found.sel(key_field=WIND)[1].sum() == 0 and found.sel(key_field=HEAT)[0].sum() > 0.3
    np.testing.assert_allclose(found, dense(capture, equal(capture))[[0, 48]], atol=1e-12)


def test_on_a_plane() -> None:
    capture = plane_capture()
    found = rollout(capture, queries={"vorticity": [700]})
    np.testing.assert_allclose(found, dense(capture, equal(capture))[[700]], atol=1e-12)
    assert {"key_y", "key_x", "query_y"} <= set(found.coords) and "key_latitude" not in found.coords


def test_mistakes_are_explained(capture: AttentionCapture) -> None:
    with pytest.raises(UserError, match="not a field"):
        rollout(capture, queries={"humidity": [0]})
    with pytest.raises(UserError, match="token 999 does not exist"):
        rollout(capture, queries={WIND: [999]})
    with pytest.raises(UserError, match="at least one query"):
        rollout(capture, queries={})
    with pytest.raises(UserError, match="layer 7"):
        rollout(capture, queries={WIND: [0]}, layers=[7])
    import xarray as xr

    part = xr.DataArray(
        np.ones((1, 1, 1)),
        dims=("layer", "query_field", "key_field"),
        coords={"layer": [0], "query_field": [WIND], "key_field": [WIND]},
    )
    with pytest.raises(UserError, match="flow lacks"):
        rollout(capture, queries={WIND: [0]}, flow=part)
