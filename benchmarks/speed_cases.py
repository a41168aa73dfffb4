"""Models and tokens for ``speed.py``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from atmorep_lite.attention_maps import CapturedField
from atmorep_lite.config import FieldConfig, ModelConfig
from atmorep_lite.tokens import FieldTokens, token_info, token_positions

LEVELS = (500, 700, 850, 925, 1000)


@dataclass(frozen=True)
class Case:
    """A model and the number of neighbourhoods in a batch."""

    model: ModelConfig
    batch: int


def case(names: str, *, width: int, layers: int, heads: int, members: int, shape: tuple, batch: int) -> Case:
    """Fields of equal shape, all coupled to each other; ``shape`` is (levels, num_tokens, token_size)."""
    levels, num_tokens, token_size = shape
    fields = tuple(
        FieldConfig(
            name=name,
            levels=LEVELS[:levels],
            embed_dim=width,
            num_tokens=num_tokens,
            token_size=token_size,
            coupled_to=tuple(other for other in names.split() if other != name),
        )
        for name in names.split()
    )
    model = ModelConfig(
        fields=fields,
        encoder_layers=layers,
        decoder_layers=layers,
        heads=heads,
        members=members,
        published="2024",
    )
    return Case(model, batch)


CPU_CASES = {
    "single": case(
        "vo", width=256, layers=4, heads=8, members=8, shape=(5, (12, 3, 6), (3, 18, 18)), batch=1
    ),
    "coupled": case(
        "u v t q", width=256, layers=3, heads=8, members=8, shape=(2, (6, 3, 6), (3, 9, 9)), batch=2
    ),
}
CUDA_CASES = {
    "single": case(
        "vo", width=1024, layers=6, heads=16, members=16, shape=(5, (12, 3, 6), (3, 18, 18)), batch=32
    ),
    "coupled": case(
        "u v w t q vo",
        width=1024,
        layers=6,
        heads=16,
        members=16,
        shape=(5, (12, 3, 6), (3, 18, 18)),
        batch=4,
    ),
}


def draw(case: Case, hidden: float = 0.25) -> dict[str, FieldTokens]:
    """Normal values of which a quarter is hidden (the mean of the published masking), at a place and time."""
    generator = torch.Generator().manual_seed(0)
    steps, height, width = case.model.extent
    when = np.datetime64("2001-02-03T00", "ns") + np.arange(steps) * np.timedelta64(1, "h")
    latitude, longitude = 60 - 0.25 * np.arange(height), 10 + 0.25 * np.arange(width)
    tokens = {}
    for f in case.model.fields:
        shape = (case.batch, len(f.levels), *f.num_tokens)
        info = torch.from_numpy(token_info(when, latitude, longitude, f.levels, f.token_size))
        mask = torch.rand(shape, generator=generator) < hidden
        values = torch.randn(*shape, f.token_values, generator=generator) * ~mask[..., None]
        tokens[f.name] = FieldTokens(values, info.expand(case.batch, *info.shape).clone(), mask)
    return tokens


def captured_tokens(f: FieldConfig, tokens: FieldTokens) -> CapturedField:
    """Labels for the maps; nothing here depends on what the field holds."""
    nt, ny, nx = f.num_tokens
    return CapturedField(
        name=f.name,
        level=np.array(f.levels),
        time=np.datetime64("2001-02-03", "ns") + np.arange(nt) * np.timedelta64(3, "h"),
        latitude=60.0 - np.arange(ny),
        longitude=10.0 + np.arange(nx),
        token_size=(1.0, 1.0),
        position=token_positions(tokens.info).flatten(1, 4)[0].numpy(),
        values=np.zeros((len(f.levels), nt, ny, nx), np.float32),
        mask=tokens.mask[0].numpy(),
        units="",
    )
