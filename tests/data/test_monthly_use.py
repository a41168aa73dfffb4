"""Monthly statistics in training, forecasts and attention capture, across a change of month."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from atmorep_lite import Normalizer
from atmorep_lite.applications.forecast import forecast
from atmorep_lite.attention_maps.capture import capture_attention
from atmorep_lite.config import Config
from atmorep_lite.training.loop import train
from tests.tiny import HEAT, ready_model, tiny_field, tiny_model, tiny_run, wave


@pytest.fixture(scope="module")
def record() -> xr.Dataset:
    """Sixteen times, the ninth of which is the first of February."""
    data = wave(times=16)
    start = np.datetime64("2001-01-31", "ns")
    noise = np.random.default_rng(0).normal(size=data[HEAT].shape)
    return (data + noise).assign_coords(time=start + np.arange(16) * np.timedelta64(3, "h"))


def by_month(local: Normalizer, warmer: float) -> Normalizer:
    """The same statistics in both months, but for a February that is warmer."""
    parts = [xr.concat([part, part], "month").assign_coords(month=[1, 2]) for part in (local.mean, local.std)]
    return Normalizer(parts[0] + xr.DataArray([0.0, warmer], dims="month"), parts[1])


def test_a_forecast_into_the_next_month(record: xr.Dataset) -> None:
    """From 31 January 21:00 two steps: the first is valid in February already, and so is the second."""
    model = ready_model(tiny_model(tiny_field()), record, kind="local")
    plain = forecast(model, record, record.time.values[[5, 7]])
    assert model.normalizer is not None
    model.normalizer = by_month(model.normalizer, 5.0)
    found = forecast(model, record, record.time.values[[5, 7]])
    difference = (found[HEAT] - plain[HEAT]).mean(("number", "level", "latitude", "longitude"))
    valid = plain.time + plain.prediction_timedelta
    np.testing.assert_allclose(difference, np.where(valid.dt.month == 2, 5.0, 0.0), atol=1e-3)
    assert set(np.unique(valid.dt.month)) == {1, 2}


def test_captured_fields_are_the_data(record: xr.Dataset) -> None:
    """Nothing is hidden, so what is shown must not depend on the statistics, in either month."""
    model = ready_model(tiny_model(tiny_field()), record, kind="local")
    assert model.normalizer is not None
    shown = []
    for normalizer in (model.normalizer, by_month(model.normalizer, 5.0)):
        model.normalizer = normalizer
        time = record.time.values[9]
        capture = capture_attention(model, record, time, latitude=20.0, longitude=90.0, forecast=False)
        shown.append(capture.fields[HEAT].values)
    np.testing.assert_allclose(shown[1], shown[0], atol=1e-3)


def test_training_from_files(record: xr.Dataset, tmp_path: Path) -> None:
    """The statistics travel with the model; the losses are others than without months."""
    losses = {}
    record.to_netcdf(tmp_path / "record.nc")
    for kind in ("local", "monthly_local"):
        tree = tiny_run(tiny_model(tiny_field()), checkpoint_every=100).model_dump()
        tree["training"]["stages"] = [{"steps": 2, "batch_size": 2, "learning_rate": 1e-3}]
        tree["data"] = {"train": str(tmp_path / "record.nc"), "validation": str(tmp_path / "record.nc")}
        tree["data"]["normalization"] = kind
        seen: list[float] = []
        with pytest.warns(UserWarning, match="training data too"):
            model = train(
                Config.model_validate(tree), tmp_path / kind, report=lambda p, s=seen: s.append(p.loss)
            )
        losses[kind] = seen
        assert model is not None and model.normalizer is not None
        assert ("month" in model.normalizer.mean.dims) == (kind == "monthly_local")
    assert np.isfinite(losses["monthly_local"]).all() and losses["monthly_local"] != losses["local"]
