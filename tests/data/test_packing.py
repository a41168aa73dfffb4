"""Packing: small files that plain xarray reads, with the errors that are stated."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from atmorep_lite.data.opening import open_dataset
from atmorep_lite.data.packing import error_table, pack, step_for_error
from atmorep_lite.errors import UserError
from tests.data.synthetic import make_atmosphere

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")


def plain(path: Path) -> xr.Dataset:
    """As a reader without this package would open it."""
    return xr.open_zarr(zarr.storage.ZipStore(path, mode="r"), consolidated=False, chunks=None).load()


def change(field: xr.DataArray) -> np.ndarray:
    """Standard deviation of the change per time step, per level."""
    return field.diff("time").std([dim for dim in field.dims if dim != "level"]).values


@pytest.fixture(scope="module")
def atmosphere() -> xr.Dataset:
    ds = make_atmosphere(times=40).assign_attrs(title="synthetic", simulated="true")
    mask = (ds.temperature.isel(time=0, level=0, drop=True) > 260).astype(np.float32)
    return ds.assign(land_sea_mask=mask.assign_attrs(units="1"))


@pytest.mark.parametrize("tolerance", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("chunk_steps", [800, 40, 7])
def test_plain_xarray_reads_it_within_the_tolerance(
    atmosphere: xr.Dataset, tmp_path: Path, tolerance: float, chunk_steps: int
) -> None:
    path = tmp_path / "a.zarr.zip"
    pack(atmosphere, path, tolerance=tolerance, chunk_steps=chunk_steps)
    found = plain(path)
    assert found.attrs == atmosphere.attrs
    for name in ("temperature", "u_component_of_wind", "2m_temperature"):
        assert found[name].dims == atmosphere[name].dims and found[name].dtype == np.float32
        assert found[name].attrs["units"] == atmosphere[name].attrs["units"]
        error = (found[name].astype(float) - atmosphere[name]) ** 2
        rms = np.sqrt(error.mean([dim for dim in error.dims if dim != "level"]).values)
        assert (rms <= 1.002 * tolerance * change(atmosphere[name])).all()
        assert (rms >= 0.3 * tolerance * change(atmosphere[name])).all()  # nor needlessly precise
    for name in ("land_sea_mask", "time", "level", "latitude", "longitude"):
        np.testing.assert_array_equal(found[name], atmosphere[name])
    xr.testing.assert_equal(open_dataset(path).load(), found)


def test_report_is_what_a_reader_would_measure(atmosphere: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr.zip"
    report = pack(atmosphere, path)
    assert [(row.field, row.level) for row in report] == [
        ("temperature", 500), ("temperature", 850),
        ("u_component_of_wind", 500), ("u_component_of_wind", 850), ("2m_temperature", None),
    ]  # fmt: skip
    found = plain(path)
    for row in report:
        both = [
            ds[row.field] if row.level is None else ds[row.field].sel(level=row.level)
            for ds in (found, atmosphere)
        ]
        error = np.abs(both[0].values.astype(float) - both[1].values)
        assert row.rms_error == pytest.approx(np.sqrt((error**2).mean()))
        assert row.max_error == pytest.approx(error.max())
        assert row.max_error <= 0.51 * row.step
        assert row.change == pytest.approx(float(both[1].diff("time").std()), rel=1e-3)
    packed = sum(
        row.bytes_per_value * atmosphere[row.field].size for row in report if row.level in (None, 500)
    )
    assert packed < path.stat().st_size < packed + 20_000
    table = error_table(report).splitlines()
    assert len(table) == 2 + len(report) and "| 2m_temperature | surface | K |" in table[-1]


def test_a_smooth_record_takes_less_than_a_byte_per_value(tmp_path: Path) -> None:
    smooth = make_atmosphere(times=400, latitudes=16, longitudes=32)
    smooth = smooth.rolling(time=12, center=True).mean().isel(time=slice(20, -20))
    report = pack(smooth, tmp_path / "a.zarr.zip")
    assert max(row.bytes_per_value for row in report) < 1.0


def test_zero_stays_zero(tmp_path: Path) -> None:
    ds = make_atmosphere(times=40)
    humidity = (ds.temperature - 262).clip(min=0).astype(np.float32) * np.float32(1e-3)
    pack(ds.assign(specific_humidity=humidity.assign_attrs(units="kg kg-1")), tmp_path / "a.zarr.zip")
    found = plain(tmp_path / "a.zarr.zip").specific_humidity
    assert (found.values[humidity.values == 0] == 0).mean() > 0.999
    assert found.min() > -1e-12


@settings(deadline=None, max_examples=15)
@given(
    jump=st.sampled_from([0.0, 1.0, 1e2, 1e4, 3e5]),
    times=st.integers(2, 30),
    shape=st.tuples(st.integers(2, 3), st.integers(2, 4)),
    seed=st.integers(0, 10),
)
def test_wild_data_survive(
    tmp_path_factory, jump: float, times: int, shape: tuple[int, int], seed: int
) -> None:
    """Jumps that fill or leave 16 bits, also after differences: wrapping around must not corrupt anything."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((times, 2, *shape)) + jump * rng.integers(-1, 2, (times, 2, *shape)) * [
        [[1]],
        [[30]],
    ]
    ds = make_atmosphere(times=times, latitudes=shape[0], longitudes=shape[1])[["temperature"]]
    ds = ds.assign(temperature=ds.temperature.copy(data=values.astype(np.float32)))
    path = tmp_path_factory.mktemp("wild") / "a.zarr.zip"
    report = pack(ds, path, tolerance=1e-3)
    error = np.abs(plain(path).temperature - ds.temperature).max(("time", "latitude", "longitude")).values
    assert (error <= [0.51 * row.step + 1e-6 * abs(values).max() for row in report]).all()


def test_equal_input_gives_equal_bytes_and_leaves_nothing_else(
    atmosphere: xr.Dataset, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.zarr.zip", tmp_path / "two.zarr.zip"
    two.write_bytes(b"an older file")
    pack(atmosphere, one)
    pack(atmosphere.chunk({"time": 3}), two)
    assert one.read_bytes() == two.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.zarr.zip", "two.zarr.zip"]
    with zipfile.ZipFile(one) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("broken", "options", "message"),
    [
        (lambda ds: ds.where(ds.time != ds.time[3]), {}, "temperature has .* NaN"),
        (lambda ds: ds.isel(time=[0]), {}, "two times, latitudes and longitudes"),
        (lambda ds: ds.isel(longitude=[0]), {}, "two times, latitudes and longitudes"),
        (lambda ds: ds * 0, {}, "temperature does not change in time"),
        (lambda ds: ds, {"tolerance": 0.0}, "must be positive"),
        (lambda ds: ds, {"tolerance": 1e-7}, "cannot be stored to a tolerance of 1e-07 in 32 bits"),
    ],
)
def test_what_cannot_be_packed_is_refused_and_the_old_file_kept(
    atmosphere: xr.Dataset, tmp_path: Path, broken, options: dict[str, float], message: str
) -> None:
    path = tmp_path / "a.zarr.zip"
    path.write_bytes(b"an older file")
    with pytest.raises(UserError, match=message):
        pack(broken(atmosphere), path, **options)
    assert path.read_bytes() == b"an older file" and len(list(tmp_path.iterdir())) == 1


@given(st.floats(1e-6, 1e3), st.integers(0, 5))
def test_step_is_the_largest_that_keeps_the_error(error: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(3.0, 50 * error, 4000)

    def measured(step: float) -> float:
        return float(np.sqrt(((np.round(values / step) * step - values) ** 2).mean()))

    step = step_for_error(values, error)
    assert measured(step) <= error < measured(1.1 * step)
