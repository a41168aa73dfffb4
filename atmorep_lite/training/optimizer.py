"""Optimisers: AdamW, or Muon for the matrices and AdamW for the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import nn

from atmorep_lite.config import StageConfig, TrainingConfig
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep


def trainable(model: AtmoRep, part: str, *, held: Collection[str] = ()) -> dict[str, nn.Parameter]:
    """The parameters that a stage trains; all others are frozen by this call.

    ``held`` never learn (:func:`atmorep_lite.training.tuning.freeze.held`).

    Raises
    ------
    UserError
        If nothing is left to learn.
    """
    chosen = {}
    for name, parameter in model.named_parameters():
        if name.startswith("departure_scale"):
            continue
        in_skip = name.startswith("grid_skip")
        wanted = (part == "all" or (part == "grid_skip") == in_skip) and name not in held
        parameter.requires_grad_(wanted)
        if wanted:
            chosen[name] = parameter
    if not chosen:
        raise UserError(
            f"a stage of the part {part} would train nothing: the model has no such part, or training.freeze "
            "or training.lora holds all of it; leave out the stage or hold less"
        )
    return chosen


def build_optimizers(
    parameters: dict[str, nn.Parameter], stage: StageConfig, training: TrainingConfig
) -> list[torch.optim.Optimizer]:
    """One or two optimisers for a stage.

    Muon (Jordan et al. 2024) orthogonalises the update of each matrix; its rate is scaled so that the same
    number suits AdamW.  Muon takes all that has two axes (also the tails' stacked vectors, one row a member);
    the rest, and with ``optimizer: adamw`` everything, goes to AdamW.  Weight decay is for two axes only.
    """
    matrices = [p for p in parameters.values() if p.dim() == 2]
    others = [p for p in parameters.values() if p.dim() != 2]
    rate, decay = stage.learning_rate, training.weight_decay
    if training.optimizer == "muon":
        optimizers: list[torch.optim.Optimizer] = []
        if matrices:
            optimizers.append(
                torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
            )
        if others:
            optimizers.append(torch.optim.AdamW(others, lr=rate, weight_decay=0.0, betas=(0.9, 0.98)))
        return optimizers
    groups: Iterable[dict] = (
        {"params": matrices, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    )
    return [torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, betas=(0.9, 0.98))]
