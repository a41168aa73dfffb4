"""Which losses are proper: the spread that a toy ensemble finds when the truth is noise of known spread.

Two kinds of ensemble.  *Heads*: 8 free numbers, as the model's tails are for one value.  *Draws*: 8 random
draws ``mean + spread * noise`` with fresh noise in every step, as a sampler gives them.  A proper score finds
the true spread (ratio 1).  Run as ``python benchmarks/losses.py``; about 30 s on one core.
"""

from __future__ import annotations

import torch

from atmorep_lite.losses import LOSSES

SPREADS = (0.1, 0.3, 1.0)
MEMBERS, SAMPLES, STEPS = 8, 512, 800


def found_spread(name: str, truth: float, *, draws: bool) -> float:
    """Spread of the ensemble after training, divided by that of the truth."""
    torch.manual_seed(0)
    heads = (0.5 * truth * torch.linspace(-1, 1, MEMBERS)).requires_grad_()
    mean, log_spread = torch.zeros((), requires_grad=True), torch.tensor(0.5 * truth).log().requires_grad_()
    parameters = [mean, log_spread] if draws else [heads]
    optimizer = torch.optim.Adam(parameters, lr=0.02 if draws else 0.02 * truth)
    late = []
    for step in range(STEPS):
        target = truth * torch.randn(SAMPLES)
        noise = torch.randn(MEMBERS, SAMPLES)
        members = mean + log_spread.exp() * noise if draws else heads[:, None].expand(-1, SAMPLES)
        optimizer.zero_grad()
        LOSSES[name](members, target).backward()
        optimizer.step()
        if step >= STEPS // 2:
            late.append((log_spread.exp() if draws else heads.std()).item() / truth)
    return sum(late) / len(late)


def main() -> None:
    """Print the table."""
    kinds = [(draws, s) for draws in (False, True) for s in SPREADS]
    print(f"{'loss':24}" + "".join(f"{'draws' if draws else 'heads'} {s:<5}" for draws, s in kinds))
    for name in LOSSES:
        row = [found_spread(name, s, draws=draws) for draws, s in kinds]
        print(f"{name:24}" + "".join(f"{ratio:<11.2f}" for ratio in row))


if __name__ == "__main__":
    main()
