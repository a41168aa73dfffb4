"""Null models against the softmax written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from atmorep_lite.attention_maps import (
    AttentionCapture,
    attention_maps,
    bias_only,
    capture_attention,
    capture_many,
    mean_capture,
    random_capture,
    uniform,
)
from atmorep_lite.errors import UserError
from tests.tiny import HEAT, WIND, coupled_fields, ready_model, tiny_model, wave

QUERIES = [0, 5, 11]
PLACE = {"latitude": 45.0, "longitude": 5.0}
PAIRS = (f"{WIND}/{WIND}", f"{WIND}/{HEAT}", f"{HEAT}/{WIND}")


@pytest.fixture(scope="module")
def data():
    record = wave(times=12, names=(WIND, HEAT))
    rng = np.random.default_rng(0)
    return record.copy(data={n: v + rng.normal(size=v.shape) for n, v in record.data_vars.items()})


@pytest.fixture(scope="module")
def model(data):
    return ready_model(tiny_model(*coupled_fields(), locality=0.4), data)


@pytest.fixture(scope="module")
def days(model, data) -> list[AttentionCapture]:
    return capture_many(model, data, data.time.values[[3, 5, 7]], **PLACE)


def maps(capture: AttentionCapture) -> dict[str, np.ndarray]:
    tree = attention_maps(capture, queries=QUERIES)
    return {pair: tree[pair]["attention"].values for pair in PAIRS}


def test_bias_only_is_the_softmax_of_the_distance(days) -> None:
    capture = days[0]
    weights = maps(bias_only(capture))[f"{WIND}/{WIND}"]
    position, slope = capture.fields[WIND].position, capture.pairs[WIND, WIND].slope
    for head in range(4):
        for i, query in enumerate(QUERIES):
            distance = np.linalg.norm(position - position[query], axis=1)
            expected = np.exp(-slope[0, head] * distance)
            np.testing.assert_allclose(weights[0, head, i], expected / expected.sum(), rtol=1e-4)


def test_uniform(days) -> None:
    for weights in maps(uniform(days[0])).values():
        np.testing.assert_allclose(weights, 1 / weights.shape[-1])


def test_random_weights_keep_tokens_and_depend_on_the_seed(model, data, days) -> None:
    one, again, other = (random_capture(model, data, data.time.values[3], seed=s, **PLACE) for s in (1, 1, 2))
    assert np.array_equal(one.pairs[WIND, HEAT].q, again.pairs[WIND, HEAT].q)
    assert not np.allclose(one.pairs[WIND, HEAT].q, other.pairs[WIND, HEAT].q)
    assert not np.allclose(one.pairs[WIND, HEAT].q, days[0].pairs[WIND, HEAT].q)
    for name, field in days[0].fields.items():
        np.testing.assert_array_equal(one.fields[name].position, field.position)


def test_captures_of_many_days_are_those_of_each(model, data, days) -> None:
    alone = capture_attention(model, data, data.time.values[5], **PLACE)
    assert len(days) == 3
    np.testing.assert_array_equal(alone.pairs[HEAT, WIND].k, days[1].pairs[HEAT, WIND].k)


def test_the_mean_is_the_geometric_one(days) -> None:
    found, each = maps(mean_capture(days)), [maps(day) for day in days]
    for pair in PAIRS:
        product = np.exp(np.mean([np.log(day[pair]) for day in each], axis=0))
        np.testing.assert_allclose(found[pair], product / product.sum(-1, keepdims=True), rtol=1e-4)
    same = maps(mean_capture([days[0]] * 3))
    np.testing.assert_allclose(same[PAIRS[0]], each[0][PAIRS[0]], rtol=1e-4)


def test_fewer_channels_come_near_and_all_are_exact(days) -> None:
    whole = maps(mean_capture(days))
    errors = []
    for channels in (2, 6, 18):
        short = mean_capture(days, channels=channels)
        assert short.pairs[WIND, WIND].q.shape[-1] == channels
        errors.append(max(np.abs(maps(short)[pair] - whole[pair]).max() for pair in PAIRS))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-4, errors
    steady = mean_capture([days[0]] * 3, channels=6)  # equal days need the channels of one day
    np.testing.assert_allclose(maps(steady)[PAIRS[0]], maps(days[0])[PAIRS[0]], rtol=1e-3)


def test_what_all_keys_share_takes_no_channel(days) -> None:
    """Scores of one channel, and a large number that all keys of a query share."""
    rng = np.random.default_rng(0)
    pair = days[0].pairs[WIND, WIND]
    q, k = rng.normal(size=pair.q.shape), np.zeros(pair.k.shape)
    k[..., 0] = rng.normal(size=k.shape[:-1])
    k[..., 1] = 20.0
    one = replace(days[0], pairs={(WIND, WIND): replace(pair, q=q.astype("f4"), k=k.astype("f4"))})
    short = mean_capture([one], channels=1)
    assert short.pairs[WIND, WIND].q.shape[-1] == 1
    exact, found = (attention_maps(c, queries=QUERIES)[PAIRS[0]]["attention"] for c in (one, short))
    np.testing.assert_allclose(found, exact, rtol=1e-3)


def test_captures_of_other_places_have_no_mean(model, data, days) -> None:
    elsewhere = capture_attention(model, data, data.time.values[5], latitude=45.0, longitude=90.0)
    with pytest.raises(UserError, match="longitude"):
        mean_capture([days[0], elsewhere])


def test_mistakes_are_explained(days) -> None:
    with pytest.raises(UserError, match="at least one capture"):
        mean_capture([])
    with pytest.raises(UserError, match="1 or more"):
        mean_capture(days, channels=0)
    with pytest.raises(UserError, match="different models"):
        mean_capture([days[0], mean_capture(days)])
