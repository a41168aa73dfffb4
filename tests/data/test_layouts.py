"""Files exactly as the published AtmoRep code, NCAR and the Climate Data Store lay them out, and folders."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from atmorep_lite.data.layouts import month_of_file
from atmorep_lite.data.opening import open_dataset
from atmorep_lite.data.quality import FOUND, examine
from atmorep_lite.errors import UserError
from tests.data.synthetic import make_atmosphere

ATMOSPHERE = make_atmosphere(times=12)
HEAT, WIND, NEAR = "temperature", "u_component_of_wind", "2m_temperature"


def same(found: xr.Dataset, expected: xr.Dataset) -> None:
    """Equal values, coordinates and order of axes."""
    xr.testing.assert_allclose(found.load(), expected, rtol=1e-6)
    for name in expected.data_vars:
        assert found[name].dims == expected[name].dims


# ---------------------------------------------------------------- published AtmoRep


@pytest.mark.parametrize("zipped", [False, True])
def test_zarr_of_the_published_code(tmp_path: Path, zipped: bool) -> None:
    ds = ATMOSPHERE
    folder = tmp_path / "era5_res025_chunk8.zarr"
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    levels = np.stack([ds[HEAT].values, ds[WIND].values], 1)  # time, field, level, lat, lon
    group.create_array("data", data=levels, chunks=(8, 1, 1, 8, 16))
    group.create_array("data_sfc", data=ds[NEAR].values[:, None], chunks=(8, 1, 8, 16))
    group.create_array("time", data=ds.time.values.astype("datetime64[h]"))
    group.create_array("lats", data=90.0 - ds.latitude.values)
    group.create_array("lons", data=ds.longitude.values)
    group.create_group("normalization").create_array("norm", data=np.zeros((1, 2, 2, 2, 8, 16)))
    group.attrs.update(
        fields=["temperature", "velocity_u"],
        fields_sfc=["t2m"],
        levels=[123, 137],
        is_global=1,
        res=[22.5, 22.5],
    )
    path = folder
    if zipped:
        path = tmp_path / "store.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.rglob("*"):
                if file.is_file():
                    archive.write(file, file.relative_to(folder).as_posix())
    found = open_dataset(path)
    assert found[HEAT].chunks is not None and found.level.attrs["level_type"] == "model"
    same(found, ds.assign_coords(level=[123, 137]))


def write_grib(path: Path, name: str, level: int, times: np.ndarray, values: np.ndarray) -> None:
    """Messages of one field on a model level, as MARS gives them."""
    eccodes = pytest.importorskip("eccodes")
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = values.shape[1:]
    settings = {
        "centre": "ecmf", "Ni": columns, "Nj": rows, "typeOfLevel": "hybrid", "level": level,
        "latitudeOfFirstGridPointInDegrees": 90.0, "latitudeOfLastGridPointInDegrees": -90.0,
        "jDirectionIncrementInDegrees": 180.0 / (rows - 1), "longitudeOfFirstGridPointInDegrees": 0.0,
        "longitudeOfLastGridPointInDegrees": 360.0 - 360.0 / columns,
        "iDirectionIncrementInDegrees": 360.0 / columns, "shortName": name, "bitsPerValue": 24,
    }  # fmt: skip
    with path.open("wb") as file:
        for time, one in zip(times.astype("datetime64[h]"), values, strict=True):
            handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
            day = str(time)
            for key, value in (settings | {"dataDate": int(day[:10].replace("-", ""))}).items():
                eccodes.codes_set(handle, key, value)
            eccodes.codes_set(handle, "dataTime", 100 * int(day[11:13]))
            eccodes.codes_set_values(handle, one.astype(float).ravel())
            eccodes.codes_write(handle, file)
            eccodes.codes_release(handle)


def test_monthly_grib_folders_of_the_published_code(tmp_path: Path) -> None:
    """Each file runs a day into the next month, as downloads of 31 days do: that day is taken once."""
    hours = np.datetime64("2021-02-28T12", "h") + np.arange(36)
    rng = np.random.default_rng(0)
    record = {}
    for name, short in (("vorticity", "vo"), ("velocity_u", "u")):
        for level in (96, 137):
            values = rng.normal(size=(36, 5, 8))
            record[name, level] = values
            stem = tmp_path / "data" / name / f"ml{level}"
            february, march = (f"era5_{name}_y2021_m{month}_ml{level}.grib" for month in ("02", "03"))
            write_grib(stem / february, short, level, hours[:20], values[:20])  # until 1 March 07:00
            write_grib(stem / march, short, level, hours[12:], values[12:])
    (tmp_path / "data" / "normalization").mkdir()
    (tmp_path / "data" / "normalization" / "global_normalization_mean_var_vorticity_ml96.bin").write_bytes(
        b"\0" * 64
    )
    found = open_dataset(tmp_path / "data")
    assert found.level.values.tolist() == [96, 137] and found.level.attrs["level_type"] == "model"
    np.testing.assert_array_equal(found.time.values, hours.astype("datetime64[ns]"))
    assert set(found.data_vars) == {"vorticity", WIND} and FOUND not in found.attrs
    for canonical, name in (("vorticity", "vorticity"), (WIND, "velocity_u")):
        for level in (96, 137):
            np.testing.assert_allclose(found[canonical].sel(level=level), record[name, level], atol=1e-5)
    assert not list(tmp_path.rglob("*.idx"))
    assert month_of_file("era5_velocity_u_y1979_m12_ml105.grib") == np.datetime64("1979-12")


# ---------------------------------------------------------------- NCAR


def test_ncar_folder(tmp_path: Path) -> None:
    """ds633.0: one variable and day a file on levels, one month at the surface, upper-case names."""
    ds = ATMOSPHERE
    stamps = ds.time.dt.strftime("%Y%m%d%H").astype(int)
    for day, part in ds.groupby("time.date"):
        for name, raw, code in ((HEAT, "T", "128_130_t.ll025sc"), (WIND, "U", "128_131_u.ll025uv")):
            one = (
                part[[name]].rename({name: raw}).assign(utc_date=stamps.sel(time=part.time).astype(np.int32))
            )
            one.level.attrs |= {"units": "hPa", "long_name": "Level"}
            one = one.assign_coords(level=one.level.astype(float))
            one.to_netcdf(tmp_path / f"e5.oper.an.pl.{code}.{day:%Y%m%d}00_{day:%Y%m%d}23.nc")
    surface = ds[[NEAR]].rename({NEAR: "VAR_2T"}).assign(utc_date=stamps)
    surface.to_netcdf(tmp_path / "e5.oper.an.sfc.128_167_2t.ll025sc.2001010100_2001013123.nc")
    height = (ds[NEAR].isel(time=[0]) * 10).assign_attrs(units="m**2 s**-2", standard_name="")
    height = height.assign_coords(time=[np.datetime64("1979-01-01", "ns")]).rename("Z")
    height.to_netcdf(tmp_path / "e5.oper.invariant.128_129_z.ll025sc.1979010100_1979010100.nc")
    found = open_dataset(tmp_path)
    assert "utc_date" not in found and found.geopotential_at_surface.dims == ("latitude", "longitude")
    same(found.drop_vars("geopotential_at_surface"), ds)


def test_ncar_model_levels(tmp_path: Path) -> None:
    """ds633.6: the axis is called level and counts model levels; half_level gives it away."""
    ds = ATMOSPHERE[[HEAT]].rename({HEAT: "T"}).assign_coords(level=[136, 137])
    ds["half"] = ("half_level", np.arange(3.0))
    ds.to_netcdf(tmp_path / "e5.oper.an.ml.0_5_0_0_0_t.regn320sc.2001010100_2001010105.nc")
    assert open_dataset(tmp_path).level.attrs["level_type"] == "model"


# ---------------------------------------------------------------- Climate Data Store


def test_old_climate_data_store(tmp_path: Path) -> None:
    """Final ERA5 (expver 1) and preliminary (5) beside each other, NaN where there is none of the kind."""
    ds = ATMOSPHERE[[NEAR]].rename({NEAR: "t2m"})
    final, preliminary = ds.where(ds.time < ds.time[8]), ds.where(ds.time >= ds.time[8])
    both = xr.concat([final, preliminary], xr.IndexVariable("expver", np.array([1, 5], np.int32)))
    both = both.transpose("time", "expver", "latitude", "longitude")
    both.t2m.attrs = {"units": "K", "long_name": "2 metre temperature"}
    both.to_netcdf(tmp_path / "download.nc")
    same(open_dataset(tmp_path / "download.nc"), ATMOSPHERE[[NEAR]])


def new_names(ds: xr.Dataset) -> xr.Dataset:
    """As the Climate Data Store converts since 2024."""
    ds = ds.rename(time="valid_time")
    if "level" in ds.dims:
        ds = ds.rename(level="pressure_level").isel(pressure_level=slice(None, None, -1))
        ds = ds.assign_coords(
            pressure_level=("pressure_level", ds.pressure_level.values * 1.0, {"units": "hPa"})
        )
    return ds.assign_coords(number=0, expver=("valid_time", ["0001"] * ds.sizes["valid_time"]))


def test_new_climate_data_store_with_levels(tmp_path: Path) -> None:
    new_names(ATMOSPHERE[[HEAT, WIND]].rename({HEAT: "t", WIND: "u"})).to_netcdf(tmp_path / "a.nc")
    same(open_dataset(tmp_path / "a.nc"), ATMOSPHERE[[HEAT, WIND]])


def test_zipped_download(tmp_path: Path) -> None:
    """Instantaneous and accumulated fields come as two NetCDF files in a zip that may be called .nc."""
    rain = (ATMOSPHERE[NEAR] * 1e-6).assign_attrs(units="m", standard_name="")
    everywhere = xr.ones_like(ATMOSPHERE[NEAR]).assign_attrs(units="(0 - 1)", standard_name="")
    members = {"instant": {"t2m": ATMOSPHERE[NEAR], "lsm": everywhere}, "accum": {"tp": rain}}
    with zipfile.ZipFile(tmp_path / "download.nc", "w") as archive:
        for kind, variables in members.items():
            file = tmp_path / f"data_stream-oper_stepType-{kind}.nc"
            new_names(xr.Dataset(variables)).to_netcdf(file)
            archive.write(file, file.name)
            file.unlink()
    found = open_dataset(tmp_path / "download.nc")
    assert set(found.data_vars) == {NEAR, "total_precipitation", "land_sea_mask"}
    np.testing.assert_array_equal(found[NEAR], ATMOSPHERE[NEAR])
    assert found.land_sea_mask.dims == ("latitude", "longitude")


# ---------------------------------------------------------------- folders in general


def parts_of(ds: xr.Dataset, folder: Path) -> None:
    """Two files for each variable: half of the times each, in two formats."""
    for name in ds.data_vars:
        ds[[name]].isel(time=slice(0, 6)).to_netcdf(folder / f"{name}_a.nc")
        ds[[name]].isel(time=slice(6, 12)).to_zarr(folder / "more" / f"{name}_b.zarr", consolidated=False)


def test_variables_times_and_levels_over_many_files(tmp_path: Path) -> None:
    parts_of(ATMOSPHERE, tmp_path)
    (tmp_path / "README.txt").write_text("mine")
    found = open_dataset(tmp_path)
    assert found[HEAT].chunks is not None
    same(found, ATMOSPHERE)
    for level in (500, 850):
        for half in (0, 1):
            part = ATMOSPHERE[[HEAT]].sel(level=[level]).isel(time=slice(6 * half, 6 * half + 6))
            part.to_netcdf(tmp_path / f"level{level}_{half}.nc")
    same(open_dataset(str(tmp_path / "level*.nc")), ATMOSPHERE[[HEAT]])


def test_lacking_files_are_told(tmp_path: Path) -> None:
    parts_of(ATMOSPHERE, tmp_path)
    ATMOSPHERE[[WIND]].isel(time=slice(0, 4)).to_netcdf(tmp_path / f"{WIND}_a.nc")
    found = open_dataset(tmp_path)
    told = [one.words for one in examine(found, times=0)]
    assert told == ["missing at 2 times (2001-01-01T15:00, 2001-01-01T18:00) that other fields have"]
    for name in ATMOSPHERE.data_vars:
        (tmp_path / f"{name}_a.nc").unlink()
        ATMOSPHERE[[name]].isel(time=slice(0, 4)).to_netcdf(tmp_path / f"{name}_a.nc")
    (gap,) = examine(open_dataset(tmp_path), times=0)
    assert gap.words == "2 of the 3-hourly times are missing (2 after 2001-01-01T12:00)"


def test_overlapping_files(tmp_path: Path) -> None:
    ds = ATMOSPHERE[[NEAR]]
    ds.isel(time=slice(0, 8)).to_netcdf(tmp_path / "a.nc")
    ds.isel(time=slice(6, 12)).to_netcdf(tmp_path / "b.nc")
    found = open_dataset(tmp_path)
    same(found, ds)
    assert found.attrs["repaired"].startswith(
        "2 times (2001-01-01T21:00, 2001-01-02T00:00) occurred more than"
    )
    (ds.isel(time=slice(6, 12)) + 1).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(
        UserError, match=r"2m_temperature: 2 times \(2001-01-01T21:00, 2001-01-02T00:00\) occur"
    ):
        open_dataset(tmp_path)
    left = open_dataset(tmp_path, leave_out_conflicts=True)
    assert left.sizes["time"] == 10 and len(json.loads(left.attrs[FOUND])) == 1
    assert [one.kind for one in examine(left)] == ["repeated times", "missing times"]


def test_what_each_file_tells_is_kept(tmp_path: Path) -> None:
    """Repeated times within the second file and within the third."""
    ds = ATMOSPHERE[[NEAR]]
    ds.isel(time=slice(0, 4)).to_netcdf(tmp_path / "a.nc")
    ds.isel(time=[4, 5, 5, 6]).to_netcdf(tmp_path / "b.nc")
    twice = ds.isel(time=[7, 8, 9, 9, 10, 11]).copy(deep=True)
    twice[NEAR][2] += 1
    twice.to_netcdf(tmp_path / "c.nc")
    found = open_dataset(tmp_path, leave_out_conflicts=True)
    assert "1 time (2001-01-01T18:00) occurred more than once" in found.attrs["repaired"]
    ((kind, name, words),) = json.loads(found.attrs[FOUND])
    assert (kind, name) == ("repeated times", NEAR) and "2001-01-02T06:00" in words


def test_what_cannot_be_joined(tmp_path: Path) -> None:
    ATMOSPHERE[[NEAR]].to_netcdf(tmp_path / "a.nc")
    make_atmosphere(latitudes=4)[[NEAR]].to_netcdf(tmp_path / "b.nc")
    with pytest.raises(UserError, match=r"b\.nc is on another grid than .*a\.nc \(4 x 16 points, not 8 x 16"):
        open_dataset(tmp_path)
    (tmp_path / "b.nc").unlink()
    ATMOSPHERE[[HEAT]].rename(level="hybrid").assign_coords(hybrid=[96, 137]).to_netcdf(tmp_path / "c.nc")
    ATMOSPHERE[[WIND]].to_netcdf(tmp_path / "d.nc")
    with pytest.raises(UserError, match="one has model levels and the other pressure levels"):
        open_dataset(tmp_path)
    with pytest.raises(UserError, match=r"there is no file like .*x\*\.nc"):
        open_dataset(tmp_path / "x*.nc")


def test_real_files_of_one_grid_join(shared: Path) -> None:
    """Eastward and northward wind lie in two files."""
    found = open_dataset(shared / "data" / "?wnd_mean.nc".replace("?", "*"))
    assert set(found.data_vars) == {WIND, "v_component_of_wind"} and found.sizes["time"] == 12
