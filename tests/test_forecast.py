"""Forecasts against persistence, which a model that predicts no departure must give exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from atmorep_lite.applications.forecast import forecast, tile_starts
from atmorep_lite.config import FieldConfig
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.errors import UserError
from atmorep_lite.layout import GRID
from atmorep_lite.model import AtmoRep
from tests.tiny import HEAT, WIND, coupled_fields, ready_model, tiny_field, tiny_model, wave

DIMS = ("time", "prediction_timedelta", "number", "level", *GRID)
LAYOUTS = [(8, 16), (9, 20), (4, 8), (13, 30)]  # rows, columns of the globe; tiles are 4 x 8


def silent(*fields: FieldConfig, dataset: xr.Dataset, **changes) -> AtmoRep:
    """A model whose every departure is 0: it gives back its fill."""
    slots, kind = changes.pop("slots", 1), changes.pop("kind", "global")
    model = ready_model(tiny_model(*fields, **changes), dataset, slots=slots, kind=kind)
    for tail in model.tails.values():
        for parameter in (*tail.weights, *tail.biases):
            torch.nn.init.zeros_(parameter)
    return model


def persisted(data: xr.Dataset, name: str, time: np.datetime64, levels=(500, 850)) -> np.ndarray:
    return data[name].sel(time=time, level=list(levels)).values


@pytest.mark.parametrize(("rows", "columns"), LAYOUTS)
@pytest.mark.parametrize("kind", ["global", "anomaly"])
def test_no_departure_is_persistence_on_the_globe(rows: int, columns: int, kind: str) -> None:
    data = wave(times=8, rows=rows, columns=columns)
    data[HEAT] = data[HEAT] + np.random.default_rng(0).normal(size=data[HEAT].shape)
    model = silent(tiny_field(), dataset=data, kind=kind, slots=2)
    times = data.time.values[[1, 5, 7]]
    out = forecast(model, data, times)
    assert out[HEAT].dims == DIMS and out[HEAT].dtype == np.float32
    assert dict(out.sizes) == {
        "time": 3, "prediction_timedelta": 4, "number": 3, "level": 2, "latitude": rows, "longitude": columns,
    }  # fmt: skip
    for time in times:
        ours = out[HEAT].sel(time=time).values
        np.testing.assert_allclose(ours, np.broadcast_to(persisted(data, HEAT, time), ours.shape), atol=1e-3)


def test_coordinates_say_when_and_where() -> None:
    data = wave(times=8)
    model = silent(tiny_field(levels=(850, 500)), dataset=data, slots=2)
    out = forecast(model, data, data.time.values[3:5])
    np.testing.assert_array_equal(out.time, data.time.values[3:5])
    np.testing.assert_array_equal(out.prediction_timedelta / np.timedelta64(1, "h"), [3, 6, 9, 12])
    for name in GRID:
        np.testing.assert_array_equal(out[name], data[name])
    for level in (500, 850):
        step = out[HEAT].sel(level=level, prediction_timedelta="6h").isel(time=0, number=0)
        np.testing.assert_allclose(step, data[HEAT].sel(level=level).isel(time=3), atol=1e-3)
    assert out[HEAT].attrs["units"] == "K" and out.attrs["simulated"] == "true"


def test_leads_follow_the_time_step_of_the_data() -> None:
    data = wave(times=8)
    hourly = data.assign_coords(time=data.time[0].values + np.arange(8) * np.timedelta64(1, "h"))
    model = silent(tiny_field(), dataset=hourly)
    out = forecast(model, hourly, hourly.time.values[5:6])
    np.testing.assert_array_equal(out.prediction_timedelta / np.timedelta64(1, "m"), [60, 120])


def test_tiles_are_blended_without_a_seam() -> None:
    """Tiles that say the same give that, wherever the weights come from; the wrap is no seam either."""
    data = wave(times=6, rows=13, columns=30)
    smooth = data.copy(
        data={HEAT: np.broadcast_to(250 + data.latitude.values[:, None] / 10, data[HEAT].shape)}
    )
    model = silent(tiny_field(), dataset=data)
    out = forecast(model, smooth, smooth.time.values[3:4])[HEAT]
    np.testing.assert_allclose(out.diff("longitude"), 0, atol=1e-4)
    np.testing.assert_allclose(out.isel(longitude=0), out.isel(longitude=-1), atol=1e-4)
    np.testing.assert_allclose(out, np.broadcast_to(smooth[HEAT].values[3], out.shape), atol=1e-3)


@pytest.mark.parametrize(("rows", "columns"), LAYOUTS)
def test_every_point_is_well_inside_some_tile(rows: int, columns: int) -> None:
    data = wave(times=6, rows=rows, columns=columns)
    model = silent(tiny_field(), dataset=data)
    assert model.normalizer is not None
    for part in (data, data.isel(longitude=slice(0, max(8, columns - 3)))):
        record = Neighbourhoods(part, model.config, model.normalizer)
        first_rows, first_columns = tile_starts(record, 4, 8)
        assert first_rows[0] == 0 and first_rows[-1] == rows - 4
        assert max(np.diff(first_rows), default=0) <= 2, "tiles overlap by half"
        width = part.sizes["longitude"]
        starts = [*first_columns, first_columns[0] + width] if record.spans_globe else first_columns
        assert max(np.diff(starts), default=0) <= 4
        if not record.spans_globe:
            assert first_columns[0] == 0 and first_columns[-1] == width - 8


def test_a_region() -> None:
    data = wave(times=8, rows=16, columns=32).isel(latitude=slice(2, 9), longitude=slice(5, 18))
    model = silent(tiny_field(), dataset=data, kind="anomaly")
    time = data.time.values[6]
    out = forecast(model, data, [time])[HEAT]
    np.testing.assert_allclose(out[0, 0, 0], persisted(data, HEAT, time), atol=1e-3)
    across = data.assign_coords(longitude=350.0 + 11.25 * np.arange(13))
    shifted = silent(tiny_field(), dataset=across, kind="anomaly")
    np.testing.assert_allclose(forecast(shifted, across, [time])[HEAT], out, atol=1e-3)


def test_members_mean_and_first_guess() -> None:
    data = wave(times=6, names=(WIND, HEAT))
    model = ready_model(tiny_model(*coupled_fields(), grid_skip={"width": 8, "blocks": 1}), data)
    time = data.time.values[5:6]
    ensemble, mean = forecast(model, data, time), forecast(model, data, time, members=False)
    assert "number" not in mean.dims and ensemble.sizes["number"] == 3
    for name in (WIND, HEAT):
        xr.testing.assert_allclose(ensemble[name].mean("number"), mean[name], atol=1e-3)
        assert float(ensemble[name].std("number").min()) > 0
    guess = forecast(model, data, time, first_guess=True, members=False)
    for lead in (0, 1):  # the untrained skip adds nothing to the fill
        ours = guess[HEAT].isel(time=0, prediction_timedelta=lead).sel(level=[850])
        np.testing.assert_allclose(ours, persisted(data, HEAT, time[0], [850]), atol=1e-3)


def test_the_future_is_not_read() -> None:
    data = wave(times=8, names=(WIND, HEAT))
    model = ready_model(tiny_model(*coupled_fields()), data)
    time = data.time.values[4]
    spoilt = data.copy(deep=True)
    for name in (WIND, HEAT):
        spoilt[name][5:] = 1e6
    for other in (spoilt, data.isel(time=slice(0, 5))):
        xr.testing.assert_identical(forecast(model, other, [time]), forecast(model, data, [time]))


def test_a_field_model_forecasts() -> None:
    data = wave(times=8)
    model = ready_model(tiny_model(tiny_field(), predict="field"), data)
    out = forecast(model, data, data.time.values[4:5])
    assert np.isfinite(out[HEAT]).all()
    with pytest.raises(UserError, match="has no first guess"):
        forecast(model, data, first_guess=True)


def test_a_surface_field_beside_an_upper_one() -> None:
    data = wave(times=8)
    surface = wave(times=8, names=("2m_temperature",), levels=(1,)).isel(level=0, drop=True)
    both = data.merge(surface)
    fields = (tiny_field(levels=(500,)), tiny_field("2m_temperature", levels=(0,)))
    model = silent(*fields, dataset=both, kind="anomaly")
    time = both.time.values[5]
    out = forecast(model, both, [time])
    ours = out["2m_temperature"].sel(level=0)[0, 0, 0]
    np.testing.assert_allclose(ours, both["2m_temperature"].sel(time=time), atol=1e-3)
    np.testing.assert_allclose(
        out[HEAT].sel(level=500)[0, 0, 0], both[HEAT].sel(time=time, level=500), atol=1e-3
    )
    alone = forecast(silent(fields[1], dataset=both), both, [time])
    assert alone["2m_temperature"].dims == DIMS and alone.level.values.tolist() == [0]


def test_all_times_with_enough_history_by_default() -> None:
    data = wave(times=8)
    model = silent(tiny_field(), dataset=data)  # the last 2 of 6 steps are hidden
    np.testing.assert_array_equal(forecast(model, data).time, data.time.values[3:])


def test_bad_input_is_told_in_one_sentence() -> None:
    data = wave(times=8)
    model = silent(tiny_field(), dataset=data)
    cases = {
        "no state at 2020-01-01T00:00": ["2020-01-01"],
        "needs the 4 states up to then; the data begin at 2001-01-01T00:00": ["2001-01-01T06"],
        "no initial time was given": [],
        "'soon' is not a date": "soon",
    }
    for words, times in cases.items():
        with pytest.raises(UserError, match=words):
            forecast(model, data, times)
    with pytest.raises(UserError, match="3 points in time, but a neighbourhood of the model needs 4"):
        forecast(model, data.isel(time=slice(3)))
    with pytest.raises(UserError, match=f"the data have no {HEAT}"):
        forecast(model, data.rename({HEAT: WIND}))
    with pytest.raises(UserError, match="the model has no normalisation"):
        forecast(AtmoRep(model.config), data)
    assert forecast(model, data, "2001-01-01T12").sizes["time"] == 1
