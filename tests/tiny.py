"""Tiny models, tokens and weather, small enough to run many times."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from atmorep_lite.config import Config, FieldConfig, MaskingConfig, ModelConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens, token_info
from tests.mocks import as_dataset, equiangular

WIND, HEAT = "u_component_of_wind", "temperature"


def tiny_field(name: str = HEAT, **changes: Any) -> FieldConfig:
    """Two levels; 3 x 2 x 4 tokens of 2 x 2 x 2 points, so 6 steps x 4 latitudes x 8 longitudes."""
    settings: dict[str, Any] = {
        "name": name,
        "levels": (500, 850),
        "embed_dim": 24,
        "num_tokens": (3, 2, 4),
        "token_size": (2, 2, 2),
    }
    return FieldConfig(**settings | changes)


def tiny_model(*fields: FieldConfig, **changes: Any) -> ModelConfig:
    """Two layers, four heads, three members; predicts departures unless told otherwise."""
    settings: dict[str, Any] = {
        "fields": fields or (tiny_field(),),
        "encoder_layers": 2,
        "decoder_layers": 1,
        "heads": 4,
        "members": 3,
        "dropout": 0.0,
        "predict": "departure",
    }
    return ModelConfig(**settings | changes)


def coupled_fields() -> tuple[FieldConfig, FieldConfig]:
    """Two fields that see each other, with different levels, widths and token grids on one neighbourhood."""
    return (
        tiny_field(WIND, coupled_to=(HEAT,)),
        tiny_field(
            HEAT, levels=(850,), embed_dim=32, num_tokens=(6, 4, 2), token_size=(1, 1, 4), coupled_to=(WIND,)
        ),
    )


def random_tokens(
    config: ModelConfig, *, batch: int = 2, seed: int = 0, hidden: float = 0.4
) -> dict[str, FieldTokens]:
    """Normal values, a real place and time, and a random mask."""
    generator = torch.Generator().manual_seed(seed)
    steps, height, width = config.extent
    time = np.datetime64("2001-02-03T00", "ns") + np.arange(steps) * np.timedelta64(3, "h")
    latitude, longitude = 60.0 - 5.0 * np.arange(height), 10.0 + 5.0 * np.arange(width)
    tokens = {}
    for f in config.fields:
        shape = (batch, len(f.levels), *f.num_tokens)
        info = torch.from_numpy(token_info(time, latitude, longitude, f.levels, f.token_size))
        tokens[f.name] = FieldTokens(
            torch.randn(*shape, f.token_values, generator=generator),
            info.expand(batch, *info.shape).clone(),
            torch.rand(shape, generator=generator) < hidden,
        )
    return tokens


def wave(
    *,
    times: int = 40,
    rows: int = 8,
    columns: int = 16,
    names: tuple[str, ...] = (HEAT,),
    levels: tuple[int, ...] = (500, 850),
) -> xr.Dataset:
    """Waves of zonal wavenumbers 1 to 3 that move east by one column per time step, 3-hourly, on a globe."""
    angle = 2 * np.pi / columns * (np.arange(columns) - np.arange(times)[:, None])
    cosine = np.cos(np.deg2rad(equiangular(rows, columns)["latitude"]))[:, None]
    values = {}
    for i, name in enumerate(names):
        fields = [
            sum(np.cos(k * angle + i + level / 300 + k * k) for k in (1, 2, 3))[:, None] * cosine
            for level in levels
        ]
        values[name] = 250.0 + 10.0 * np.stack(fields, 1)
    return as_dataset(values, levels=levels)


def tiny_run(model: ModelConfig | None = None, **training: Any) -> Config:
    """A run of two short stages on the record called ``wave``; keyword arguments change ``training``."""
    settings: dict[str, Any] = {
        "stages": [
            {"part": "grid_skip", "steps": 4, "batch_size": 2, "learning_rate": 3e-3},
            {"part": "transformer", "steps": 4, "batch_size": 2, "learning_rate": 2e-3},
        ],
        "warmup": 2,
        "checkpoint_every": 3,
        "optimizer": "muon",
    }
    if model is None:
        model = tiny_model(dropout=0.1, locality=0.5, grid_skip={"width": 8, "blocks": 1})
    return Config.model_validate(
        {
            "data": {"train": "wave", "validation": "wave", "normalization": "global"},
            "model": model.model_dump(),
            "masking": {"forecast": 0.5, "max_rate": 0.8},
            "training": settings | training,
        }
    )


def ready_model(config: ModelConfig, dataset: xr.Dataset, *, slots: int = 1, kind: Any = "global") -> AtmoRep:
    """An untrained model in evaluation mode that has all that forecasting needs."""
    torch.manual_seed(0)
    model = AtmoRep(config).eval()
    run = tiny_run(config).model_dump() | {"masking": MaskingConfig(forecast_slots=slots).model_dump()}
    model.run_config = Config.model_validate(run)
    names = [f.name for f in config.fields]
    model.normalizer = Normalizer.fit(dataset[names], kind)
    return model
