"""A toy with a known answer: fields on a ring that are one visible field, carried along.

A visible field ``mu`` is random.  A hidden field is a rule applied to it, such as ``mu.roll(3, 1)``: each
place holds what ``mu`` has three places earlier.  One encoder layer of the library has to restore the hidden
field, and since the rule is known, so is the attention map that it must learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from atmorep_lite.attention import attention_weights
from atmorep_lite.config import FieldConfig, ModelConfig
from atmorep_lite.model.layers import EncoderLayer, Record

PLACES, CHANNELS = 24, 8
#: Sines and cosines of 12 wave numbers, ``[place, 24]``: by these numbers a token knows where it is.
WHERE = torch.cat(
    [
        wave(2 * math.pi / PLACES * torch.arange(PLACES)[:, None] * torch.arange(1, PLACES // 2 + 1))
        for wave in (torch.cos, torch.sin)
    ],
    1,
)
#: Width of a stream: the values of one field and the code of the place.
WIDTH = CHANNELS + WHERE.shape[1]


def ring_layer(width: int, heads: int, coupled_to: Sequence[str] = (), **settings: Any) -> EncoderLayer:
    """The library's encoder layer for one stream on the ring, coupled to streams of ``WIDTH`` channels.

    Parameters
    ----------
    width, heads
        Of the stream that asks.
    coupled_to
        Names of the streams that it hears.
    settings
        Of :class:`~atmorep_lite.config.ModelConfig`, such as ``qk_norm=False``.
    """
    shape = {"levels": (0,), "num_tokens": (1, 1, PLACES), "token_size": (1, 1, CHANNELS)}
    fields = [{"name": "asking", "embed_dim": width, "coupled_to": tuple(coupled_to)} | shape]
    fields += [{"name": name, "embed_dim": WIDTH} | shape for name in coupled_to]
    config = ModelConfig(
        fields=tuple(FieldConfig.model_validate(f) for f in fields), heads=heads, dropout=0.0, **settings
    )
    return EncoderLayer(config.fields[0], config)


def learn(
    rule: Callable[[Tensor], Tensor],
    coupled_to: Sequence[str] = (),
    *,
    heads: int = 1,
    glued: bool = False,
    steps: int = 150,
    seed: int = 0,
) -> tuple[list[float], dict[str, Tensor]]:
    """Train one layer and a linear map to restore ``rule(mu)`` where it is hidden.

    Parameters
    ----------
    rule
        ``mu [sample, place, 8]`` to the hidden fields side by side, ``[sample, place, 8 * fields]``.
    coupled_to
        Streams that the layer hears; each holds ``mu``.
    heads
        Number of self heads.
    glued
        Put ``mu`` and the (hidden) fields into one token, instead of a stream for the hidden fields alone.
    steps, seed
        Of the training with Adam on 48 fresh samples a step; one thread, since more are in the way here.

    Returns
    -------
    errors, maps
        Root mean square error of every hidden field relative to answering with its mean, on 512 new samples;
        and by origin of the keys ("self" or a name) the mean weights ``[head, query, key]``.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            hidden = rule(torch.zeros(1, PLACES, CHANNELS)).shape[2]
            width = glued * CHANNELS + hidden + WHERE.shape[1]
            layer, back = ring_layer(width, heads, coupled_to), nn.Linear(width, hidden)
            optimiser = torch.optim.Adam([*layer.parameters(), *back.parameters()], 0.015)

            def squares(count: int, record: Record | None = None) -> tuple[Tensor, Tensor]:
                mu = torch.randn(count, PLACES, CHANNELS)
                here = WHERE.expand(count, -1, -1)
                visible, wanted = torch.cat((mu, here), 2), rule(mu)
                tokens = torch.cat((0 * wanted, visible if glued else here), 2)  # what is hidden is zero
                answer = back(layer(tokens, dict.fromkeys(coupled_to, visible), {}, record))
                return (answer - wanted).square(), wanted.square()

            for _ in range(steps):
                optimiser.zero_grad()
                squares(48)[0].mean().backward()
                optimiser.step()
            record: Record = {}
            with torch.no_grad():
                missed, of_mean = (part.unflatten(2, (-1, CHANNELS)) for part in squares(512, record))
    finally:
        torch.set_num_threads(threads)
    errors = (missed.mean((0, 1, 3)) / of_mean.mean((0, 1, 3))).sqrt().tolist()
    return errors, {name: attention_weights(q, k).mean(0) for name, (q, k) in record.items()}
