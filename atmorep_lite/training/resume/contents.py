"""What a training has to remember, as tensors in nested dictionaries, and how it is put back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from atmorep_lite.training.resume.states import Saved, States


def training_state(
    model: nn.Module, optimizers: Iterable[torch.optim.Optimizer] = (), **more: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The tensors of a training: weights, what the optimizers remember of each by its name, and ``more``.

    The function of the same purpose in :mod:`torch.distributed.checkpoint.state_dict` makes an empty
    optimizer take a step first, after which Adam's count of steps is one too high.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    remembered = {
        names[parameter]: dict(values)
        for optimizer in optimizers
        for parameter, values in optimizer.state.items()
    }
    return {"model": model.state_dict(), "optimizers": remembered, **more}


def restore(
    states: States,
    saved: Saved,
    model: nn.Module,
    optimizers: Iterable[torch.optim.Optimizer] = (),
    **more: Mapping[str, Tensor],
) -> None:
    """Put a :func:`training_state` back; ``optimizers`` may be new ones, whose state is still empty.

    Their groups with rates and other settings stay as they are.
    """
    kept: dict[str, dict[str, tuple[torch.Size, torch.dtype]]] = {}
    for (kind, *path), form in states.contents(saved).items():
        if kind == "optimizers":
            kept.setdefault(path[0], {})[path[1]] = form
    names = {parameter: name for name, parameter in model.named_parameters()}
    remembered: dict[str, dict[str, Tensor]] = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            on_device = bool(group.get("fused") or group.get("capturable"))
            for parameter in group["params"]:
                forms = kept.get(names[parameter], {})
                found = {key: _empty(parameter, key, *form, on_device) for key, form in forms.items()}
                if found:
                    optimizer.state[parameter] = remembered[names[parameter]] = found
    states.load(saved, {"model": model.state_dict(), "optimizers": remembered, **more})


def _empty(parameter: Tensor, key: str, shape: torch.Size, dtype: torch.dtype, on_device: bool) -> Tensor:
    """Room for what an optimizer remembers: distributed as its parameter, unless it is a count of steps."""
    if key != "step" and shape == parameter.shape:
        return torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
    return torch.zeros(shape, dtype=dtype, device=parameter.device if on_device else "cpu")
