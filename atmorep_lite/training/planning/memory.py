"""How much memory a training step needs, found without computing anything.

The step is run on *fake* tensors, which have a shape and a type but no values: what autograd would keep for
the backward pass is added up in seconds, for a model of any size, on a machine of any size.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from atmorep_lite.config import Config, ModelConfig, StageConfig, Triple
from atmorep_lite.losses import LOSSES
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.layers import DecoderLayer, EncoderLayer
from atmorep_lite.model.nearness import Nearness
from atmorep_lite.tokens import FieldTokens
from atmorep_lite.training.optimizer import build_optimizers, trainable


@dataclass(frozen=True)
class Kept:
    """Bytes that a training step holds besides weights and their gradients: ``fixed + samples * per_sample``.

    ``fixed`` does not depend on the number of samples: copies of the weights in the precision of the
    products, and the product of the tails' scales with their first matrices.
    """

    fixed: float
    per_sample: float

    def of(self, samples: int) -> float:
        """Bytes with so many samples at a time."""
        return self.fixed + samples * self.per_sample


def kept(
    config: Config,
    *,
    part: str = "all",
    hidden: float = 0.25,
    checkpointing: bool = False,
    half: bool = False,
) -> Kept:
    """What a step of a stage of ``part`` keeps.

    Parameters
    ----------
    hidden
        Share of the tokens that is hidden.
    checkpointing
        Keep every layer's input only; one layer's intermediate results at a time come back.
    half
        Matrix products in bfloat16.
    """
    one, two = (
        _kept(config, samples, part=part, hidden=hidden, checkpointing=checkpointing, half=half)
        for samples in (1, 2)
    )
    return Kept(max(0.0, 2 * one - two), min(one, two - one))


def _kept(
    config: Config, samples: int, *, part: str, hidden: float, checkpointing: bool, half: bool
) -> float:
    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        model = AtmoRep(config.model).train()
        if model.grid_skip is not None:
            model.grid_skip.regression = None  # fitted, not trained
        trainable(model, part)
        count = _Count(model, checkpointing=checkpointing)
        precision = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
        with precision, torch.autograd.graph.saved_tensors_hooks(count.keep, lambda x: x):
            loss_of_shapes(model, config, samples, part, hidden)
    return count.total


class _Count:
    """Adds up what autograd keeps; weights do not count, and views of one storage count once.

    With ``checkpointing``, of the blocks' inside only the largest, but what they are given.
    """

    def __init__(self, model: AtmoRep, *, checkpointing: bool) -> None:
        self._seen = {p.untyped_storage()._cdata for p in model.parameters()}
        self._storages: list[object] = []  # alive, so that no address is used twice
        self._bytes = 0.0
        self._largest = 0.0
        self._begun = 0.0
        self._inside: list[float] = []
        for module in model.modules() if checkpointing else ():
            if isinstance(module, EncoderLayer | DecoderLayer):
                module.register_forward_pre_hook(self._enter)
                module.register_forward_hook(self._leave)

    def keep(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self._storages.append(storage)
            self._bytes += storage.nbytes()
            if x.requires_grad or x.dim() != 4:  # a bias [b, h, q, k] is read and has no gradient
                self._largest = max(self._largest, storage.nbytes())
        return x

    def _enter(self, block: nn.Module, inputs: tuple[object, ...]) -> None:
        for given in inputs:
            for x in given.values() if isinstance(given, dict) else (given,):
                if isinstance(x, Tensor):
                    self.keep(x)
        self._begun = self._bytes

    def _leave(self, block: nn.Module, inputs: object, output: Tensor) -> None:
        self._inside.append(self._bytes - self._begun)

    @property
    def total(self) -> float:
        """The bytes kept, and two tensors of the largest size for the backward pass to work on."""
        return self._bytes + 2 * self._largest - sum(self._inside) + max(self._inside, default=0.0)


def loss_of_shapes(model: AtmoRep, config: Config, samples: int, part: str, hidden: float) -> Tensor:
    """A loss with the shapes of a training step's: as :meth:`AtmoRep.predict_hidden`, but for any values."""
    tokens, static = blank_tokens(config.model, samples, hidden=hidden)
    guess = {}
    if config.model.predict == "departure":
        if part == "grid_skip":
            grid = model.first_guess_on_grid(tokens, static)
            return ((grid.values / grid.scale) ** 2 * grid.scale).sum()
        guess = model.first_guess(tokens, static)
        tokens = {name: field.with_values(guess[name].values) for name, field in tokens.items()}
    near = Nearness(config.model, tokens)
    encoded = model.encode(tokens, near=near)
    total = static.new_zeros(())
    for name in model.predicted:
        own = tokens[name].mask[0].numel()
        wanted = torch.zeros((samples, max(1, round(hidden * own))), dtype=torch.long)
        x = model.decode(name, tokens[name], encoded[name], wanted=wanted, near=near)
        members = model.tails[name](x.flatten(0, 1)).float()
        if name in guess:
            scale = torch.ones_like(members[:, 0])
            members = (scale[:, None] + scale[:, None] * members) / scale[:, None]
        target, weight = torch.zeros_like(members[:, 0]), torch.zeros(len(members), 1)
        for kind in config.training.loss:
            loss = LOSSES[kind if kind in LOSSES else "crps"]
            total = total + loss(members.transpose(0, 1), target, weight)
    return total


@dataclass(frozen=True)
class States:
    """Bytes that a stage remembers from step to step; of the weights, ``largest`` are the largest layer's."""

    weights: float
    gradients: float
    optimizers: float
    ema: float
    largest: float

    @property
    def saved(self) -> float:
        """Bytes of a checkpoint: all but the gradients."""
        return self.weights + self.optimizers + self.ema


def states(config: Config, stage: StageConfig) -> States:
    """What training remembers, whatever the optimizers are: they make a step on fake tensors."""
    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        model = AtmoRep(config.model)
        learning = trainable(model, stage.part)
        everything = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        weights = sum(_bytes(p) for p in everything.values())
        learnt = sum(_bytes(p) for p in learning.values())
        optimizers = [] if stage.part == "regression" else build_optimizers(learning, stage, config.training)
        for parameter in learning.values():
            parameter.grad = torch.zeros_like(parameter)
        remembered = 0.0
        for optimizer in optimizers:
            optimizer.step()
            values = (v for state in optimizer.state.values() for v in state.values())
            remembered += sum(_bytes(v) for v in values if isinstance(v, Tensor))
        layers = (m for m in model.modules() if isinstance(m, EncoderLayer | DecoderLayer))
        largest = max((sum(_bytes(p) for p in layer.parameters()) for layer in layers), default=0.0)
    return States(
        weights,
        0.0 if stage.part == "regression" else learnt,
        remembered,
        weights if config.training.ema is not None else 0.0,
        largest,
    )


def _bytes(tensor: Tensor) -> float:
    return float(tensor.numel() * tensor.element_size())


def blank_tokens(
    model: ModelConfig, samples: int, *, hidden: float = 0.25
) -> tuple[dict[str, FieldTokens], Tensor]:
    """A batch of zeros, the first ``hidden`` of each sample's tokens masked, and its static maps.

    Fields of the same shape are at the same places, as in a batch of data.
    """
    tokens, infos = {}, dict[torch.Size, Tensor]()
    for f in model.fields:
        own = _blank(samples, len(f.levels), f.num_tokens, f.token_values, infos)
        count = own.mask[0].numel()
        own.mask.view(samples, -1)[:, : max(1, round(hidden * count))] = True
        if f.context is not None:
            size = f.context
            context = _blank(samples, len(f.levels), size.num_tokens, size.token_values, infos)
            own = replace(own, context=replace(context, offset=torch.zeros(samples, 2, dtype=torch.long)))
        tokens[f.name] = own
    channels = 8 if model.grid_skip is None else model.grid_skip.static_channels
    return tokens, torch.zeros(samples, channels, *model.extent[1:])


def _blank(
    samples: int, levels: int, counts: Triple, values: int, infos: dict[torch.Size, Tensor]
) -> FieldTokens:
    shape = (samples, levels, *counts)
    info = infos.setdefault(torch.Size(shape), torch.ones(*shape, 8))
    return FieldTokens(torch.zeros(*shape, values), info, torch.zeros(shape, dtype=torch.bool))
