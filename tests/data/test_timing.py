"""A model keeps its time step; data for validation are not those for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from atmorep_lite.applications.forecast import forecast
from atmorep_lite.attention_maps.capture import capture_attention
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.data.timing import known_time_step, shared_times, with_time_step
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.checkpoint import load_model, save_model
from tests.tiny import ready_model, tiny_model, wave

BOTH = r"trained on data with a time step of 3 h, but these have one of 6 h; use data with the model's"


@pytest.fixture
def model() -> AtmoRep:
    """Trained, as far as it knows, on 3-hourly data."""
    record = wave()
    made = ready_model(tiny_model(), record)
    assert made.normalizer is not None
    made.normalizer = with_time_step(made.normalizer, record.time.values)
    return made


@pytest.fixture
def coarse() -> xr.Dataset:
    return wave().isel(time=slice(None, None, 2))


def test_the_step_is_saved_with_a_model_and_refuses_other_data(
    model: AtmoRep, coarse: xr.Dataset, tmp_path: Path
) -> None:
    save_model(tmp_path, model)
    loaded = load_model(tmp_path)
    assert loaded.normalizer is not None and known_time_step(loaded.normalizer) == 3.0
    time = coarse.time.values[8]
    assert forecast(loaded, wave(), [time], members=False).sizes["time"] == 1
    for use in (
        lambda: forecast(loaded, coarse, [time]),
        lambda: capture_attention(loaded, coarse, time, latitude=0.0, longitude=0.0),
        lambda: Neighbourhoods(coarse, loaded.config, loaded.normalizer),
        lambda: with_time_step(loaded.normalizer, coarse.time.values),
    ):
        with pytest.raises(UserError, match=BOTH):
            use()


def test_statistics_that_nobody_trained_with_fit_any_step(coarse: xr.Dataset) -> None:
    fit = Normalizer.fit(coarse, "global")
    assert known_time_step(fit) is None
    data = Neighbourhoods(coarse, tiny_model(), fit)
    assert data.time_step == 6.0 and known_time_step(with_time_step(fit, data.time)) == 6.0
    assert known_time_step(fit) is None, "the given statistics stay as they are"


def test_the_shipped_model_knows_its_step() -> None:
    shipped = AtmoRep.from_pretrained("demo")
    assert shipped.normalizer is not None and known_time_step(shipped.normalizer) == 3.0


def test_times_in_both_training_and_validation_are_told() -> None:
    hours = np.datetime64("2001-01-01T00", "ns") + np.arange(20) * np.timedelta64(6, "h")
    assert shared_times(hours[:10], hours[10:]) is None
    sentence = shared_times(hours[:10], hours[7:])
    assert sentence is not None and sentence.startswith("3 of the 13 times of the validation data")
    assert "from 2001-01-02T18:00 to 2001-01-03T06:00" in sentence
