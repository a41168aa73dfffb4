"""Positions on the torus: turned queries and keys against the formula with explicit displacements."""

import math

import pytest
import torch

from atmorep_lite.attention import attend, attention_weights
from atmorep_lite.zoo.torus_rotary import beside, rotation, token_angles, turn, wave_vectors


def test_attention_is_the_formula_with_explicit_displacements() -> None:
    """Scores from complex amplitudes times exp(i m . displacement), pair by pair, in a loop over tokens."""
    slots, d = (1, 4, 5), 8
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 20, d, generator=g).double()
    table = rotation(slots, d).double()
    got = attend(turn(q, table), turn(k, table), v)
    m = wave_vectors(d // 2, slots).double()
    amplitude_q, amplitude_k = (torch.complex(x[..., : d // 2], x[..., d // 2 :]) for x in (q, k))
    for head in range(2):
        for i in range(20):
            scores = []
            for j in range(20):
                cells_y, cells_x = j // 5 - i // 5, j % 5 - i % 5
                move = torch.tensor([0.0, 2 * math.pi * cells_y / 4, 2 * math.pi * cells_x / 5]).double()
                phase = torch.exp(1j * (m @ move))
                scores.append((amplitude_q[0, head, i].conj() * amplitude_k[0, head, j] * phase).real.sum())
            weights = (torch.stack(scores) / math.sqrt(d)).softmax(0)
            torch.testing.assert_close(got[0, head, i], weights @ v[0, head], rtol=1e-5, atol=1e-6)


def test_a_full_circle_changes_nothing() -> None:
    m = wave_vectors(12, (1, 8, 8)).double()
    place = torch.tensor([0.0, 1.2, 2.3]).double()
    around = place + 2 * math.pi * torch.tensor([0.0, 1.0, -2.0]).double()
    torch.testing.assert_close((m @ place).cos(), (m @ around).cos())
    torch.testing.assert_close((m @ place).sin(), (m @ around).sin())


@pytest.mark.parametrize("slots", [(1, 8, 8), (3, 8, 8), (1, 1, 4)])
def test_wave_vectors_are_distinct_and_the_longest_waves(slots: tuple[int, int, int]) -> None:
    m = wave_vectors(7, slots)
    both = {tuple(row) for row in torch.cat((m, -m)).tolist()}
    assert m.shape == (7, 3) and len(both) == 14  # no wave twice, not even with the other sign
    lengths = m.square().sum(1)
    assert (lengths.diff() >= 0).all() and lengths[0] == 1
    for axis, n in enumerate(slots):
        assert n > 1 or not m[:, axis].any()
    if slots == (1, 8, 8):  # all of length up to sqrt(2), then some of length 2
        assert lengths.tolist() == [1, 1, 2, 2, 4, 4, 5]


def test_times_do_not_wrap() -> None:
    """All five differences of three time slots are different on the circle."""
    time = token_angles((3, 1, 1))[:, 0]
    differences = {round(float((a - b) % (2 * math.pi)), 4) for a in time for b in time}
    assert len(differences) == 5


def test_constants_make_a_kernel_of_displacement() -> None:
    """With equal q and k at all places, weights are one function of the displacement for each query."""
    slots, d = (1, 6, 6), 8
    g = torch.Generator().manual_seed(1)
    q, k = torch.randn(2, 1, 1, 1, d, generator=g).expand(2, 1, 1, 36, d).unbind()
    table = rotation(slots, d)
    scores = (turn(q, table) @ turn(k, table).mT)[0, 0].reshape(6, 6, 6, 6)
    for y, x in ((1, 0), (2, 3), (5, 5)):
        torch.testing.assert_close(scores[y, x].roll((-y, -x), (0, 1)), scores[0, 0])
    assert scores.std() > 0.1


def test_beside_is_a_blob_beside_the_query() -> None:
    """Weights of each head, by the formula in the docstring; the offset in the direction asked for."""
    slots, d, focus = (1, 16, 16), 8, 4.0
    angles = torch.tensor([0.0, math.pi / 2])  # towards x, towards y
    q, k = (b.view(1, 2, 1, d).expand(1, 2, 256, d) for b in beside(focus, angles, d))
    table = rotation(slots, d)
    weights = attention_weights(turn(q, table), turn(k, table))[0, :, 0].unflatten(-1, (16, 16))
    angle = torch.arange(16) * 2 * math.pi / 16
    for head, (c, oy, ox) in enumerate(((4.0, 0.0, 0.5), (1.0, 1.0, 0.0))):
        blob = (c * ((angle - oy).cos()[:, None] + (angle - ox).cos())).exp()
        torch.testing.assert_close(weights[head], blob / blob.sum())
