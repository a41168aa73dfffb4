"""The table of losses against models whose output weights are zero, and errors against loops and draws."""

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
    return head_ablation(model, samples, each="head")


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


def test_neighbourhoods_lie_as_far_apart_in_time_as_the_record_allows(model, data, samples) -> None:
    """From the first to the last of the 15 windows of 6 steps, 3-hourly; whatever size the batches have."""
    hours = np.concatenate([t[WIND].info[:, 0, 0, 0, 0, 1:3] @ torch.tensor([24.0, 1.0]) for t, _ in samples])
    assert (hours - hours[0]).tolist() == [0, 12, 21, 30, 42]  # steps 0, 4, 7, 10 and 14
    assert sum(len(static) for _, static in forecast_batches(model, data, count=7, each=3)) == 7


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


def test_the_error_is_the_jackknife_of_the_loop() -> None:
    rng = np.random.default_rng(0)
    whole, without = rng.gamma(4, size=(6, 2)), rng.gamma(5, size=(6, 2))
    found, error, margin = removal._losses(whole, without)

    def loss(kept: list[int]) -> list[float]:
        each = [(without[kept, f].mean() / whole[kept, f].mean()) ** 0.5 - 1 for f in (0, 1)]
        return [*each, sum(each) / 2]

    left = np.array([loss([j for j in range(6) if j != i]) for i in range(6)])
    for i in range(3):
        assert found[i] == pytest.approx(loss(list(range(6)))[i])
        assert error[i] == pytest.approx((5 / 6 * sum((left[:, i] - left[:, i].mean()) ** 2)) ** 0.5)
    np.testing.assert_allclose(margin, 2.5706 * error, rtol=1e-4)  # Student's t of 5 degrees of freedom


@pytest.mark.parametrize("count", [2, 4, 6, 12])
def test_the_interval_covers_the_truth_as_often_as_it_says(count: int) -> None:
    """Squared errors of a cut model that go with the whole one's; few neighbourhoods, many times."""
    rng = np.random.default_rng(count)
    whole = np.exp(rng.normal(0, 0.5, (1500, count, 1)))
    without = whole * (1 + rng.normal(0.05, 0.1, whole.shape))
    found = [removal._losses(w, c) for w, c in zip(whole, without, strict=True)]
    true = 1.05**0.5 - 1
    covered = np.mean([abs(loss[0] - true) <= margin[0] for loss, _, margin in found])
    assert 0.92 < covered < 0.965, covered


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
    with pytest.raises(UserError, match="nothing to score"):
        forecast_batches(model, data, count=0)
    with pytest.raises(UserError, match="no neighbourhoods"):
        head_ablation(model, [])
    with pytest.raises(UserError, match="choose 'pair', 'layer' or 'head'"):
        head_ablation(model, samples, each="heads")
    with pytest.raises(UserError, match="no kind of head"):
        head_ablation(model, samples, kinds=("selves",))
    with pytest.raises(UserError, match="ozone is not a field"):
        head_ablation(model, samples, listeners=["ozone"])
    published = AtmoRep(tiny_model(*coupled_fields(), predict="field"))
    with pytest.raises(UserError, match="hidden tokens"):
        head_ablation(published, [(random_tokens(CONFIG), None)])
