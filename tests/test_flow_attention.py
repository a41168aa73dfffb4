"""Arrows of attention against naive loops and cases where the answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from atmorep_lite.attention import attention_weights
from atmorep_lite.errors import UserError
from atmorep_lite.flow_attention import (
    INTERVENTIONS,
    agreement,
    attention_arrows,
    best_reach,
    centroid_of_vorticity,
    heads_agreement,
    newest_attention,
    shortest,
    token_places,
    true_arrows,
    with_vortex,
)
from atmorep_lite.flows import SIDE, vortex_trajectories
from atmorep_lite.zoo import VortexFormer, VortexFormerConfig
from atmorep_lite.zoo.torus_rotary import rotation, turn

SLOTS = 8


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def looking_model(**options: object) -> VortexFormer:
    torch.manual_seed(0)
    config = {"points": 16, "token_size": (1, 2, 2), "width": 16, "layers": 2, "heads": 2} | options
    return VortexFormer(VortexFormerConfig(**config))


def test_places_are_means_of_the_points_of_a_token() -> None:
    places = token_places(4, side=8.0, points=8)
    naive = [[(2 * y + 0.5), (2 * x + 0.5)] for y in range(4) for x in range(4)]
    torch.testing.assert_close(places, torch.tensor(naive))
    with pytest.raises(UserError, match="divisor"):
        token_places(3, points=8)


def test_places_agree_with_the_capture() -> None:
    model = looking_model()
    field = model.capture(torch.randn(3, 16, 16, generator=generator())).fields["vorticity"]
    expected = torch.cartesian_prod(*(torch.from_numpy(a).float() for a in (field.latitude, field.longitude)))
    torch.testing.assert_close(token_places(SLOTS, points=16), expected)


def test_shortest_is_the_nearest_of_all_images() -> None:
    d = (torch.rand(200, generator=generator()) - 0.5) * 40
    for value, found in zip(d.tolist(), shortest(d).tolist(), strict=True):
        naive = min((value + i * SIDE for i in range(-8, 9)), key=abs)
        assert found == pytest.approx(naive, abs=1e-5)
    assert shortest(torch.tensor([SIDE / 2, -SIDE / 2])).tolist() == [0.0, 0.0]


def test_arrows_equal_a_naive_loop() -> None:
    places = token_places(4)
    weights = torch.rand(2, 16, 16, generator=generator())
    arrows = attention_arrows(weights, places)
    for b in range(2):
        for i in range(16):
            total, mean = 0.0, [0.0, 0.0]
            for j in range(16):
                total += float(weights[b, i, j])
                for c in range(2):
                    images = [float(places[j, c] - places[i, c]) + n * SIDE for n in (-1, 0, 1)]
                    near = min(images, key=abs)
                    mean[c] += float(weights[b, i, j]) * (0.0 if abs(abs(near) - SIDE / 2) < 1e-4 else near)
            assert arrows[b, i].tolist() == pytest.approx([m / total for m in mean], abs=1e-5)


def test_uniform_attention_has_no_direction() -> None:
    arrows = attention_arrows(torch.ones(SLOTS**2, SLOTS**2), token_places(SLOTS))
    assert arrows.abs().max() < 1e-5


def test_attention_put_upstream_is_found_there() -> None:
    """Weights interpolate linearly at the true departure points: angle far below 15 degrees, full length."""
    flow = vortex_trajectories(2, frames=1, seed=3, points=32)[:, 0]
    slots = 16
    places = token_places(slots, points=32)
    truth = true_arrows(flow, places, interval=1.0)
    size = SIDE / slots
    gap = shortest(places - places[:, None] - truth[:, :, None]).abs() / size  # [batch, query, key, 2]
    weights = (1 - gap).clamp(min=0).prod(-1)
    found = agreement(attention_arrows(weights, places), truth, least=size)
    assert found.correlation > 0.999 and found.angle < 0.1 and abs(found.length - 1) < 1e-3
    assert found.count > 50
    turned = agreement(
        attention_arrows(weights, places).flip(-1) * torch.tensor([1.0, -1.0]), truth, least=size
    )
    assert turned.angle == pytest.approx(90, abs=0.1) and abs(turned.correlation) < 1e-3


def test_a_head_built_to_look_upstream_through_rotary_positions() -> None:
    """Queries turned by the displacement itself: a kernel that peaks at the known point."""
    channels, slots = 2 * 24, SLOTS
    turns = rotation((1, slots, slots), channels)
    displacement = torch.tensor([1.0, -2.0])  # in tokens
    ones = torch.cat((torch.ones(24), torch.zeros(24))).expand(1, 1, slots**2, channels)
    angle = 2 * math.pi / slots * displacement
    from atmorep_lite.zoo.torus_rotary import wave_vectors

    phase = wave_vectors(24, (1, slots, slots))[:, 1:].float() @ angle
    shifted = torch.stack((phase.cos(), phase.sin()))[:, None].expand(2, slots**2, 24)
    q = turn(turn(3 * ones, shifted), turns)
    weights = attention_weights(q, turn(3 * ones, turns))[0, 0]
    places = token_places(slots, side=float(slots))
    arrows = attention_arrows(weights, places, side=float(slots))
    found = agreement(arrows, displacement.expand_as(arrows), least=1.0)
    assert found.angle < 15 and found.correlation > 0.99


def test_true_arrows_of_a_known_flow() -> None:
    """vorticity = sin x makes the steady wind v = -cos x: the fluid came from y + cos(x) * time."""
    x = torch.arange(32) * (SIDE / 32)
    places = token_places(16, points=32)
    arrows = true_arrows(torch.sin(x).expand(1, 32, 32), places, interval=0.5, frames_back=2)[0]
    torch.testing.assert_close(arrows[:, 1], torch.zeros(256), atol=1e-4, rtol=0)
    torch.testing.assert_close(arrows[:, 0], torch.cos(places[:, 1]), atol=3e-3, rtol=0)


def test_agreement_of_parallel_turned_and_random_arrows() -> None:
    truth = torch.randn(4000, 2, generator=generator())
    half = agreement(truth / 2, truth, least=0.0)
    assert half.correlation == pytest.approx(1) and half.length == pytest.approx(0.5)
    assert half.angle == pytest.approx(0, abs=0.1) and half.count == 4000
    turn30 = torch.tensor([[math.cos(math.pi / 6), -0.5], [0.5, math.cos(math.pi / 6)]])
    assert agreement(truth @ turn30, truth, least=0.0).angle == pytest.approx(30, abs=0.01)
    assert agreement(-truth, truth, least=0.0).correlation == pytest.approx(-1)
    chance = agreement(torch.randn(4000, 2, generator=generator()).flip(0), truth, least=0.0)
    assert abs(chance.correlation) < 0.05 and abs(chance.angle - 90) < 3
    assert agreement(truth, truth, least=1.0).count == int((truth.norm(dim=1) >= 1).sum())
    with pytest.raises(UserError, match="no token moves"):
        agreement(truth, truth, least=100.0)


def test_centroid_of_one_vortex_points_at_it() -> None:
    field = torch.zeros(1, 16, 16)
    field[0, 4:6, 10:12] = -3.0  # the sign must not matter
    places = token_places(SLOTS, points=16)
    target = token_places(SLOTS, points=16)[2 * SLOTS + 5]
    for reach in (1.0, math.inf):
        arrows = centroid_of_vorticity(field, places, 2, reach=reach)[0]
        torch.testing.assert_close(arrows, shortest(target - places), atol=1e-4, rtol=0)


def test_best_reach_is_the_one_that_made_the_truth() -> None:
    newest = torch.randn(3, 16, 16, generator=generator())
    places = token_places(SLOTS, points=16)
    truth = centroid_of_vorticity(newest, places, 2, reach=0.8)
    assert best_reach(newest, truth, places, 2, least=0.0) == 0.8


def test_newest_attention_equals_the_captured_rows() -> None:
    model = looking_model()
    frames = torch.randn(2, 3, 16, 16, generator=generator())
    weights = newest_attention(model, frames)
    assert weights.shape == (2, 2, 2, SLOTS**2, 3, SLOTS**2)
    torch.testing.assert_close(weights.sum((-1, -2)), torch.ones(2, 2, 2, SLOTS**2), atol=1e-5, rtol=0)
    pair = model.capture(frames[1]).pairs["vorticity", "vorticity"]
    layer, head, query = 1, 0, 37
    q, k = pair.q[layer, head].astype(float), pair.k[layer, head].astype(float)
    scores = k @ q[2 * SLOTS**2 + query] / math.sqrt(q.shape[1])
    naive = torch.from_numpy(scores).softmax(0).view(3, -1).float()
    torch.testing.assert_close(weights[1, layer, head, query], naive, atol=1e-5, rtol=1e-3)
    with pytest.raises(UserError, match="frames each"):
        newest_attention(looking_model(token_size=(3, 2, 2)), frames)


def test_interventions() -> None:
    frames = torch.randn(2, 3, 4, 4, generator=generator())
    for name, wanted in {
        "as it was": frames,
        "newest frame three times": torch.stack([frames[:, 2]] * 3, 1),
        "frames in reverse order": torch.stack([frames[:, i] for i in (2, 1, 0)], 1),
        "newest three times, sign flipped": -torch.stack([frames[:, 2]] * 3, 1),
    }.items():
        assert torch.equal(INTERVENTIONS[name](frames), wanted)


def test_a_vortex_is_added_to_every_frame_at_its_place() -> None:
    frames = torch.randn(2, 3, 32, 32, generator=generator())
    added = with_vortex(frames, y=1.0, x=5.0, radius=0.4, strength=2.0) - frames
    torch.testing.assert_close(added.mean((-1, -2)), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(added[0, 0], added[1, 2], atol=1e-5, rtol=0)
    row, column = divmod(int(added[0, 0].argmax()), 32)
    assert abs(row * SIDE / 32 - 1.0) < 0.11 and abs(column * SIDE / 32 - 5.0) < 0.11
    background = added[0, 0, 20, 5]
    assert float(added[0, 0].max() - background) == pytest.approx(2.0, rel=0.1)


def test_silencing_an_earlier_head_changes_what_later_ones_see() -> None:
    model = looking_model()
    frames = torch.randn(1, 3, 16, 16, generator=generator())
    whole, cut = newest_attention(model, frames), newest_attention(model, frames, silence=[(0, 1)])
    assert torch.equal(whole[:, 0], cut[:, 0]) and not torch.equal(whole[:, 1], cut[:, 1])


def test_every_head_is_compared() -> None:
    model = looking_model()
    frames = torch.randn(2, 3, 16, 16, generator=generator())
    truth = torch.randn(2, SLOTS**2, 2, generator=generator())
    found = heads_agreement(model, frames, truth, least=0.5, frame=1)
    assert set(found) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    places = token_places(SLOTS, points=16)
    by_hand = attention_arrows(newest_attention(model, frames)[:, 1, 0, :, 1], places)
    assert found[1, 0] == agreement(by_hand, truth, least=0.5)
