"""The table of losses against models whose output weights are zero, and a bootstrap by loops."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from atmorep_lite.ablation import silence_couplings
from atmorep_lite.attention_maps import forecast_batches, head_ablation, removal
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from tests.tiny import HEAT, WIND, coupled_fields, random_tokens, ready_model, tiny_model, wave

CONFIG = tiny_model(*coupled_fields(), locality=0.4)


@pytest.fixture(scope="module")
def data():
    record = wave(times=20, names=(WIND, HEAT))
    rng = np.random.default_rng(0)
    return record.copy(data={n: v + rng.normal(size=v.shape) for n, v in record.data_vars.items()})


@pytest.fixture(scope="module")
def model(data) -> AtmoRep:
    return ready_model(CONFIG, data)


@pytest.fixture(scope="module")
def samples(model, data):
    return forecast_batches(model, data, count=5, each=3)


@pytest.fixture(scope="module")
def table(model, samples) -> pd.DataFrame:
    return head_ablation(model, samples, each="head", draws=400)


@torch.no_grad()
def squares(model, samples) -> dict[str, np.ndarray]:
    """Mean square error of hidden tokens by neighbourhood, one at a time."""
    out: dict[str, list[float]] = {WIND: [], HEAT: []}
    for tokens, static in samples:
        mean = {n: e.mean for n, e in model(tokens, static).items()}
        for b in range(len(static)):
            for name in out:
                where = tokens[name].mask[b]
                miss = mean[name][b][where] - tokens[name].values[b][where]
                out[name].append(float(miss.square().mean()))
    return {name: np.array(values) for name, values in out.items()}


def test_batches_hold_the_truth_behind_the_mask(model, data, samples) -> None:
    assert [len(static) for _, static in samples] == [3, 2]
    for tokens, _ in samples:
        assert tokens[WIND].mask[:, :, -1].all() and not tokens[WIND].mask[:, :, :-1].any()
        assert float(tokens[WIND].values[:, :, -1].abs().min(-1).values.max()) > 0
    again = forecast_batches(model, data, count=5, each=5)
    torch.testing.assert_close(again[0][0][HEAT].values[:3], samples[0][0][HEAT].values)


def test_a_row_for_each_cut_and_field(table) -> None:
    keys = ["query_field", "key_field", "kind", "layer", "head", "field"]
    assert not table.duplicated(keys).any() and len(table) == (2 * 2 * 4 + 2 * 2) * 3
    assert set(table["field"]) == {WIND, HEAT, "mean"} and (table["neighbourhoods"] == 5).all()
    assert set(table[table["kind"] == "coupling"]["head"]) == {-1}


@pytest.mark.parametrize(("listener", "layer", "head"), [(WIND, 1, 2), (HEAT, 0, 0)])
def test_without_a_head_is_with_its_output_weights_zero(model, samples, table, listener, layer, head) -> None:
    by_hand = copy.deepcopy(model)
    d = CONFIG.field(listener).embed_dim // CONFIG.heads
    with torch.no_grad():
        by_hand.encoders[listener][layer].out.weight[:, head * d : (head + 1) * d] = 0
    whole, without = squares(model, samples), squares(by_hand, samples)
    rows = table.query(
        f"query_field == '{listener}' and kind == 'self' and layer == {layer} and head == {head}"
    )
    losses = []
    for name in (WIND, HEAT):
        (row,) = rows[rows["field"] == name].to_dict("records")
        assert row["rmse"] == pytest.approx(without[name].mean() ** 0.5, rel=1e-5)
        assert row["whole"] == pytest.approx(whole[name].mean() ** 0.5, rel=1e-5)
        losses.append((without[name].mean() / whole[name].mean()) ** 0.5 - 1)
        assert row["loss"] == pytest.approx(losses[-1], abs=1e-6)
    assert rows[rows["field"] == "mean"]["loss"].item() == pytest.approx(np.mean(losses), abs=1e-6)


def test_without_a_coupling_is_with_its_output_weights_zero(model, samples, table) -> None:
    by_hand = copy.deepcopy(model)
    with torch.no_grad():
        by_hand.encoders[WIND][0].out.weight[:, CONFIG.field(WIND).embed_dim :] = 0
    without = squares(by_hand, samples)
    rows = table.query(f"query_field == '{WIND}' and kind == 'coupling' and layer == 0")
    for name in (WIND, HEAT):
        found = rows[rows["field"] == name]["rmse"].item()
        assert found == pytest.approx(without[name].mean() ** 0.5, rel=1e-5)


def test_all_layers_together(model, samples) -> None:
    one = head_ablation(model, samples, kinds=("coupling",), listeners=[HEAT])
    assert one["layer"].tolist() == [-1] * 3 and one["key_field"].tolist() == [WIND] * 3
    without = squares(silence_couplings(model, listener=HEAT), samples)
    assert one["rmse"][0] == pytest.approx(without[WIND].mean() ** 0.5, rel=1e-5)
    part = head_ablation(model, samples, kinds=("coupling",), listeners=[HEAT], layers=[1])
    without = squares(silence_couplings(model, listener=HEAT, layers=[1]), samples)
    assert part["rmse"][1] == pytest.approx(without[HEAT].mean() ** 0.5, rel=1e-5)
    by_layer = head_ablation(model, samples, kinds=("self",), each="layer", listeners=[WIND])
    assert by_layer["layer"].tolist() == [0, 0, 0, 1, 1, 1] and (by_layer["head"] == -1).all()


def test_bootstrap_is_that_of_the_loop() -> None:
    rng = np.random.default_rng(0)
    whole, without = rng.gamma(4, size=(6, 2)), rng.gamma(5, size=(6, 2))
    samples = rng.integers(0, 6, (300, 6))
    loss, spread = removal._losses(whole, without, samples)
    for draw, chosen in enumerate(samples):
        w, c = whole[chosen].mean(0), without[chosen].mean(0)
        each = np.sqrt(c / w) - 1
        np.testing.assert_allclose(spread[draw], [*each, each.mean()])
    np.testing.assert_allclose(loss[:2], np.sqrt(without.mean(0) / whole.mean(0)) - 1)


def test_the_bootstrap_error_is_that_of_the_mean() -> None:
    """For many neighbourhoods with little spread it is the delta method's standard error."""
    rng = np.random.default_rng(1)
    whole = np.ones((400, 1))
    without = 1.2 + 0.3 * rng.normal(size=(400, 1))
    samples = rng.integers(0, 400, (2000, 400))
    _, spread = removal._losses(whole, without, samples)
    expected = 0.5 / np.sqrt(without.mean()) * without.std() / 20
    assert spread[:, 0].std() == pytest.approx(expected, rel=0.08)


def test_one_neighbourhood_has_no_error_bar(model, samples) -> None:
    tokens, static = samples[0]
    one = {n: type(t)(t.values[:1], t.info[:1], t.mask[:1]) for n, t in tokens.items()}
    found = head_ablation(model, [(one, static[:1])], kinds=("coupling",), listeners=[WIND])
    assert found[["standard_error", "low", "high"]].isna().all(axis=None) and found["loss"].notna().all()


def test_mistakes_are_explained(model, samples, data) -> None:
    with pytest.raises(UserError, match="nothing is to be cut"):
        head_ablation(model, samples, kinds=())
    with pytest.raises(UserError, match="hidden tokens"):
        shown = {n: type(t)(t.values, t.info, torch.zeros_like(t.mask)) for n, t in samples[0][0].items()}
        head_ablation(model, [(shown, samples[0][1])])
    with pytest.raises(UserError, match="no normalisation"):
        forecast_batches(AtmoRep(CONFIG), data)
    published = AtmoRep(tiny_model(*coupled_fields(), predict="field"))
    with pytest.raises(UserError, match="hidden tokens"):
        head_ablation(published, [(random_tokens(CONFIG), None)])
