"""The model for looking and the fields of its control."""

from __future__ import annotations

import torch

from atmorep_lite.flow_attention import newest_attention, token_places, true_arrows
from atmorep_lite.flows import SIDE
from atmorep_lite.zoo import VortexFormer, windows
from atmorep_lite.zoo.looking import (
    POINTS,
    SLOTS,
    looking_model,
    looking_trajectories,
    moving_steps,
    moving_trajectories,
    train_looking,
)
from atmorep_lite.zoo.looking_controls import measure, true_motion, windows_with_truth


def test_moving_fields_are_one_field_displaced() -> None:
    trajectories, steps = moving_trajectories(3, frames=4, seed=5), moving_steps(3, seed=5)
    assert trajectories.shape == (3, 4, POINTS, POINTS)
    size = SIDE / SLOTS
    assert ((steps.norm(dim=1) >= size) & (steps.norm(dim=1) <= 2.5 * size)).all()
    k = torch.fft.fftfreq(POINTS, 1 / POINTS)
    for i in range(3):
        first, last = torch.fft.fft2(trajectories[i, 0]), torch.fft.fft2(trajectories[i, 3])
        for y, x in ((0, 1), (2, 1), (1, -3)):
            turned = first[y, x] * torch.exp(-3j * (k[y] * steps[i, 0] + k[x] * steps[i, 1]))
            torch.testing.assert_close(last[y, x], turned, atol=2e-2, rtol=2e-2)


def test_upstream_of_a_moving_field_is_against_its_step() -> None:
    steps = moving_steps(2, seed=5)
    arrows = true_motion("moving", torch.zeros(2, 3, POINTS, POINTS), steps)
    assert arrows.shape == (2, SLOTS**2, 2) and torch.equal(arrows[1, 7], -steps[1])


def test_windows_come_with_the_next_frame_and_the_true_arrows() -> None:
    frames, target, arrows = windows_with_truth(5, count=2)
    trajectories = looking_trajectories(2, frames=5, seed=5)
    assert torch.equal(frames[0], trajectories[0, :3]) and torch.equal(target[1], trajectories[0, 4])
    places = token_places(SLOTS, points=POINTS)
    alone = true_arrows(trajectories[:1, 3], places, interval=1.0)  # other time steps than in a batch
    torch.testing.assert_close(arrows[1:2], alone, atol=1e-3, rtol=0)


def test_random_weights_repeat_and_leave_the_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, two, other = looking_model(seed=1), looking_model(seed=1), looking_model(seed=2)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one.embed.weight, two.embed.weight)
    assert not torch.equal(one.embed.weight, other.embed.weight)


def test_a_few_steps_of_training_repeat() -> None:
    data = moving_trajectories(2, frames=4, seed=5)
    one, two = (train_looking(steps=2, trajectories=data) for _ in range(2))
    assert torch.equal(one.layers[1].q.weight, two.layers[1].q.weight)
    assert not torch.equal(one.layers[1].q.weight, looking_model().layers[1].q.weight)


def test_measuring_gives_every_column_of_the_table() -> None:
    row = measure(looking_model(), "moving", count=1)
    assert {"error", "persistence", "head", "angle", "length", "as it was", "frames in reverse order"} <= set(
        row
    )
    assert abs(float(row["as it was"])) <= 1


def test_shipped_model_looks_upstream() -> None:
    model = VortexFormer.from_pretrained("vortices_looking")
    frames, _ = windows(looking_trajectories(1, frames=4, seed=7))
    weights = newest_attention(model, frames)
    assert weights.shape == (1, 2, 2, SLOTS**2, 3, SLOTS**2)
    assert float(measure(model, "vortices", count=2)["as it was"]) > 0.9
