"""What a sample costs: floating-point operations, counted from the shapes of all matrix products.

A product of ``[n, a]`` with ``[a, b]`` counts ``2 n a b``: one multiplication and one addition each.  Norms,
softmax, GELU and the loss are left out: they cost time (memory traffic), but less than 2 % of the operations.
The backward pass needs two products for each one of the forward pass, and one where nothing before it learns
(Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022, appendix B).  Layers that are computed twice because
of checkpointing count once: this is the work that the model needs, not what a machine spends on it.

Legend: ``n`` tokens of a field, ``m`` of them hidden, ``e`` embedding width, ``d`` channels of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from atmorep_lite.config import Config, FieldConfig, ModelConfig, StageConfig, Triple
from atmorep_lite.masking.drawing import STRATEGIES
from atmorep_lite.masking.keys import Key, Purpose, generator
from atmorep_lite.masking.tasks import Scene
from atmorep_lite.model.embedding import INFO_CHANNELS
from atmorep_lite.model.positions import SPHERE_FEATURES
from atmorep_lite.model.subpatches import PLACE_FEATURES

#: Parts of the network, in the order in which a sample passes them.
PARTS = ("grid_skip", "embedding", "encoder", "coupling", "decoder", "tails")


def tokens_of(field: FieldConfig) -> int:
    """How many tokens of a field the network sees, with those of its context."""
    own = len(field.levels) * int(np.prod(field.num_tokens))
    return own if field.context is None else own + len(field.levels) * int(np.prod(field.context.num_tokens))


def flops_per_sample(model: ModelConfig, *, part: str = "all", hidden: float = 0.25) -> float:
    """Operations of one sample's training step, forward and backward.

    Parameters
    ----------
    part
        What learns, as in a stage: ``all``, ``transformer``, ``grid_skip`` or ``regression`` (no gradient).
    hidden
        Share of the tokens that is hidden; the last decoder layer and the tails run for these only
        (:func:`hidden_share`).
    """
    forward = forward_flops(model, hidden=hidden)
    skip = forward.pop("grid_skip")
    if part == "regression":
        return skip
    learnt = 3.0 * skip - _skip_reads(model)
    if part == "grid_skip":
        return learnt
    transformer = 3.0 * sum(forward.values()) - _embedding_reads(model, first=part == "all")
    return transformer + (learnt if part == "all" else skip)


def forward_flops(model: ModelConfig, *, hidden: float = 0.25) -> dict[str, float]:
    """Operations of one sample's forward pass, by part of the network (:data:`PARTS`)."""
    parts = dict.fromkeys(PARTS, 0.0)
    parts["grid_skip"] = _grid_skip(model)
    for f in model.fields:
        e, n = f.embed_dim, tokens_of(f)
        parts["embedding"] += _embedding(f, model)
        each = model.coupling_heads * e // model.heads
        others = [model.field(name) for name in f.coupled_to]
        listened = sum(4 * tokens_of(o) * o.embed_dim * each + 4 * n * tokens_of(o) * each for o in others)
        parts["coupling"] += model.encoder_layers * (listened + len(others) * 4 * n * e * each)
        parts["encoder"] += model.encoder_layers * (8 * n * e * e + 4 * n * n * e + _mlp(n, e, model))
        if f.loss_weight > 0:
            asking = hidden * (n if f.context is None else _own(f))
            parts["decoder"] += (model.decoder_layers - 1) * _decoder_layer(n, n, e, model)
            parts["decoder"] += _decoder_layer(n, asking, e, model)
            widths = [e] * (model.tail_layers + 1) + [f.token_values]
            parts["tails"] += sum(2 * asking * model.members * a * b for a, b in pairwise(widths))
    return parts


def _own(field: FieldConfig) -> int:
    """Tokens without the context's."""
    return len(field.levels) * int(np.prod(field.num_tokens))


def _mlp(n: float, e: int, model: ModelConfig) -> float:
    widths = [e, *[2 * e] * (model.mlp_layers - 1), e]
    return sum(2 * n * a * b for a, b in pairwise(widths))


def _decoder_layer(n: float, asking: float, e: int, model: ModelConfig) -> float:
    """All ``n`` tokens are projected and listened to; ``asking`` of them attend and go on."""
    cross = int(model.heads * model.cross_fraction) * (e // model.heads)
    return (
        6 * n * e * (e - cross)
        + 6 * n * e * cross
        + 4 * asking * n * e
        + 2 * asking * e * e
        + _mlp(asking, e, model)
    )


def _sizes(f: FieldConfig) -> list[tuple[int, Triple]]:
    """Number and size of a field's tokens; those of the context apart."""
    own = [(_own(f), f.token_size)]
    return own if f.context is None else [*own, (tokens_of(f) - _own(f), f.context.token_size)]


def _embedding(f: FieldConfig, model: ModelConfig) -> float:
    total = 2.0 * tokens_of(f) * _places(f, model)
    width = f.embed_dim - INFO_CHANNELS
    for count, size in _sizes(f):
        values = int(np.prod(size))
        settings = model.subpatches
        if settings is None:
            total += 2.0 * count * values * width
            continue
        inner, patches = settings.width, values // int(np.prod(settings.size))
        block = 16 * patches * inner**2 + 4 * patches**2 * inner
        read = 2 * patches * (int(np.prod(settings.size)) + 2 * PLACE_FEATURES) * inner
        total += count * (read + settings.layers * block + 2 * inner * width)
    return total


def _places(f: FieldConfig, model: ModelConfig) -> int:
    """Weights that read where and when a token is."""
    info = (8 if model.published else 10) * INFO_CHANNELS
    return info + (SPHERE_FEATURES * f.embed_dim if model.positions == "sphere" else 0)


def _embedding_reads(model: ModelConfig, *, first: bool) -> float:
    """Products with what is given, not computed: they spare one backward product, as nothing before learns.

    Values are given too, unless a grid-scale skip that learns (``first``) has filled them.
    """
    total, settings = 0.0, model.subpatches
    given = not (first and model.grid_skip is not None)
    for f in model.fields:
        total += 2.0 * tokens_of(f) * _places(f, model)
        for count, size in _sizes(f):
            values = int(np.prod(size))
            inner = f.embed_dim - INFO_CHANNELS if settings is None else settings.width
            total += 2.0 * count * values * inner * given
            if settings is not None:
                patches = values // int(np.prod(settings.size))
                total += 2.0 * count * patches * 2 * PLACE_FEATURES * inner
    return total


def _skip_reads(model: ModelConfig) -> float:
    """The convolutions that read the data."""
    settings = model.grid_skip
    if settings is None:
        return 0.0
    steps, rows, columns = model.extent
    variables = sum(len(f.levels) for f in model.fields)
    slots = steps // min(f.token_size[0] for f in model.fields)
    channels = variables * (3 * steps - 3 + slots) + settings.static_channels
    return 2.0 * rows * columns * 9 * channels * (variables * steps + settings.width)


def _grid_skip(model: ModelConfig) -> float:
    """The convolutions, at every point of the neighbourhood; without the linear part, which is fitted."""
    settings = model.grid_skip
    if settings is None:
        return 0.0
    steps, rows, columns = model.extent
    width, out = settings.width, steps * sum(len(f.levels) for f in model.fields)
    later = settings.blocks * (9 * 2 + 1) * width**2 + width * out
    return _skip_reads(model) + 2.0 * rows * columns * later


def hidden_share(config: Config, stage: StageConfig, *, samples: int = 64) -> float:
    """Share of the predicted fields' tokens that a stage hides, mean over masks as training draws them."""
    fields = config.model.fields
    predicted = [f for f in fields if f.loss_weight > 0]
    shares = config.masking.shares(stage.forecast)
    somewhere = Scene(fields, {f.name: _centres(f) for f in fields})
    total = 0.0
    for name, share in shares.items():
        for sample in range(samples):
            rng = generator(Key(config.training.seed, 0, sample), Purpose.MASK)
            masks = STRATEGIES[name](somewhere, rng, config.masking)
            hidden: Mapping[str, float] = {f.name: float(masks[f.name].float().mean()) for f in predicted}
            total += share * sum(hidden.values()) / len(predicted) / samples
    return total


def _centres(field: FieldConfig) -> tuple[np.ndarray, np.ndarray]:
    """Latitudes and longitudes of token centres, for swaths: a quarter of a degree a point, around 45 N."""
    _, rows, columns = field.num_tokens
    _, height, width = field.token_size
    return 45.0 - 0.25 * height * (np.arange(rows) - rows / 2), 0.25 * width * np.arange(columns)
