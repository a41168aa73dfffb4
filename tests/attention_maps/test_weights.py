"""Captured attention against the explicit softmax of what passed through the model; labels against places."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

import atmorep_lite
from atmorep_lite.attention_maps import AttentionCapture, attention_maps, token_at
from atmorep_lite.attention_maps.capture import capture_attention
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.errors import UserError
from atmorep_lite.masking import forecast_masks
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens
from tests.tiny import HEAT, WIND, coupled_fields, ready_model, tiny_field, tiny_model, wave
from tests.widgets.planes import STEP, peak_place, plane_capture

TIME = np.datetime64("2001-01-01T18", "ns")
PAIRS = {(WIND, WIND), (WIND, HEAT), (HEAT, HEAT), (HEAT, WIND)}


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    record = wave(times=10, names=(WIND, HEAT))
    rng = np.random.default_rng(0)
    return record.copy(data={n: v + rng.normal(size=v.shape) for n, v in record.data_vars.items()})


@pytest.fixture(scope="module")
def model(data: xr.Dataset) -> AtmoRep:
    return ready_model(tiny_model(*coupled_fields(), locality=0.4), data, kind="anomaly")


@pytest.fixture(scope="module")
def capture(model: AtmoRep, data: xr.Dataset) -> AttentionCapture:
    return capture_attention(model, data, TIME, latitude=45.0, longitude=5.0)


@pytest.fixture(scope="module")
def maps(capture: AttentionCapture) -> xr.DataTree:
    return attention_maps(capture)


def softmax_by_hand(
    capture: AttentionCapture, key: tuple[str, str], layer: int, head: int, query: int
) -> np.ndarray:
    pair = capture.pairs[key]
    q, k = pair.q[layer, head, query].astype(float), pair.k[layer, head].astype(float)
    here, there = (capture.fields[name].position.astype(float) for name in key)
    distance = [math.dist(here[query], place) for place in there]
    scores = k @ q / math.sqrt(len(q)) - pair.slope[layer, head] * np.array(distance)
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def test_maps_are_the_softmax_of_what_was_captured(capture: AttentionCapture, maps: xr.DataTree) -> None:
    assert set(capture.pairs) == PAIRS
    for (query_field, key_field), pair in capture.pairs.items():
        weights = maps[f"{query_field}/{key_field}"]["attention"]
        assert weights.dims == ("layer", "head", "query", "key")
        assert weights.shape == (*pair.q.shape[:3], pair.k.shape[2])
        np.testing.assert_allclose(weights.sum("key"), 1, atol=1e-9)
        for layer, head in np.ndindex(*pair.q.shape[:2]):
            for query in (0, 7, pair.q.shape[2] - 1):
                expected = softmax_by_hand(capture, (query_field, key_field), layer, head, query)
                np.testing.assert_allclose(weights[layer, head, query], expected, atol=1e-6)


@torch.no_grad()
def test_maps_are_what_the_model_used(model: AtmoRep, data: xr.Dataset, capture, maps: xr.DataTree) -> None:
    """The weights, times values computed from the layer's own input, are what its heads heard."""
    assert model.normalizer is not None
    record = Neighbourhoods(data, model.config, model.normalizer)
    column = int(np.flatnonzero(np.isclose(record.longitude, capture.fields[WIND].longitude[0] - 11.25))[0])
    place = [p for p in record.draw(3000, np.random.default_rng(0)) if (p.step, p.column) == (3, column)]
    top = capture.fields[WIND].latitude[0] + 11.25
    (place,) = {p for p in place if abs(record.latitude[p.row] - top) < 1e-6}
    batch = record.batch([place], known_steps=4)
    masks = forecast_masks(model.config.fields, 1, 1)
    tokens = {n: FieldTokens(t.values, t.info, masks[n]) for n, t in batch.tokens.items()}
    trace: dict = {}
    heard = {}

    def keep(name):
        return lambda module, inputs: heard.__setitem__(name, inputs[0])

    hooks = [model.encoders[name][0].out.register_forward_pre_hook(keep(name)) for name in (WIND, HEAT)]
    model(tokens, batch.static, trace=trace)
    for hook in hooks:
        hook.remove()
    guess = model.first_guess(tokens, batch.static)
    for f in model.config.fields:
        layer, d = model.encoders[f.name][0], f.embed_dim // 4
        x = model.embeddings[f.name](tokens[f.name].with_values(guess[f.name].values))[0]
        (other,) = f.coupled_to
        y = model.embeddings[other](tokens[other].with_values(guess[other].values))[0]
        normed, others = (torch.nn.functional.layer_norm(z, z.shape[-1:]) for z in (x, y))
        values = [normed @ layer.qkv.weight[(3 * h + 2) * d : (3 * h + 3) * d].T for h in range(4)]
        weights = torch.from_numpy(maps[f"{f.name}/{f.name}"]["attention"].values[0]).float()
        cross = torch.from_numpy(maps[f"{f.name}/{other}"]["attention"].values[0, 0]).float()
        expected = [w @ v for w, v in zip(weights, values, strict=True)]
        expected.append(cross @ (others @ layer.coupling_kv[other].weight[d:].T))
        torch.testing.assert_close(heard[f.name][0], torch.cat(expected, -1), atol=1e-5, rtol=1e-4)


def test_several_coupling_heads_are_told_apart(data: xr.Dataset) -> None:
    """Each has its own queries, keys and slope, and its own softmax over the other field's tokens."""
    model = ready_model(tiny_model(*coupled_fields(), locality=0.4, coupling_heads=2), data, kind="anomaly")
    capture = capture_attention(model, data, TIME, latitude=45.0, longitude=5.0)
    pair = capture.pairs[WIND, HEAT]
    assert pair.q.shape[:2] == (2, 2) and not np.allclose(pair.q[:, 0], pair.q[:, 1])
    np.testing.assert_allclose(pair.slope[0], [0.4, 0.1], rtol=1e-6)
    weights = attention_maps(capture, queries=[3])[f"{WIND}/{HEAT}"]["attention"]
    assert weights["head"].values.tolist() == [0, 1]
    for layer, head in np.ndindex(2, 2):
        expected = softmax_by_hand(capture, (WIND, HEAT), layer, head, 3)
        np.testing.assert_allclose(weights[layer, head, 0], expected, atol=1e-6)


def test_context_tokens_are_refused(data: xr.Dataset) -> None:
    context = {"num_tokens": (3, 1, 2), "token_size": (2, 4, 8)}
    field = tiny_field(WIND, context=context)
    model = ready_model(tiny_model(field, positions="sphere"), data)
    with pytest.raises(UserError, match=f"{WIND} attends to context tokens .* which a map cannot show"):
        capture_attention(model, data, TIME, latitude=45.0, longitude=5.0)


def test_captured_queries_are_those_of_the_trace(model: AtmoRep, capture: AttentionCapture) -> None:
    heads = {key: pair.q.shape[1] for key, pair in capture.pairs.items()}
    assert heads == {(WIND, WIND): 4, (HEAT, HEAT): 4, (WIND, HEAT): 1, (HEAT, WIND): 1}
    for pair in capture.pairs.values():
        np.testing.assert_allclose(pair.q.mean(-1), 0, atol=1e-5)  # they are layer-normalised
        np.testing.assert_allclose(pair.k.mean(-1), 0, atol=1e-5)
        expected = 0.4 * 2.0 ** -np.arange(pair.q.shape[1])
        np.testing.assert_allclose(pair.slope, np.broadcast_to(expected, pair.slope.shape), rtol=1e-6)


def test_labels_pick_the_right_token(capture: AttentionCapture, maps: xr.DataTree) -> None:
    weights = maps[f"{WIND}/{HEAT}"]["attention"]
    query, key = capture.fields[WIND], capture.fields[HEAT]
    assert query.mask.shape == (2, 3, 2, 4) and key.mask.shape == (1, 6, 4, 2)
    for place in [(0, 0, 0, 0), (1, 2, 1, 3), (1, 0, 1, 2)]:
        labels = (
            query.level[place[0]],
            query.time[place[1]],
            query.latitude[place[2]],
            query.longitude[place[3]],
        )
        flat = np.ravel_multi_index(place, query.mask.shape)
        names = ("query_level", "query_time", "query_latitude", "query_longitude")
        picked = weights.sel(dict(zip(names, labels, strict=True)))
        np.testing.assert_array_equal(
            picked.squeeze("query", drop=True) if "query" in picked.dims else picked, weights[:, :, flat]
        )
    rows = weights.sel(key_time=key.time[4], key_latitude=key.latitude[3])
    flat = [np.ravel_multi_index((0, 4, 3, x), key.mask.shape) for x in range(2)]
    np.testing.assert_array_equal(rows.values, weights.values[..., flat])


def test_token_centres_are_where_the_data_are(capture: AttentionCapture, data: xr.Dataset) -> None:
    """8 x 16 points, 22.5 degrees apart; a cube of 4 x 8 points around 45 N, 5 E."""
    f = capture.fields[WIND]
    np.testing.assert_allclose(f.latitude, [67.5, 22.5])
    assert (np.diff(f.longitude) > 0).all() and f.token_size == (45.0, 45.0)
    np.testing.assert_allclose(f.longitude, [281.25, 326.25, 371.25, 416.25])
    when = np.array(["2001-01-01T10:30", "2001-01-01T16:30", "2001-01-01T22:30"], "datetime64[ns]")
    np.testing.assert_array_equal(f.time, when)
    assert f.units == "m s-1" and f.level.tolist() == [500, 850]
    np.testing.assert_array_equal(capture.fields[HEAT].time, data.time.values[3:9])


def test_visible_tokens_show_the_data_and_hidden_ones_the_prediction(capture, data: xr.Dataset) -> None:
    f = capture.fields[WIND]
    assert f.values.shape == (2, 3, 4, 8)
    assert not f.mask[:, :2].any() and f.mask[:, 2].all()
    columns = (np.arange(8) + 12) % 16
    for slot, step in ((0, 4), (1, 6), (2, 8)):
        truth = data[WIND].values[step][:, :4][..., columns]
        close = np.isclose(f.values[:, slot], truth, atol=1e-3)
        assert close.all() if slot < 2 else not close.any()


def test_without_a_forecast_nothing_is_hidden(model: AtmoRep, data: xr.Dataset) -> None:
    seen = capture_attention(model, data, TIME, latitude=-90, longitude=180, forecast=False)
    for f in seen.fields.values():
        assert not f.mask.any()
    np.testing.assert_array_equal(seen.fields[HEAT].time, data.time.values[1:7])
    np.testing.assert_allclose(seen.fields[WIND].latitude, [-22.5, -67.5])  # moved off the pole
    columns = np.round(seen.fields[HEAT].longitude[0] / 22.5 - 1.5).astype(int) + np.arange(8)
    np.testing.assert_allclose(
        seen.fields[HEAT].values[0], data[HEAT].sel(level=850).values[1:7, 4:][..., columns % 16], atol=1e-3
    )


def test_temperature_and_choices(capture: AttentionCapture, maps: xr.DataTree) -> None:
    some = attention_maps(
        capture, query_fields=[WIND], key_fields=[WIND], layers=[1], heads=[2, 0], queries=[5, 3]
    )
    (node,) = some[WIND].children.values()
    chosen = node["attention"]
    assert chosen["layer"].values.tolist() == [1] and chosen["head"].values.tolist() == [2, 0]
    whole = maps[f"{WIND}/{WIND}"]["attention"].values
    np.testing.assert_allclose(chosen, whole[np.ix_([1], [2, 0], [5, 3])], rtol=1e-12)
    np.testing.assert_array_equal(
        chosen["query_longitude"], np.tile(capture.fields[WIND].longitude, 6)[[5, 3]]
    )

    def entropy(temperature: float) -> float:
        w = attention_maps(capture, temperature=temperature)[f"{WIND}/{HEAT}"]["attention"].values
        return float(-(w * np.log(w + 1e-300)).sum(-1).mean())

    assert entropy(0.2) < entropy(1.0) < entropy(5.0)
    hot = attention_maps(capture, temperature=1e9)[f"{WIND}/{HEAT}"]["attention"]
    np.testing.assert_allclose(hot, 1 / hot.sizes["key"], rtol=1e-6)


def test_a_pair_without_the_chosen_head_is_left_out(capture: AttentionCapture) -> None:
    tree = attention_maps(capture, heads=[1, 3])
    assert {node.path for node in tree.leaves} == {f"/{WIND}/{WIND}", f"/{HEAT}/{HEAT}"}


def test_saving(maps: xr.DataTree, tmp_path) -> None:
    node = maps[f"{WIND}/{HEAT}"].to_dataset().reset_index(["query", "key"])
    node.to_netcdf(tmp_path / "maps.nc")
    with xr.open_dataset(tmp_path / "maps.nc") as saved:
        np.testing.assert_array_equal(saved["attention"], node["attention"])
        np.testing.assert_array_equal(saved["key_time"], node["key_time"])


def test_token_at(capture: AttentionCapture) -> None:
    f = capture.fields[WIND]
    for token in range(f.mask.size):
        level, slot, row, column = np.unravel_index(token, f.mask.shape)
        for turn in (-360.0, 0.0, 4.0):
            found = token_at(
                f,
                latitude=f.latitude[row] + 3,
                longitude=f.longitude[column] + turn,
                level=int(f.level[level]),
                slot=int(slot),
            )
            assert found == token
    assert token_at(f, latitude=67.5, longitude=281.25, level=850) == np.ravel_multi_index(
        (1, 2, 0, 0), f.mask.shape
    )


def test_surface_field() -> None:
    data = wave(names=("2m_temperature",), levels=(1,)).isel(level=0, drop=True)
    model = ready_model(tiny_model(tiny_field("t2m", levels=(0,))), data, kind="anomaly")
    capture = capture_attention(model, data, data.time.values[9], latitude=0, longitude=100)
    assert capture.fields["2m_temperature"].values.shape == (1, 3, 4, 8)


def test_too_much_memory(capture: AttentionCapture, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = capture.pairs[WIND, WIND]
    large = np.broadcast_to(np.float32(0), (2, 4, 20_000, 6))
    pairs = {(WIND, WIND): replace(pair, q=large, k=large)}
    with pytest.raises(UserError, match=r"would need 25\.6 GB; choose fewer queries, layers or heads"):
        attention_maps(replace(capture, pairs=pairs))


def test_bad_input_is_told_in_one_sentence(
    model: AtmoRep, data: xr.Dataset, capture: AttentionCapture
) -> None:
    cases = {
        "vorticity is not a field of this model": {"query_fields": ["vorticity"]},
        "layer 2 does not exist; there are 2, 0 to 1": {"layers": [2]},
        "head -1 does not exist": {"heads": [-1]},
        "token 48 does not exist": {"query_fields": [WIND], "queries": [48]},
    }
    for words, choice in cases.items():
        with pytest.raises(UserError, match=words):
            attention_maps(capture, **choice)
    alone = AttentionCapture(capture.fields, {(WIND, WIND): capture.pairs[WIND, WIND]})
    with pytest.raises(UserError, match="the temperature is 0"):
        attention_maps(capture, temperature=0.0)
    with pytest.raises(UserError, match="no token is chosen"):
        attention_maps(capture, queries=[])
    with pytest.raises(UserError, match="no pair of these fields is coupled"):
        attention_maps(alone, query_fields=[HEAT])
    with pytest.raises(UserError, match="has no level 300 here; it has 500, 850"):
        token_at(capture.fields[WIND], latitude=0, longitude=0, level=300)
    where = {"latitude": 0.0, "longitude": 0.0}
    for words, time in {
        "no state at 2020-01-01": "2020-01-01",
        "needs the 4 states up to 2001-01-01T03:00": "2001-01-01T03",
        "'noon' is not a date": "noon",
    }.items():
        with pytest.raises(UserError, match=words):
            capture_attention(model, data, time, **where)
    with pytest.raises(UserError, match="the model has no normalisation"):
        capture_attention(AtmoRep(model.config), data, TIME, **where)


def test_the_package_offers_them() -> None:
    assert atmorep_lite.capture_attention is capture_attention
    assert atmorep_lite.AttentionCapture is AttentionCapture


def test_planes_are_labelled_by_frames_y_and_x() -> None:
    plane = plane_capture()
    field = plane.fields["vorticity"]
    row, column = 13, 2  # near two edges: the peaks lie beyond them
    query = token_at(field, y=field.latitude[row], x=field.longitude[column])
    assert query == 2 * 256 + row * 16 + column
    weights = attention_maps(plane, layers=[1], queries=[query])["vorticity/vorticity"]["attention"][0, :, 0]
    assert {"query_y", "query_x", "query_time"} <= set(weights.coords)
    for head in range(2):
        for frame in (-2.0, -1.0, 0.0):
            there = weights[head].sel(key_level=0, key_time=frame)
            place = there[{"key": int(there.values.argmax())}].coords["key"].item()
            expected = peak_place(head, int(frame), row, column)
            assert place == (field.latitude[expected[0]], field.longitude[expected[1]])


def test_token_at_wraps_on_a_periodic_plane() -> None:
    plane = plane_capture()
    field = plane.fields["vorticity"]
    for turn in (-2, 0, 1):
        y, x = (np.array([0.5, 9.4]) * STEP + turn * np.array(plane.period)).tolist()
        assert token_at(field, y=y, x=x, level=0, slot=1, period=plane.period) == 256 + 0 * 16 + 9
    assert token_at(field, y=-0.1, x=0.1, period=plane.period) == 2 * 256 + 15 * 16
    assert token_at(field, y=-0.1, x=0.1) == 2 * 256
    with pytest.raises(UserError, match="needs a place"):
        token_at(field, y=1.0)
    with pytest.raises(UserError, match="no time slot 3"):
        token_at(field, y=1.0, x=1.0, slot=3)


@pytest.mark.parametrize(
    ("geometry", "period", "words"),
    [("torus", None, "'torus'"), ("sphere", (1, 1), "period"), ("plane", (0, 1), "period")],
)
def test_unknown_geometries_are_refused(geometry, period, words: str) -> None:
    plane = plane_capture()
    with pytest.raises(UserError, match=words):
        AttentionCapture(plane.fields, plane.pairs, geometry, period)
