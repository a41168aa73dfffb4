"""The preset of the talk's model: every part is there, and train, save, load and forecast work together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import atmorep_lite as ar
from atmorep_lite.applications.forecast import forecast
from atmorep_lite.config import Config, load_config
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.subpatches import SubpatchEmbedding
from atmorep_lite.training.loop import train

THE_TALKS_FIELDS = {"vorticity", "divergence", "temperature", "geopotential", "specific_humidity"}


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(
        "talk",
        [
            "data.train=sample",
            "data.validation=sample",
            "data.normalization=global",  # so that a part of the globe can be forecast
            "training.stages=[{steps: 2, batch_size: 2, learning_rate: 1.0e-3}]",
        ],
    )


@pytest.fixture(scope="module")
def trained(config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[AtmoRep, Path]:
    folder = tmp_path_factory.mktemp("talk") / "run"
    model = train(config, folder)
    assert model is not None
    return model, folder


def test_the_preset_has_what_the_talk_asks_for(config: Config) -> None:
    model = config.model
    assert set(model.names) == THE_TALKS_FIELDS
    assert model.positions == "sphere" and model.subpatches is not None
    for field in model.fields:
        assert field.context is not None
        assert field.context.extent[1:] == (2 * field.extent[1], 2 * field.extent[2])


def test_one_embedding_network_serves_both_sizes_and_everything_learns(trained) -> None:
    model, _ = trained
    torch.manual_seed(0)
    fresh = AtmoRep(model.config)
    before, after = fresh.state_dict(), model.state_dict()
    for name in THE_TALKS_FIELDS:
        assert isinstance(model.embeddings[name].value, SubpatchEmbedding)
        key = f"embeddings.{name}.value.blocks.0.qkv.weight"
        assert before[key].shape == after[key].shape and not torch.equal(before[key], after[key])


def test_a_saved_model_forecasts_the_same(trained) -> None:
    model, folder = trained
    part = ar.open_sample("sample").isel(latitude=slice(0, 16), longitude=slice(0, 32), time=slice(0, 4))
    ours, theirs = (forecast(m, part) for m in (model, AtmoRep.from_pretrained(folder)))
    assert set(ours.data_vars) == THE_TALKS_FIELDS
    assert ours.sizes["prediction_timedelta"] == 8 and ours.sizes["time"] == 1
    for name in THE_TALKS_FIELDS:
        assert np.isfinite(ours[name].values).all()
        np.testing.assert_array_equal(ours[name].values, theirs[name].values)
