"""Training: repeatable, resumable, allowed variations, and it learns."""

import numpy as np
import pytest
import torch

from atmorep_lite.errors import UserError
from atmorep_lite.flows import solve, vortex_trajectories
from atmorep_lite.zoo import (
    VortexFormer,
    VortexFormerConfig,
    fit,
    one_step_error,
    persistence,
    rollout,
    rollout_errors,
)
from atmorep_lite.zoo.forecaster import sample_errors
from atmorep_lite.zoo.train import unrolled_error, vary

TINY = VortexFormerConfig(points=16, token_size=(3, 4, 4), width=16, layers=1, heads=2)


def tiny() -> VortexFormer:
    torch.manual_seed(0)
    return VortexFormer(TINY)


@pytest.fixture(scope="module")
def waves() -> torch.Tensor:
    """Plane waves that travel by one cell a frame, ``[8, 6, 16, 16]``."""
    x = torch.arange(16) - torch.arange(6)[:, None, None]
    waves = torch.sin(2 * torch.pi * x / 16 + torch.arange(8)[:, None, None, None])
    return waves.expand(8, 6, 16, 16).contiguous()


def test_learns_and_repeats(waves: torch.Tensor) -> None:
    first, second = tiny(), tiny()
    history = fit(first, waves, steps=120, batch=8, learning_rate=1e-2, augment=False)
    fit(second, waves, steps=120, batch=8, learning_rate=1e-2, augment=False)
    assert torch.equal(first(waves[:, :3]), second(waves[:, :3]))
    assert len(history) == 120 and history[-1].seconds > 0 and not first.training
    assert one_step_error(first, waves) < 0.2 * one_step_error(persistence, waves)


def test_a_stopped_training_goes_on_as_if_nothing_had_happened(waves: torch.Tensor, tmp_path) -> None:
    whole, parts = tiny(), tiny()
    fit(whole, waves, steps=12)

    def stop(progress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(parts, waves, steps=12, state=tmp_path / "state.pt", save_every=0.0, report=stop)
    parts = tiny()
    history = fit(parts, waves, steps=12, state=tmp_path / "state.pt", save_every=0.0)
    assert history[0].step == 5  # the state was kept after step 4
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def test_time_limit() -> None:
    history = fit(tiny(), torch.randn(2, 5, 16, 16), seconds=0.5)
    assert 0.4 < history[-1].seconds < 5 and history[-1].done < 1


def test_variations_obey_the_physics() -> None:
    """A varied trajectory is still a solution: solving from its first frame gives its last."""
    flow = vortex_trajectories(4, frames=4, seed=0, points=32)
    varied = vary(flow, np.random.default_rng(3))
    assert not torch.allclose(varied, flow)
    torch.testing.assert_close(solve(varied[:, 0], frames=4), varied, rtol=0, atol=2e-3)


def test_unrolled_error_is_that_of_a_rollout() -> None:
    flow = vortex_trajectories(3, frames=7, seed=1, points=16)
    model = tiny()
    torch.nn.init.normal_(model.head.weight, std=0.02)
    expected = rollout_errors(model, flow, 4).mean()
    torch.testing.assert_close(unrolled_error(model, flow), expected)
    skipping = unrolled_error(model, flow, skipped=3)
    torch.testing.assert_close(skipping, rollout_errors(model, flow, 4)[3])
    (gradient,) = torch.autograd.grad(skipping, model.head.bias)
    with torch.no_grad():
        seen = torch.cat((flow[:, :3], rollout(model, flow[:, :3], 3)), 1)[:, -3:]
    last_alone = sample_errors(model(seen), flow[:, 6]).mean()
    torch.testing.assert_close(gradient, torch.autograd.grad(last_alone, model.head.bias)[0])
    assert len(fit(model, flow, steps=2, batch=2, unroll=2, lead_in=2)) == 2
    fit(model, flow, steps=2, batch=2, unroll=3)
    with pytest.raises(UserError, match="at least 8 frames"):
        fit(model, flow, steps=1, unroll=5)


def test_mistakes_are_told(waves: torch.Tensor) -> None:
    for wrong in ({}, {"steps": 1, "seconds": 1.0}):
        with pytest.raises(UserError, match="either steps"):
            fit(tiny(), waves, **wrong)
    with pytest.raises(UserError, match="hold no sample"):
        fit(tiny(), waves[:, :3], steps=1)
    with pytest.raises(UserError, match="lower learning_rate"):
        fit(tiny(), waves * torch.nan, steps=1)


@pytest.mark.slow
def test_a_short_training_beats_persistence_and_extrapolation_on_vortices() -> None:
    train = vortex_trajectories(48, frames=10, seed=0, points=32)
    test = vortex_trajectories(8, frames=10, seed=1, points=32)
    torch.manual_seed(0)
    model = VortexFormer(VortexFormerConfig(points=32, width=64, layers=2, heads=2, stem=16, gate=True))
    fit(model, train, seconds=60)  # half of it does on a quiet machine
    assert one_step_error(model, test) < 0.6 * one_step_error(persistence, test)
