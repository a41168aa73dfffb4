"""Low-rank corrections: a trained model learns something new by a hundredth of its numbers.

A matrix ``W [out, in]`` stays as it is, and ``W + (alpha / rank) B A`` takes its place, of which only
``A [rank, in]`` and ``B [out, rank]`` learn.  ``A`` begins at random and ``B`` at zero, so that nothing
changes at first; it is ``B`` that learns in the first step, and ``A`` from the second on.  At the end the
product is added to ``W``, and the model is an ordinary one again.

Where several matrices are stacked, as queries, keys and values of all heads are, they share ``A``.

Source: Hu et al. 2021, LoRA: low-rank adaptation of large language models (arXiv:2106.09685), eq. 3.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils import parametrize

from atmorep_lite.config import LoraConfig, TrainingConfig
from atmorep_lite.errors import UserError
from atmorep_lite.training.checkpoint import write_atomically
from atmorep_lite.training.tuning.names import matching, of_field

#: What the parametrization puts between the name of a layer and those of its matrices.
BASE, CORRECTION = ".parametrizations.weight.original", ".parametrizations.weight.0."


class Correction(nn.Module):
    """``W -> W + (alpha / rank) B A`` for ``W [out, in]``."""

    def __init__(self, weight: Tensor, settings: LoraConfig) -> None:
        super().__init__()
        out, inputs = weight.shape
        self.scale = settings.alpha / settings.rank
        self.A = nn.Parameter(torch.randn(settings.rank, inputs, device=weight.device) * inputs**-0.5)
        self.B = nn.Parameter(torch.zeros(out, settings.rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.B @ self.A)


def plain_name(name: str) -> str:
    """A parameter's name in the model without corrections; that of a correction is its layer's weight's."""
    layer = name.partition(".parametrizations.")[0]
    return name if layer == name else f"{layer}.weight"


def is_correction(name: str) -> bool:
    """Whether a parameter is an ``A`` or a ``B``."""
    return CORRECTION in name


def adapt(model: nn.Module, training: TrainingConfig) -> None:
    """Give the linear layers that ``training.lora.layers`` names a correction each; nothing without the key.

    To be called once, before the model is wrapped for several processes and before its optimizers are made.
    Layers of fields that begin at random get none: they learn as a whole.

    Raises
    ------
    UserError
        If a pattern matches no linear layer, a rank is no lower than the matrix's own, or the run does not
        start from a trained model.
    """
    settings, start = training.lora, training.start
    if settings is None:
        return
    if start is None:
        raise UserError(
            "training.lora corrects a trained model, but the run starts from none; set training.start.models "
            "or leave out training.lora"
        )
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and not of_field(name, start.new_fields)
    }
    for name in sorted(matching(settings.layers, layers, key="training.lora.layers", what="linear layer")):
        shape = layers[name].weight.shape
        if settings.rank >= min(shape):
            raise UserError(
                f"training.lora.rank {settings.rank} is not below the {min(shape)} of {name} ({shape[0]} x "
                f"{shape[1]}); choose a lower rank or leave the layer out"
            )
        _correct(layers[name], settings)


def _correct(layer: nn.Module, settings: LoraConfig) -> None:
    weight = layer.get_parameter("weight")
    weight.requires_grad_(False)
    parametrize.register_parametrization(layer, "weight", Correction(weight, settings))


def merge(model: nn.Module) -> None:
    """Add the corrections to the weights, in place; the model is an ordinary one then."""
    for layer in list(model.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def save_corrections(path: str | Path, state: Mapping[str, Tensor], settings: LoraConfig) -> None:
    """Write the corrections in a state dictionary alone, as safetensors; they belong to one trained model."""
    parts = {name: t.detach().contiguous() for name, t in state.items() if is_correction(name)}
    about = {"rank": settings.rank, "alpha": settings.alpha, "base": _fingerprint(state)}
    content = save(
        {name.replace(CORRECTION, "."): tensor for name, tensor in parts.items()},
        metadata={"atmorep_lite.lora": json.dumps(about)},
    )
    write_atomically(Path(path), lambda temporary: temporary.write_bytes(content))


def put_on(model: nn.Module, path: str | Path) -> None:
    """Add saved corrections to the weights of the model that they were learnt on.

    Raises
    ------
    UserError
        If the file is none of :func:`save_corrections`, or its corrections belong to another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["atmorep_lite.lora"])
            parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except (SafetensorError, OSError, KeyError) as error:
        raise UserError(f"{path} holds no corrections of atmorep_lite ({error}); give such a file") from error
    layers = {name.rpartition(".")[0] for name in parts}
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    weights = {f"{layer}{BASE}": state[f"{layer}.weight"] for layer in layers if f"{layer}.weight" in state}
    if len(weights) != len(layers) or _fingerprint(weights) != about["base"]:
        raise UserError(
            f"the corrections in {path} were learnt on other weights than these; put them on the model that "
            "their run started from"
        )
    with torch.no_grad():
        for layer in layers:
            correction = about["alpha"] / about["rank"] * (parts[f"{layer}.B"] @ parts[f"{layer}.A"])
            model.get_parameter(f"{layer}.weight").add_(correction)


def _fingerprint(state: Mapping[str, Tensor]) -> str:
    """Of the corrected layers' weights before correction."""
    digest = hashlib.sha256()
    for name in sorted(name for name in state if name.endswith(BASE)):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
