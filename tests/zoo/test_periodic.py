"""Convolution on the torus against a loop; the band of waves against the solver's."""

import torch

from atmorep_lite.flows import draw_vortices, enstrophy, solve, vortex_trajectories
from atmorep_lite.zoo.periodic import PeriodicConv, bounded, resolved


def test_convolution_is_a_loop_with_wrapped_indices() -> None:
    torch.manual_seed(0)
    conv = PeriodicConv(2, 3, 5).double()
    torch.nn.init.normal_(conv.bias)
    x = torch.randn(1, 2, 6, 7).double()
    kernel = conv.weight.reshape(3, 2, 5, 5)
    expected = conv.bias[:, None, None].expand(3, 6, 7).clone()
    for y in range(6):
        for z in range(7):
            for j in range(5):
                for i in range(5):
                    expected[:, y, z] += kernel[:, :, j, i] @ x[0, :, (y + j - 2) % 6, (z + i - 2) % 7]
    torch.testing.assert_close(conv(x)[0], expected)


def test_resolved_leaves_what_the_solver_makes_and_nothing_else() -> None:
    flow = solve(draw_vortices(2, generator=torch.Generator().manual_seed(0), points=32), frames=2)
    torch.testing.assert_close(resolved(flow), flow, rtol=0, atol=1e-5)  # changes no solution
    noise = torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(1))
    band = solve(noise, frames=1)[:, 0]  # the solver drops from frame 0 what it does not resolve
    torch.testing.assert_close(resolved(noise), band, rtol=0, atol=1e-5)
    assert (band - noise).norm() > 0.5 * noise.norm()


def test_bounded_is_the_nearest_field_with_no_more_enstrophy() -> None:
    before, field = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    field[0] *= 3
    field[1] *= 0.3
    got = bounded(field, before)
    assert torch.equal(got[1], field[1])  # small enough already
    torch.testing.assert_close(enstrophy(got[0]), enstrophy(before[0]))
    others = torch.randn(200, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    others *= before[0].norm() / others.flatten(1).norm(dim=1)[:, None, None]
    others = torch.cat(
        (others, (got[0] + 0.1 * others) * (before[0].norm() / (got[0] + 0.1 * others).norm()))
    )
    inside = others.flatten(1).norm(dim=1) <= before[0].norm() * (1 + 1e-9)
    assert inside.sum() >= 200
    assert ((others[inside] - field[0]).flatten(1).norm(dim=1) >= (got[0] - field[0]).norm() - 1e-9).all()


def test_enstrophy_of_the_flow_falls_so_bounding_never_hurts() -> None:
    flow = vortex_trajectories(4, frames=6, seed=3, points=32)
    assert (enstrophy(flow[:, 1:]) < enstrophy(flow[:, :-1])).all()
    guess = flow[:, 1:] + 0.3 * torch.randn(flow[:, 1:].shape, generator=torch.Generator().manual_seed(0))
    error, limited = ((f - flow[:, 1:]).flatten(2).norm(dim=2) for f in (guess, bounded(guess, flow[:, :-1])))
    assert (limited <= error * (1 + 1e-6)).all() and (limited < 0.99 * error).any()


def test_gradients_pass_where_nothing_flows() -> None:
    field = torch.zeros(1, 4, 4, requires_grad=True)
    bounded(field, torch.zeros(1, 4, 4)).sum().backward()
    assert field.grad is not None and field.grad.isfinite().all()
