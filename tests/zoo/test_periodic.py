"""Convolution on the torus against a loop; the band of waves against the solver's."""

import torch

from atmorep_lite.flows import draw_vortices, solve
from atmorep_lite.zoo.periodic import PeriodicConv, resolved


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
