"""Neighbourhoods of a record whose values say where they come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats

from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import Neighbourhoods, Place, is_global
from atmorep_lite.errors import UserError
from atmorep_lite.tokens import detokenize
from tests.mocks import as_dataset
from tests.tiny import HEAT, WIND, coupled_fields, tiny_field, tiny_model, wave

TIMES, ROWS, COLUMNS = 12, 8, 16
MODEL = tiny_model(*coupled_fields())  # 6 steps x 4 rows x 8 columns
NAMES = (WIND, HEAT)


def address(field: int, level: int, time, row, column):
    """A number below 2**24, so exact in float32."""
    return ((((field * 2 + level) * TIMES + time) * ROWS + row) * COLUMNS + column) * 1.0


@pytest.fixture
def record() -> xr.Dataset:
    index = np.ix_(range(TIMES), range(ROWS), range(COLUMNS))
    return as_dataset(
        {name: np.stack([address(i, k, *index) for k in (0, 1)], 1) for i, name in enumerate(NAMES)},
        levels=(500, 850),
        start="2001-12-31T00",
    )


@pytest.fixture
def unit(record: xr.Dataset) -> Normalizer:
    """Leaves values as they are."""
    level = {"level": record.level}
    return Normalizer(
        xr.Dataset({n: ("level", np.zeros(2, np.float32)) for n in NAMES}, coords=level),
        xr.Dataset({n: ("level", np.ones(2, np.float32)) for n in NAMES}, coords=level),
    )


@pytest.mark.parametrize("place", [Place(0, 0, 0), Place(6, 4, 12), Place(3, 2, 15)])
def test_a_cube_holds_the_values_of_its_place_across_the_date_line(record, unit, place: Place) -> None:
    batch = Neighbourhoods(record, MODEL, unit).batch([Place(1, 1, 1), place])
    for i, f in enumerate(MODEL.fields):
        tokens = batch.tokens[f.name]
        assert not tokens.mask.any() and tokens.mask.shape == tokens.values.shape[:-1]
        cube = detokenize(tokens.values[1], f.token_size)
        for k, level in enumerate(f.levels):
            index = np.ix_(
                place.step + np.arange(6), place.row + np.arange(4), (place.column + np.arange(8)) % COLUMNS
            )
            np.testing.assert_array_equal(cube[k], address(i, (500, 850).index(level), *index))


def test_time_and_place_travel_with_the_cube(record, unit) -> None:
    place = Place(6, 4, 13)
    info = Neighbourhoods(record, MODEL, unit).batch([place]).tokens[WIND].info[0].numpy()
    for slot, row, column in np.ndindex(3, 2, 4):
        when = record.time.values[place.step + 2 * slot + 1]
        colatitude = 90 - record.latitude.values[place.row + 2 * row + 1]
        longitude = record.longitude.values[(place.column + 2 * column + 1) % COLUMNS]
        day = when.astype("datetime64[D]")
        year = day.astype("datetime64[Y]")
        np.testing.assert_allclose(
            info[1, slot, row, column],
            [
                int(str(year)),
                (day - year.astype("datetime64[D]")).astype(int),
                (when - day) / np.timedelta64(1, "h"),
                850,
                colatitude,
                longitude,
                850,
                22.5,
            ],
        )


def test_draws_never_leave_the_record_or_cross_a_pole(record, unit) -> None:
    data = Neighbourhoods(record, MODEL, unit)
    places = data.draw(5000, np.random.default_rng(0))
    assert {p.step for p in places} == set(range(TIMES - 6 + 1))
    assert {p.row for p in places} == set(range(ROWS - 4 + 1))
    assert {p.column for p in places} == set(range(COLUMNS))
    assert data.draw(20, np.random.default_rng(7)) == data.draw(20, np.random.default_rng(7))


def test_draws_are_area_weighted(unit) -> None:
    """The chance of a row is the area of the cube that begins there: sin(north edge) - sin(south edge)."""
    record = wave(times=6, rows=36, columns=8, names=NAMES)
    data = Neighbourhoods(record, MODEL, unit)
    rows = [p.row for p in data.draw(20_000, np.random.default_rng(0))]
    edge = np.deg2rad(90 - 5.0 * np.arange(37))
    area = np.sin(edge[:-4]) - np.sin(edge[4:])
    observed = np.bincount(rows, minlength=33)
    assert stats.chisquare(observed, 20_000 * area / area.sum()).pvalue > 1e-3
    assert stats.chisquare(observed).pvalue < 1e-10, "uniform in latitude would over-sample the poles"


def test_a_forecast_reads_no_future_and_may_pass_the_end(record, unit) -> None:
    future = record.copy(deep=True)
    for name in NAMES:
        future[name][10:] = 1e9
    place = Place(8, 0, 0)  # steps 8 and 9 are known
    batch = Neighbourhoods(future, MODEL, unit, least_steps=2).batch([place], known_steps=2)
    cube = detokenize(batch.tokens[WIND].values[0], (2, 2, 2))
    assert (cube[:, 2:] == 0).all()
    np.testing.assert_array_equal(cube[0, :2, 0, 0], record[WIND].values[8:10, 0, 0, 0])
    hours = batch.tokens[WIND].info[0, 0, :, 0, 0, 2]
    days = batch.tokens[WIND].info[0, 0, :, 0, 0, 1]
    assert hours.tolist() == [3.0, 9.0, 15.0] and days.tolist() == [0.0] * 3  # 1 January, 03, 09, 15 UTC


def test_a_region_is_not_wrapped(record, unit) -> None:
    region = record.isel(longitude=slice(3, 13))
    data = Neighbourhoods(region, MODEL, unit)
    assert not data.spans_globe and Neighbourhoods(record, MODEL, unit).spans_globe
    assert {p.column for p in data.draw(500, np.random.default_rng(0))} == {0, 1, 2}
    assert is_global(np.arange(0, 360, 30.0)) and not is_global(np.arange(0, 330, 30.0))
    assert not is_global(np.array([10.0]))


def test_static_maps(record, unit) -> None:
    shape = ("latitude", "longitude")
    height, land = np.random.default_rng(0).normal(size=(2, ROWS, COLUMNS))
    full = record.assign(geopotential_at_surface=(shape, height * 1e4), land_sea_mask=(shape, land))
    place = Place(4, 2, 12)
    static = Neighbourhoods(full, MODEL, unit).batch([place]).static
    assert static.shape == (1, 8, 4, 8) and static.dtype == torch.float32
    rows, columns = 2 + np.arange(4), (12 + np.arange(8)) % COLUMNS
    north, east = np.deg2rad(record.latitude.values[rows]), np.deg2rad(record.longitude.values[columns])
    one = np.ones((4, 8))
    day = 364 + 12 / 24  # 31 December, 12 UTC
    expected = [
        np.sin(north)[:, None] * one,
        np.cos(north)[:, None] * one,
        np.sin(east) * one,
        np.cos(east) * one,
        height[np.ix_(rows, columns)],
        land[np.ix_(rows, columns)],
        np.sin(2 * np.pi * day / 365.25) * one,
        np.cos(2 * np.pi * day / 365.25) * one,
    ]
    np.testing.assert_allclose(static[0], expected, atol=1e-5)
    bare = Neighbourhoods(record, MODEL, unit).batch([place]).static
    assert (bare[0, 4:6] == 0).all() and torch.equal(bare[0, :4], static[0, :4])


def test_surface_field() -> None:
    data = wave(names=("2m_temperature",), levels=(1,)).isel(level=0, drop=True)
    model = tiny_model(tiny_field("t2m", levels=(0,)))
    batch = Neighbourhoods(data, model, Normalizer.fit(data)).batch([Place(0, 0, 0)])
    assert batch.tokens["2m_temperature"].values.shape == (1, 1, 3, 2, 4, 8)


def test_typical_departures_against_loops() -> None:
    data = wave(times=20, names=NAMES)
    rng = np.random.default_rng(0)
    for name in NAMES:
        data[name] = data[name] + rng.normal(size=data[name].shape)
    fit = Normalizer.fit(data, "global")
    neighbourhoods = Neighbourhoods(data, MODEL, fit)
    table = neighbourhoods.typical_departures()[WIND]
    x = fit.normalize(data)[WIND].transpose("level", "time", "latitude", "longitude").values
    weight = np.cos(np.deg2rad(data.latitude.values))[:, None] * np.ones(16)
    first = range(20 - 6 + 1)  # the first steps of all neighbourhoods
    for level in range(2):
        for gap in range(1, 6):
            changes = [(x[level, s + gap] - x[level, s]) ** 2 for s in first]
            expected = np.average(np.mean(changes, 0), weights=weight) ** 0.5
            assert table[level, gap].item() == pytest.approx(expected, rel=1e-5)
        never = np.average(np.mean([x[level, s] ** 2 for s in first], 0), weights=weight) ** 0.5
        assert table[level, 6].item() == pytest.approx(never, rel=1e-5)
    assert torch.equal(table[:, 0], table[:, 1])


def test_a_record_of_one_neighbourhood_is_enough() -> None:
    data = wave(times=6, rows=4, columns=8, names=NAMES)
    neighbourhoods = Neighbourhoods(data, MODEL, Normalizer.fit(data, "global"))
    assert {(p.step, p.row) for p in neighbourhoods.draw(50, np.random.default_rng(0))} == {(0, 0)}
    assert all(torch.isfinite(t).all() for t in neighbourhoods.typical_departures().values())


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"time": slice(5)}, "5 points in time, but a neighbourhood of the model needs 6"),
        ({"latitude": slice(3)}, "3 points in latitude, .* needs 4"),
        ({"longitude": slice(7)}, "7 points in longitude, .* needs 8"),
        ({"time": [0, 1, 2, 3, 4, 6, 7]}, "not equally spaced"),
    ],
)
def test_data_that_do_not_suffice(record, unit, part, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Neighbourhoods(record.isel(part), MODEL, unit)


def test_one_time_does_not_tell_the_time_step(record, unit) -> None:
    with pytest.raises(UserError, match="1 points in time"):
        Neighbourhoods(record.isel(time=[0]), MODEL, unit, least_steps=1)


def test_a_missing_value_or_field_is_named(record, unit) -> None:
    holed = record.copy(deep=True)
    holed[HEAT][3, 1, 0, 0] = np.nan
    with pytest.raises(UserError, match=f"{HEAT} has 1 values that are NaN .*2001-12-31T09:00"):
        Neighbourhoods(holed, MODEL, unit)
    mask = xr.DataArray(np.full((ROWS, COLUMNS), np.nan), dims=("latitude", "longitude"))
    with pytest.raises(UserError, match="land_sea_mask has 128 values that are NaN"):
        Neighbourhoods(record.assign(land_sea_mask=mask), MODEL, unit)
    with pytest.raises(UserError, match=f"the data have no {WIND}"):
        Neighbourhoods(record[[HEAT]], MODEL, unit)
    with pytest.raises(UserError, match="no level 300"):
        Neighbourhoods(record, tiny_model(tiny_field(levels=(300,))), unit)
