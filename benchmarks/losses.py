"""Which losses are proper: the spread that a toy ensemble finds when the truth is noise of known spread.

Two kinds of ensemble.  *Heads*: 8 free numbers, as the model's tails are for one value.  *Draws*: 8 random
draws ``mean + spread * noise`` with fresh noise in every step, as a sampler gives them.  A proper score finds
the true spread (ratio 1).  For a loss of patches the value is a patch of 4 x 4 points.

Then what a loss sees of how points belong together: the score of an ensemble that is right at every point but
whose points know nothing of each other, divided by that of one that is right altogether.  Run as
``python benchmarks/losses.py``; about a minute and a half on one core.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atmorep_lite.losses import LOSSES, crps, spectral

SPREADS = (0.1, 0.3, 1.0)
MEMBERS, SAMPLES, STEPS = 8, 512, 800


def both(members: Tensor, target: Tensor) -> Tensor:
    """A score of points with one of patches."""
    return crps(members, target) + 0.1 * spectral(members, target)


OF_PATCHES = {"spectral": spectral, "crps + 0.1 spectral": both}


def found_spread(name: str, truth: float, *, draws: bool) -> float:
    """Spread of the ensemble after training, divided by that of the truth."""
    torch.manual_seed(0)
    loss = (LOSSES | OF_PATCHES)[name]
    patch = (4, 4) if name in OF_PATCHES else ()
    ramp = torch.linspace(-1, 1, MEMBERS).view(-1, *[1] * len(patch))
    heads = (0.5 * truth * ramp * torch.ones(patch)).requires_grad_()
    mean, log_spread = torch.zeros((), requires_grad=True), torch.tensor(0.5 * truth).log().requires_grad_()
    parameters = [mean, log_spread] if draws else [heads]
    optimizer = torch.optim.Adam(parameters, lr=0.02 if draws else 0.02 * truth)
    late = []
    for step in range(STEPS):
        target = truth * torch.randn(SAMPLES, *patch)
        noise = torch.randn(MEMBERS, SAMPLES, *patch)
        members = mean + log_spread.exp() * noise if draws else heads[:, None].expand(noise.shape)
        optimizer.zero_grad()
        loss(members, target).backward()
        optimizer.step()
        if step >= STEPS // 2:
            spread = log_spread.exp() if draws else heads.var(0).mean().sqrt()
            late.append(spread.item() / truth)
    return sum(late) / len(late)


def scrambled_score(name: str) -> float:
    """Score of white noise divided by that of smooth noise, both of variance 1, where the truth is smooth."""
    torch.manual_seed(0)

    def smooth(*shape: int) -> Tensor:
        return 3.0 * torch.nn.functional.avg_pool2d(torch.randn(*shape, 18, 34), 3, 1)

    loss, truth = (LOSSES | OF_PATCHES)[name], smooth(SAMPLES)
    right = torch.stack([smooth(SAMPLES) for _ in range(MEMBERS)])
    return (loss(torch.randn_like(right), truth) / loss(right, truth)).item()


def main() -> None:
    """Print the table."""
    kinds = [(draws, s) for draws in (False, True) for s in SPREADS]
    head = "".join(f"{'draws' if draws else 'heads'} {s:<5}" for draws, s in kinds)
    print(f"{'loss':24}{head}scrambled")
    for name in LOSSES | OF_PATCHES:
        row = [found_spread(name, s, draws=draws) for draws, s in kinds] + [scrambled_score(name)]
        print(f"{name:24}" + "".join(f"{ratio:<11.2f}" for ratio in row))


if __name__ == "__main__":
    main()
