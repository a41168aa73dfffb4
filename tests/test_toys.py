"""Tasks on the ring have the statistics they promise, and the small networks learn what theory says."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from atmorep_lite.errors import UserError
from atmorep_lite.toys import (
    AttentionLayer,
    attention_seconds,
    entropy_share,
    fetch,
    fit,
    form_table,
    linear_error,
    per_token_mlp,
    regular_angles,
    relative_rmse,
    ring_tokens,
    stations,
    symmetric_share,
)


@pytest.fixture(autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ahead(readings: Tensor) -> Tensor:
    return readings.roll(-3, 1)


@pytest.mark.parametrize("regular", [False, True])
@pytest.mark.parametrize("waves", [1, 3])
def test_stations_have_unit_variances(regular: bool, waves: int) -> None:
    tokens, curve = stations(20_000, generator(), points=8, waves=waves, regular=regular)
    assert tokens.shape == (20_000, 8, 3) and curve.shape == (20_000, 8, 1)
    noise = tokens[..., 2:] - curve
    for part in (curve, noise):
        assert abs(part.mean()) < 0.02
        assert abs(part.var() - 1) < 0.03
    assert abs((noise * curve).mean()) < 0.02
    assert torch.allclose(tokens[..., :2].norm(dim=-1), torch.ones(20_000, 8))


def test_station_curves_are_smooth_curves_of_their_places() -> None:
    """On a regular ring the spectrum of a curve ends at the greatest wave number."""
    tokens, curve, angle = stations(5, generator(), points=16, waves=2, regular=True, return_angles=True)
    assert torch.allclose(angle[0], regular_angles(16))
    assert torch.allclose(tokens[..., 0], angle.cos()) and torch.allclose(tokens[..., 1], angle.sin())
    power = np.abs(np.fft.rfft(curve[..., 0].numpy(), axis=1))
    assert power[:, 1:3].min(1).max() > 0.1
    assert np.allclose(power[:, 3:], 0, atol=1e-4) and np.allclose(power[:, 0], 0, atol=1e-4)


def test_samples_follow_the_generator() -> None:
    one, two, three = (stations(2, generator(seed))[0] for seed in (3, 3, 4))
    assert torch.equal(one, two) and not torch.equal(one, three)


def test_fetch_gives_what_is_wanted() -> None:
    tokens, wanted = fetch(lambda y: y.flip(1), points=6)(3, generator())
    assert torch.equal(wanted[:, 0, 0], tokens[:, 5, 2])
    mirrored = ring_tokens(-regular_angles(6), torch.zeros(6)).flip(0)  # reversal is a reflection
    assert torch.allclose(mirrored[:, :2], tokens[0, :, :2], atol=1e-6)


def test_mlp_sees_one_token_only() -> None:
    network = per_token_mlp(2)
    tokens = torch.randn(1, 5, 3)
    alone = torch.cat([network(tokens[:, i : i + 1]) for i in range(5)], 1)
    assert torch.allclose(network(tokens), alone, atol=1e-6)


@torch.no_grad()
def test_layer_is_the_formula() -> None:
    """Against loops over samples, heads and tokens in plain numbers."""
    torch.manual_seed(0)
    layer = AttentionLayer(2, width=6, heads=3)
    torch.nn.init.normal_(layer.out.weight)
    tokens = torch.randn(2, 4, 3)
    wq, wk, wv, wo = (p.weight.double().numpy() for p in (layer.query, layer.key, layer.value, layer.out))
    for b in range(2):
        t = tokens[b].double().numpy()
        for i in range(4):
            heard = []
            for h in range(3):
                rows = slice(2 * h, 2 * h + 2)
                form = wq[rows].T @ wk[rows] / math.sqrt(2)
                assert np.allclose(layer.forms()[h], form, atol=1e-6)
                powers = np.exp([t[i] @ form @ t[j] for j in range(4)])
                weights = powers / powers.sum()
                assert np.allclose(layer.weights(tokens)[b, h, i], weights, atol=1e-6)
                heard.append(sum(w * (wv[rows] @ t[j]) for j, w in enumerate(weights)))
            assert np.allclose(layer(tokens)[b, i], wo @ np.concatenate(heard), atol=1e-5)


def test_layer_commutes_with_permutations() -> None:
    torch.manual_seed(0)
    layer = AttentionLayer(heads=2)
    torch.nn.init.normal_(layer.out.weight)
    tokens, order = torch.randn(3, 7, 3), torch.randperm(7)
    assert torch.allclose(layer(tokens[:, order]), layer(tokens)[:, order], atol=1e-5)


def test_no_map_of_single_tokens_beats_the_bound() -> None:
    """Signal and noise of variance 1: the best guess is half the reading, with an error of sqrt(1/2)."""
    error = relative_rmse(fit(per_token_mlp, stations, rate=0.01), stations)
    assert math.sqrt(0.5) - 0.01 < error < math.sqrt(0.5) + 0.01


def test_attention_passes_the_bound() -> None:
    layer = fit(AttentionLayer, stations, tries=3)
    assert relative_rmse(layer, stations) < 0.45
    form = layer.forms()[0]
    assert torch.allclose(form[:2, :2], form[0, 0] * torch.eye(2), atol=0.05 * float(form[0, 0]))


def test_a_quarter_turn_is_learnt_as_a_skew_form() -> None:
    task = fetch(ahead)
    layer = fit(AttentionLayer, task)
    assert relative_rmse(layer, task) < 0.1
    assert symmetric_share(layer.forms()[0]) < 0.01
    tokens, _ = task(1, generator())
    assert torch.equal(layer.weights(tokens)[0, 0].argmax(-1), (torch.arange(12) + 3) % 12)


def test_two_relations_need_two_heads() -> None:
    """One row of weights gives both outputs the same mean, so half of the variance stays."""
    task = fetch(lambda y: torch.cat((y.roll(-3, 1), y.roll(3, 1)), 2))
    errors = [
        relative_rmse(fit(partial(AttentionLayer, 2, width=16, heads=h), task, tries=tries), task)
        for h, tries in ((1, 3), (2, 5))
    ]
    assert errors[0] == pytest.approx(math.sqrt(0.5), abs=0.01)
    assert errors[1] < 0.1


def test_fit_keeps_the_random_state_and_the_best_try() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    task = fetch(ahead, points=4)
    singles = [relative_rmse(fit(AttentionLayer, task, steps=20, seed=s), task) for s in (7, 8, 9)]
    assert torch.equal(before, torch.random.get_rng_state())
    together = fit(AttentionLayer, task, steps=20, seed=7, tries=3)
    assert relative_rmse(together, task) == pytest.approx(min(singles))


def test_relative_rmse_of_known_guesses() -> None:
    task = fetch(lambda y: 3 * y)
    assert relative_rmse(lambda t: 0 * t[..., 2:], task) == 1
    assert relative_rmse(lambda t: 2 * t[..., 2:], task) == pytest.approx(1 / 3, abs=1e-6)


def test_symmetric_share() -> None:
    random = torch.randn(200, 200, generator=generator())
    assert symmetric_share(random + random.T) == pytest.approx(1)
    assert symmetric_share(random - random.T) == pytest.approx(0)
    assert symmetric_share(random) == pytest.approx(0.5, abs=0.02)


def test_mistakes_are_told() -> None:
    with pytest.raises(UserError, match="width of 8"):
        AttentionLayer(width=8, heads=3)
    with pytest.raises(UserError, match="0 points"):
        stations(1, generator(), points=0)
    with pytest.raises(UserError, match="0 tries"):
        fit(AttentionLayer, stations, tries=0)


def test_form_table() -> None:
    layer = AttentionLayer(width=3)
    turn = math.sqrt(3) * torch.tensor([[0.0, 4, 0], [-4, 0, 0], [0, 0, 0]])
    with torch.no_grad():
        layer.query.weight.copy_(torch.eye(3))
        layer.key.weight.copy_(turn)
    task = fetch(ahead)
    table = form_table({"turn": layer}, {"turn": task})
    assert table.loc["turn", "error"] == 1  # its output matrix is still zero
    assert table.loc["turn", "symmetric share"] == 0
    assert set(table.loc["turn", "eigenvalues"].split(", ")) == {"4i", "−4i", "0"}


def test_linear_map_on_regular_stations_is_the_wiener_filter() -> None:
    """Four coefficients of variance 1/2, seen by 32 readings with noise 1: precisions add."""
    posterior = 1 / (2 + 32 / 2)
    error = linear_error(partial(stations, regular=True))
    assert error == pytest.approx(math.sqrt(2 * posterior), abs=0.01)
    assert linear_error(fetch(ahead)) < 1e-4
    assert linear_error(stations) > 0.68


def test_entropy_share() -> None:
    assert entropy_share(torch.tensor([0.0, 1.0, 0.0])) == 0
    assert entropy_share(torch.full((2, 7), 1 / 7)).tolist() == pytest.approx([1, 1])
    half = torch.tensor([0.5, 0.5, 0.0, 0.0])
    assert entropy_share(half) == pytest.approx(0.5)


def test_attention_takes_time() -> None:
    assert 0 < attention_seconds(32, repeats=2) < attention_seconds(2048, repeats=2)
