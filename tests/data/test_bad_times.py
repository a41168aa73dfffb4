"""Records with wrong times: every mistake is told with its place, and skipped where that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from atmorep_lite import Normalizer, open_sample
from atmorep_lite.cli import app
from atmorep_lite.data.bad_times import bad_times, together
from atmorep_lite.data.moments import fit_moments
from atmorep_lite.data.prepare import prepare
from atmorep_lite.data.prepared import open_prepared, statistics
from atmorep_lite.data.quality import examine
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.data.writing import MISSING
from atmorep_lite.errors import UserError
from tests.tiny import tiny_field, tiny_model

NAMES = ["temperature", "u_component_of_wind"]
WRONG = (1, 9, 15)  # NaN, degrees Celsius, impossible; between the times that a first look reads


@pytest.fixture(scope="module")
def clean() -> xr.Dataset:
    return open_sample()[NAMES].isel(time=slice(0, 40)).load()


@pytest.fixture(scope="module")
def record(clean: xr.Dataset) -> xr.Dataset:
    """Three wrong times and one that is missing (30)."""
    ds = clean.copy(deep=True)
    ds["temperature"][WRONG[0], 1, 4, 5] = np.nan
    ds["temperature"][WRONG[1]] -= 273.15
    ds["u_component_of_wind"][WRONG[2], 0, 0, 0] = 9999.0
    return ds.isel(time=[k for k in range(40) if k != 30]).chunk(time=4)


def sound_times() -> np.ndarray:
    return ~np.isin(np.arange(40), (*WRONG, 30))


def test_each_time_is_looked_at(record: xr.Dataset) -> None:
    found = bad_times(record.load())
    assert [(one.name, one.kind) for one in found] == [
        ("temperature", "not finite"),
        ("temperature", "units"),
        ("u_component_of_wind", "fill values"),
    ]
    assert [one.time for one in found] == list(record.time.values[list(WRONG)])
    told = together(found)
    assert "1 time (2010-01-21T06:00)" in told[1].words and "are degrees Celsius, not K" in told[1].words
    assert not bad_times(record.load().isel(time=[0, 2]))
    assert [one.kind for one in bad_times(record.load(), plausible=False)] == ["not finite"]


def test_all_mistakes_of_a_record_together(record: xr.Dataset) -> None:
    """Few times read: only the gap is found; all times read: everything, each with its place."""
    assert [one.kind for one in examine(record, times=4)] == ["missing times"]
    kinds = [one.kind for one in examine(record, times=None)]
    assert kinds == ["missing times", "not finite", "units", "fill values"]


def test_statistics_leave_wrong_times_out(record: xr.Dataset, clean: xr.Dataset) -> None:
    whole = record.reindex(time=clean.time)
    found = fit_moments(whole, gaps=2, piece_megabytes=0.3, inspect=bad_times, skip_bad=True)
    good = clean.isel(time=np.flatnonzero(sound_times()))
    for name in NAMES:
        np.testing.assert_allclose(
            found.mean[name][0], good[name].mean("time", dtype=float), rtol=1e-9, atol=1e-12
        )
    pairs = [k for k in range(38) if sound_times()[k] and sound_times()[k + 2]]
    assert found.pairs[1] == len(pairs) and found.count[0] == 36 and len(found.bad) == 5
    values, weight = clean["temperature"].values.astype(float), np.cos(np.deg2rad(clean.latitude.values))
    change = np.mean([(values[k + 2] - values[k]) ** 2 for k in pairs], 0).mean(-1)
    expected = (change * weight).mean(-1) / weight.mean()
    np.testing.assert_allclose(found.changes["temperature"][1], expected, rtol=1e-5)


def test_nothing_left(record: xr.Dataset) -> None:
    with pytest.raises(UserError, match="not one of 2 times is usable"):
        fit_moments(record[NAMES].isel(time=[1, 9]), inspect=bad_times, skip_bad=True)


def test_refused_with_all_places_or_skipped(record: xr.Dataset, clean: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"3-hourly times are missing \(1 after .*--skip-bad"):
        prepare(record, tmp_path / "a.zarr", NAMES, gaps=2)
    whole = record.isel(time=slice(0, 30))
    with pytest.raises(UserError) as raised:
        prepare(whole, tmp_path / "a.zarr", NAMES, gaps=2)
    for words in ("temperature: wrong at 1 time", "NaN", "degrees Celsius", "u_component_of_wind: wrong at"):
        assert words in str(raised.value)
    assert not (tmp_path / "a.zarr").exists()

    told: list[str] = []
    prepare(
        record, tmp_path / "b.zarr", NAMES, gaps=4, skip_bad=True, report=told.append, chunk_megabytes=0.1
    )
    assert "36 of 40 times are sound." in told
    store = open_prepared(tmp_path / "b.zarr")
    np.testing.assert_array_equal(store.sound, sound_times())
    np.testing.assert_array_equal(store.time, clean.time)
    raw = xr.open_zarr(tmp_path / "b.zarr", consolidated=False, mask_and_scale=False)["temperature"]
    assert (raw.isel(time=list(WRONG)) == MISSING).all() and (raw.isel(time=[0, 4]) != MISSING).all()
    for name, wrong in (("temperature", (*WRONG[:2], 30)), ("u_component_of_wind", (WRONG[2], 30))):
        fit = Normalizer.fit(clean[[name]].drop_isel(time=list(wrong)))  # each field: its own good times
        xr.testing.assert_allclose(statistics(store).mean[name], fit.mean[name])
        normal = fit.normalize(clean[[name]])[name][sound_times()]
        scale = store[name].encoding["scale_factor"]
        np.testing.assert_allclose(store[name][sound_times()], normal, atol=0.51 * scale)


def test_training_never_touches_them(record: xr.Dataset, tmp_path: Path) -> None:
    prepare(record, tmp_path / "b.zarr", NAMES, gaps=12, skip_bad=True)
    store = open_prepared(tmp_path / "b.zarr")
    field = tiny_field("temperature", levels=(850,), num_tokens=(2, 2, 4), token_size=(3, 2, 2))
    data = Neighbourhoods(store, tiny_model(field), statistics(store))
    steps = {place.step for place in data.draw(300, np.random.default_rng(0))}
    allowed = {k for k in range(35) if sound_times()[k : k + 6].all()}
    assert steps == allowed
    with pytest.raises(UserError):
        data.batch([Place(5, 0, 0)])


def test_command_line(record: xr.Dataset, tmp_path: Path) -> None:
    """A folder of two files that contradict each other at one time, besides all other mistakes."""
    folder = tmp_path / "files"
    folder.mkdir()
    record.isel(time=slice(0, 22)).to_netcdf(folder / "a.nc")
    (record.isel(time=slice(21, 39)) * 1.001).to_netcdf(folder / "b.nc")
    shown = CliRunner().invoke(app, ["data", "info", str(folder), "--all"])
    assert shown.exit_code == 0, shown.output
    for words in ("occur more than once", "are missing", "degrees Celsius", "fill values (9999)", "are NaN"):
        assert words in " ".join(shown.output.split()), words
    arguments = ["data", "prepare", str(folder), str(tmp_path / "out.zarr"), "--gaps", "2"]
    arguments += ["--field", "temperature", "--field", "u"]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code != 0
    done = CliRunner().invoke(app, [*arguments, "--skip-bad"])
    assert done.exit_code == 0, done.output
    assert "35 of 40 times are sound" in done.output
    shown = CliRunner().invoke(app, ["data", "info", str(tmp_path / "out.zarr")])
    assert "without times that were missing or wrong" in shown.output


def test_times_that_are_not_sound_read_as_nan(record: xr.Dataset, tmp_path: Path) -> None:
    found = open_prepared(prepare(record, tmp_path / "b.zarr", NAMES, gaps=2, skip_bad=True))
    for name in NAMES:
        assert found[name].chunks  # lazy
        nan = np.isnan(found[name]).mean(("level", "latitude", "longitude"))
        np.testing.assert_array_equal(nan, ~sound_times())


def test_a_whole_month_is_missing(clean: xr.Dataset, tmp_path: Path) -> None:
    """Monthly statistics of January and March; of February one field has values, the other none."""
    times = np.datetime64("2010-01-25", "ns") + np.arange(40) * np.timedelta64(1, "D")
    holed = clean.assign_coords(time=times).copy(deep=True)
    february = holed.time.dt.month.values == 2
    holed["temperature"][february] = np.nan
    gone = clean.assign_coords(time=times).isel(time=np.flatnonzero(~february))
    settings = {"kind": "monthly_anomaly", "gaps": 2, "skip_bad": True, "chunk_megabytes": 0.1}
    store = open_prepared(prepare(holed, tmp_path / "a.zarr", NAMES, **settings))
    np.testing.assert_array_equal(store.sound, ~february)
    fit = statistics(store)
    assert list(fit.mean.month) == [1, 2, 3] and np.isnan(fit.mean["temperature"].sel(month=2)).all()
    field = tiny_field("temperature", levels=(850,))
    Neighbourhoods(store, tiny_model(field), fit)
    store = open_prepared(prepare(gone, tmp_path / "b.zarr", NAMES, **settings))
    np.testing.assert_array_equal(store.sound, ~february)
    assert list(statistics(store).mean.month) == [1, 3]


def test_land_hides_nothing_of_the_sea(clean: xr.Dataset) -> None:
    name = "sea_surface_temperature"
    sea = xr.full_like(clean["temperature"].isel(level=0, drop=True), 288.0)
    sea[:, 10:14, 5:9] = np.nan  # an island
    sea[7, 20, 20] = 5000.0
    found = [one for one in examine(sea.to_dataset(name=name), times=None) if one.kind != "missing times"]
    assert [(one.name, one.kind) for one in found] == [(name, "out of range")]
    assert str(clean.time.values[7])[:16] in found[0].words
    assert len(bad_times(sea.to_dataset(name=name))) == 40  # for training NaN are wrong in the sea, too
