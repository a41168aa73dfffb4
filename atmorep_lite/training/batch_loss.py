"""The loss of a batch that is computed in parts, and its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from atmorep_lite.config import Config, StageConfig
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.parts import Part, keys_of, make_part, parts_of_stage
from atmorep_lite.training.processes import ALONE, Processes
from atmorep_lite.training.step import first_guess_loss, guess_sums, hidden_weights, masked_loss

Losses = tuple[Tensor, dict[str, float]]
"""In all, and by field."""


class PartLoss(nn.Module):
    """The loss of a part of a batch as the ``forward`` of a module: what parallel wrappers act upon.

    The network runs in ``training.precision``; its weights and the loss are float32.
    """

    def __init__(self, model: AtmoRep, config: Config, stage: StageConfig) -> None:
        super().__init__()
        self.model, self.config, self.stage = model, config, stage
        self.of_first_guess = stage.part in ("grid_skip", "regression")
        self.rooted = self.of_first_guess and stage.root_errors

    def forward(self, part: Part, whole: Tensor | None = None, *, only_sums: bool = False) -> Losses | Tensor:
        """The loss, of a part of a batch if ``whole`` is given; or what :func:`part_sums` returns."""
        with self._precision(part):
            if only_sums:
                return part_sums(self.model, self, part)
            if self.of_first_guess:
                return first_guess_loss(
                    self.model,
                    part.tokens,
                    part.batch,
                    short_leads=self.stage.short_leads,
                    root_errors=self.stage.root_errors,
                    whole=whole,
                )
            return masked_loss(
                self.model,
                part.tokens,
                part.batch,
                self.config.training.loss,
                self.config.training.weights,
                short_leads=self.stage.short_leads,
                whole=whole,
            )

    def _precision(self, part: Part) -> torch.autocast | nullcontext:
        if self.config.training.precision == "float32":
            return nullcontext()
        return torch.autocast(part.batch.static.device.type, torch.bfloat16)


def part_sums(model: AtmoRep, loss: PartLoss, part: Part) -> Tensor:
    """What the other parts of a batch must know of this one: sums of weights, and of errors under a root."""
    stage = loss.stage
    if loss.of_first_guess:
        return guess_sums(
            model, part.tokens, part.batch, short_leads=stage.short_leads, root_errors=stage.root_errors
        )
    return hidden_weights(model, part.tokens, loss.config.training.weights, short_leads=stage.short_leads)


class BatchLoss:
    """Loss and gradient of whole batches, each process computing its parts of them.

    Parameters
    ----------
    loss
        Of a part: a :class:`PartLoss`, or what makes it parallel.
    plain
        The :class:`PartLoss` of a model whose weights are all here, on any device.
    processes
        Of the run.
    """

    def __init__(self, loss: nn.Module, plain: PartLoss, processes: Processes) -> None:
        self.loss, self.plain, self.processes = loss, plain, processes

    def __call__(self, parts: Sequence[Part], *, backward: bool) -> Losses:
        """The loss of the batch of which these are the parts that this process computes.

        With ``backward`` the gradient is added to the parameters' ``grad``, the same in all processes.
        """
        count = len(parts) * self.processes.count
        whole = self._whole(parts, count)
        names = self.plain.model.config.names
        totals = torch.zeros(1 + 2 * len(names), dtype=torch.float64)  # all, by field, which fields there are
        for number, part in enumerate(parts):
            torch.manual_seed(part.seed)
            with self._communicating(number == len(parts) - 1):
                loss, per_field = self.loss(part, whole)
                if backward:
                    (loss / len(parts)).backward()
            found = torch.tensor([per_field.get(name, torch.nan) for name in names], dtype=torch.float64)
            missing = torch.tensor([name not in per_field for name in names])
            row = torch.cat((loss.detach().cpu().double()[None], found.masked_fill(missing, 0.0), ~missing))
            totals += row / count
        reshard = getattr(self.loss, "reshard", None)
        if not backward and reshard is not None:  # FSDP keeps weights together for a backward pass
            reshard()
        self.processes.sum(totals)
        total, fields, present = totals.split((1, len(names), len(names)))
        per_field = {n: float(v) for n, v, here in zip(names, fields, present, strict=True) if here}
        return total[0], per_field

    def _whole(self, parts: Sequence[Part], count: int) -> Tensor | None:
        """Mean over all parts of the sums that a part's loss needs; None if there is one part only."""
        if count == 1:
            return None
        with torch.no_grad():
            if self.plain.rooted:  # the network runs twice
                sums = [self.loss(part, only_sums=True) for part in parts]
            else:
                sums = [part_sums(self.plain.model, self.plain, part) for part in parts]
        return self.processes.sum(torch.stack(sums).sum(0)) / count

    @contextmanager
    def _communicating(self, last: bool) -> Iterator[None]:
        """DDP adds up gradients over processes once, after the last part."""
        no_sync = getattr(self.loss, "no_sync", None)
        with nullcontext() if last or no_sync is None else no_sync():
            yield


def training_loss(
    model: AtmoRep, data: Neighbourhoods, config: Config, stage: StageConfig, index: int, step: int
) -> Losses:
    """The loss of one step's batch, which depends on (seed, stage, step) and nothing else.

    A stage is an epoch.  Stage -1 is validation.
    """
    part = make_part(data, config, stage, keys_of(config, stage, index, step))
    torch.manual_seed(part.seed)
    return PartLoss(model, config, stage)(part)


@torch.no_grad()
def validation_loss(
    model: AtmoRep | BatchLoss, data: Neighbourhoods, config: Config, stage: StageConfig, batches: int = 4
) -> float:
    """Mean loss over a few batches of the validation record, the same ones every time.

    Of a :class:`BatchLoss` every process computes its parts of them.
    """
    if isinstance(model, AtmoRep):
        alone = PartLoss(model, config, stage)
        model = BatchLoss(alone, alone, replace(ALONE, device=next(model.parameters()).device))
        each = 1
    else:
        each = config.training.accumulate
    make = parts_of_stage(data, config, stage, -1, model.processes, each=each)
    was_training = model.loss.training
    model.loss.eval()
    losses = []
    device = model.processes.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for step in range(batches):
            parts = [make(step * each + n).to(model.processes.device) for n in range(each)]
            losses.append(model(parts, backward=False)[0])
    model.loss.train(was_training)
    return float(torch.stack(losses).mean())
