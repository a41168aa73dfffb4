"""Opening real and synthetic data: whatever the file, the canonical dataset."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from atmorep_lite.data.canonical import canonical
from atmorep_lite.data.opening import check_finite, open_dataset, select
from atmorep_lite.errors import UserError
from tests.data.synthetic import make_atmosphere

ATMOSPHERE = make_atmosphere()
DIMS = ("time", "level", "latitude", "longitude")


def same(one: xr.Dataset, other: xr.Dataset) -> None:
    """Equal values and coordinates in the same order of axes."""
    xr.testing.assert_equal(one, other)
    assert {k: v.dims for k, v in one.data_vars.items()} == {k: v.dims for k, v in other.data_vars.items()}


# ---------------------------------------------------------------- layout


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_layout_gives_the_identical_dataset(data: st.DataObject) -> None:
    ds = ATMOSPHERE
    if data.draw(st.booleans(), "south to north"):
        ds = ds.isel(latitude=slice(None, None, -1))
    if data.draw(st.booleans(), "surface first"):
        ds = ds.isel(level=slice(None, None, -1))
    ds = ds.roll(longitude=data.draw(st.integers(0, 15), "roll"), roll_coords=True)
    if data.draw(st.booleans(), "-180 ... 180"):
        ds = ds.assign_coords(longitude=(ds.longitude + 180) % 360 - 180)
    if data.draw(st.booleans(), "Pa"):
        ds = ds.assign_coords(level=("level", ds.level.values * 100.0, {"units": "Pa"}))
    if data.draw(st.booleans(), "cyclic point"):
        first = ds.isel(longitude=[0])
        ds = xr.concat([ds, first.assign_coords(longitude=first.longitude + 360)], "longitude")
    if data.draw(st.booleans(), "degrees Celsius"):
        ds = ds.assign(temperature=(ds.temperature.astype(float) - 273.15).assign_attrs(units="degC"))
    ds = ds.isel(time=data.draw(st.permutations(range(6)), "times"))
    ds = ds.transpose(*data.draw(st.permutations(DIMS), "axes"))
    names = data.draw(
        st.sampled_from(
            [
                {},
                {"temperature": "t", "u_component_of_wind": "velocity_u", "2m_temperature": "t2m"},
                {"latitude": "lat", "longitude": "lon", "level": "plev", "temperature": "T"},
                {"level": "isobaricInhPa", "latitude": "Latitude", "2m_temperature": "2t"},
                {"level": "pressure_level", "time": "valid_time"},
                {"temperature": "ta", "2m_temperature": "tas"},  # known by standard_name and level
            ]
        ),
        "names",
    )
    found = canonical([ds.rename(names)])
    xr.testing.assert_allclose(found, ATMOSPHERE, rtol=1e-6)
    assert {k: v.dims for k, v in found.data_vars.items()} == {k: v.dims for k, v in ATMOSPHERE.items()}
    for axis in DIMS:
        np.testing.assert_array_equal(found[axis], ATMOSPHERE[axis])
    assert {k: v.attrs["units"] for k, v in found.items()} == {
        "temperature": "K", "u_component_of_wind": "m s-1", "2m_temperature": "K"
    }  # fmt: skip
    assert found.level.dtype == np.int32 and found.level.attrs["units"] == "hPa"


def test_input_is_not_changed() -> None:
    given_ = ATMOSPHERE.isel(latitude=slice(None, None, -1)).rename(level="isobaricInPa", temperature="t")
    before = given_.copy(deep=True)
    canonical([given_])
    xr.testing.assert_identical(given_, before)


def region(first: float, last: float, step: float) -> xr.Dataset:
    longitude = np.arange(first, last + step / 2, step)
    values = np.broadcast_to(np.arange(len(longitude), dtype=np.float32), (2, 3, len(longitude)))
    coords = {"time": ATMOSPHERE.time[:2], "latitude": [60.0, 50.0, 40.0], "longitude": longitude}
    return xr.Dataset({"t2m": (("time", "latitude", "longitude"), values, {"units": "K"})}, coords)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (-10, 2, (350, 362)),
        (350, 362, (350, 362)),
        (10, 30, (10, 30)),
        (-30, -10, (330, 350)),
        (-100, 180, (260, 540)),
    ],
)
def test_a_region_stays_in_one_piece(first: float, last: float, expected: tuple[float, float]) -> None:
    found = canonical([region(first, last, 2.0)])
    east = found.longitude.values
    assert (east[0], east[-1]) == expected
    np.testing.assert_allclose(np.diff(east), 2.0)
    np.testing.assert_array_equal(found["2m_temperature"][0, 0], np.arange(len(east)))  # neighbours stay


def test_a_region_stored_in_two_pieces_is_joined() -> None:
    whole = region(-10, 2, 2.0)
    east = whole.longitude % 360
    stored = whole.assign_coords(longitude=east).sortby("longitude")
    assert stored.longitude.values[0] == 0
    same(canonical([stored]), canonical([whole]))


def test_model_levels_keep_their_number() -> None:
    ds = ATMOSPHERE.rename(level="hybrid").assign_coords(hybrid=[137, 96])
    found = canonical([ds])
    assert found.level.values.tolist() == [96, 137]
    assert found.level.attrs["level_type"] == "model"
    np.testing.assert_array_equal(found.temperature.sel(level=137), ATMOSPHERE.temperature.isel(level=0))


def test_scalar_time_and_level_become_axes() -> None:
    found = canonical([ATMOSPHERE.isel(time=2, level=0)])
    assert found.temperature.dims == DIMS and found.temperature.shape[:2] == (1, 1)
    assert found["2m_temperature"].dims == ("time", "latitude", "longitude")  # no level for a surface field
    same(found, ATMOSPHERE.isel(time=[2], level=[0]))


def test_static_fields_get_no_time() -> None:
    orography = ATMOSPHERE.temperature.isel(time=0, level=0, drop=True).assign_attrs(units="m2 s-2")
    found = canonical([ATMOSPHERE.isel(time=0).assign(zs=orography)])
    assert found.geopotential_at_surface.dims == ("latitude", "longitude")
    assert "time" in found.temperature.dims


def test_forecast_layout() -> None:
    lead = ATMOSPHERE.expand_dims(step=[0, 6]).assign_coords(number=0)
    lead = lead.assign_coords(valid_time=lead.time + lead.step * np.timedelta64(1, "h"))
    found = canonical([lead])
    assert found.temperature.dims == ("time", "prediction_timedelta", "level", "latitude", "longitude")
    assert found.prediction_timedelta.values.tolist() == [0, 6 * 3600 * 10**9]
    assert not {"valid_time", "number"} & set(found.coords)
    analysis = canonical([lead.isel(step=[0])])
    same(analysis, ATMOSPHERE)  # a lead of zero says nothing


def test_geopotential_in_metres_is_called_a_height() -> None:
    metres = (ATMOSPHERE.temperature * 20).assign_attrs(units="gpm")
    found = canonical([ATMOSPHERE.assign(z=metres)])
    assert found.geopotential_height.attrs["units"] == "m" and "geopotential" not in found
    np.testing.assert_array_equal(found.geopotential_height, metres)


def test_unknown_variables_are_kept() -> None:
    ds = ATMOSPHERE.assign(ozone_hole=ATMOSPHERE.temperature.assign_attrs(units="dobson"), note=("x", [1.0]))
    found = canonical([ds.isel(latitude=slice(None, None, -1))])
    np.testing.assert_array_equal(found.ozone_hole, ATMOSPHERE.temperature)
    # its standard_name (of temperature) is taken by the variable that is called so
    assert found.ozone_hole.attrs["units"] == "dobson" and found.note.values.tolist() == [1.0]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda ds: ds.rename(latitude="y"), r"no coordinate latitude, only"),
        (lambda ds: ds.drop_vars("longitude"), r"no coordinate longitude"),
        (
            lambda ds: ds.assign_coords(time=np.arange(6.0)),
            r"time holds numbers without a date \(such as 0.0\)",
        ),
        (lambda ds: ds.assign_coords(latitude=ds.latitude * 2), r"latitude reaches 157.5"),
        (lambda ds: ds.drop_vars("level"), r"the axis level has a length but no values"),
        (lambda ds: ds.assign(t=ds.temperature), r"'temperature' and 't' are both temperature"),
        (
            lambda ds: ds.assign(temperature=ds.temperature.assign_attrs(units="F")),
            r"temperature has units 'F', expected K",
        ),
        (
            lambda ds: ds.rename(latitude="y", longitude="x").assign_coords(
                latitude=(("y", "x"), np.zeros((8, 16))), longitude=(("y", "x"), np.zeros((8, 16)))
            ),
            r"latitude is not an axis of a regular",
        ),
        (lambda ds: ds.convert_calendar("noleap", use_cftime=True), r"calendar other than the usual one"),
    ],
)
def test_what_cannot_be_put_in_order_is_refused(broken, message: str) -> None:
    with pytest.raises(UserError, match=message):
        canonical([broken(ATMOSPHERE)])


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_folder_and_zip(tmp_path: Path, zarr_format: int) -> None:
    folder = tmp_path / "a.zarr"
    ATMOSPHERE.to_zarr(folder, zarr_format=zarr_format, consolidated=zarr_format == 2)
    found = open_dataset(folder)
    assert found.temperature.chunks is not None  # lazy
    same(found, ATMOSPHERE)
    for prefix in ("", "a.zarr/"):  # the content was zipped, or the folder itself
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for file in folder.rglob("*"):
                if file.is_file():
                    archive.write(file, prefix + file.relative_to(folder).as_posix())
        same(open_dataset(str(tmp_path / "a.zip")), ATMOSPHERE)


def test_zarr_by_url() -> None:
    fsspec = pytest.importorskip("fsspec")
    ATMOSPHERE.to_zarr("memory://atmosphere.zarr", zarr_format=3, consolidated=False)
    try:
        same(open_dataset("memory://atmosphere.zarr"), ATMOSPHERE)
    finally:
        fsspec.filesystem("memory").rm("/atmosphere.zarr", recursive=True)


@pytest.mark.parametrize("file_format", ["NETCDF4", "NETCDF3_64BIT"])
def test_netcdf_whatever_its_name(tmp_path: Path, file_format: str) -> None:
    path = tmp_path / "no_suffix"
    ATMOSPHERE.to_netcdf(path, format=file_format, engine="netcdf4")
    same(open_dataset(path), ATMOSPHERE)


def test_hourly_surface_grib(shared: Path) -> None:
    path = shared / "data" / "era5-2mt-2019-03-uk.grib"
    ds = open_dataset(path)
    assert list(ds.data_vars) == ["2m_temperature"]
    assert ds["2m_temperature"].dims == ("time", "latitude", "longitude") and ds["2m_temperature"].shape == (
        744,
        33,
        49,
    )
    assert ds.longitude.values[[0, -1]].tolist() == [350, 362] and ds.latitude.values[[0, -1]].tolist() == [
        58,
        50,
    ]
    assert ds.time.values[-1] == np.datetime64("2019-03-31T23")
    assert 270 < float(ds["2m_temperature"].mean()) < 285
    assert not list(path.parent.glob("*.idx"))


def test_ensemble_grib(shared: Path) -> None:
    ds = open_dataset(shared / "data" / "era5-levels-members.grib")
    assert ds.geopotential.dims == ("time", "number", "level", "latitude", "longitude")
    assert ds.level.values.tolist() == [500, 850] and ds.number.values.tolist() == list(range(10))
    height = ds.geopotential.mean(("time", "number", "latitude", "longitude")) / 9.80665
    assert 5300 < height.sel(level=500) < 5800 and 1300 < height.sel(level=850) < 1550
    assert (
        ds.temperature.sel(latitude=0).mean() > ds.temperature.sel(latitude=-90).mean() + 20
    )  # not upside down


def test_forecast_grib(shared: Path) -> None:
    ds = open_dataset(shared / "data" / "ifs_pl_regular_ll_20240603.grib")
    assert ds.temperature.dims == ("time", "prediction_timedelta", "level", "latitude", "longitude")
    assert ds.prediction_timedelta.values.astype("timedelta64[h]").astype(int).tolist() == [0, 6]
    assert ds.level.values.tolist() == [300, 400, 500, 700, 850, 1000]
    assert set(ds) >= {"temperature", "u_component_of_wind", "v_component_of_wind", "geopotential"}
    # 12-hourly start + 6 h is no start, so the two leads must differ: the axes were not swapped.
    assert abs(ds.temperature.diff("prediction_timedelta")).mean() > 0.1


def test_era5_netcdf_with_longitude_before_latitude(shared: Path) -> None:
    path = shared / "data" / "era5_tl31_19590102T00.nc"
    ds = open_dataset(path)
    assert ds.temperature.dims == DIMS and ds.temperature.shape == (1, 37, 32, 64)
    assert ds.time.values.tolist() == [np.datetime64("1959-01-02", "ns").astype(int)]
    raw = xr.open_dataset(path)
    for level, latitude, longitude in ((500, 85.76, 90), (850, -30, 0), (1, 2, 354)):
        point = {"level": level, "latitude": latitude, "longitude": longitude}
        expected = raw.temperature.sel(**point, method="nearest")
        assert ds.temperature[0].sel(**point, method="nearest") == expected
    assert ds.sea_surface_temperature.dims == ("time", "latitude", "longitude")


def test_long_term_mean_with_scalar_level(shared: Path) -> None:
    ds = open_dataset(shared / "data" / "uwnd_mean.nc")
    assert list(ds.data_vars) == ["u_component_of_wind"]
    assert ds.u_component_of_wind.shape == (12, 1, 73, 144) and ds.level.values.tolist() == [200]
    july = ds.u_component_of_wind[6, 0].mean("longitude")
    assert july.sel(latitude=slice(0, -60)).max() > july.sel(latitude=slice(60, 0)).max()  # winter jet: south


# ---------------------------------------------------------------- files that cannot be read


@pytest.mark.parametrize(
    "name",
    ["era5-2mt-2019-03-uk.grib", "era5-levels-members.grib", "era5_tl31_19590102T00.nc", "uwnd_mean.nc"],
)
@pytest.mark.parametrize("kept", [0.001, 0.5007, 0.999])
def test_truncated_files_are_refused(shared: Path, tmp_path: Path, name: str, kept: float) -> None:
    content = (shared / "data" / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match=rf"{name}.*copy it again"):
        open_dataset(cut)


def test_damaged_message_is_not_dropped_silently(shared: Path, tmp_path: Path) -> None:
    content = bytearray((shared / "data" / "era5-2mt-2019-03-uk.grib").read_bytes())
    second = content.find(b"GRIB", 4)
    content[second : second + 4] = b"grib"
    (tmp_path / "a.grib").write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        open_dataset(tmp_path / "a.grib")


def test_truncated_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("zarr.json", "{}" * 1000)
    (tmp_path / "cut.zip").write_bytes((tmp_path / "whole.zip").read_bytes()[:900])
    with pytest.raises(UserError, match=r"cut\.zip.*copy it again"):
        open_dataset(tmp_path / "cut.zip")


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.nc").write_text("not a NetCDF file at all")
    (tmp_path / "empty.grib").touch()
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    for name, message in {
        "missing.zarr": r"there is no file or folder .*missing\.zarr",
        "notes.nc": r"notes\.nc is none of Zarr \(folder or zip\), NetCDF and GRIB",
        "empty.grib": r"empty\.grib is empty",
        "folder": r"folder is not a Zarr store",
        "other.zip": r"other\.zip holds no Zarr store and no NetCDF",
    }.items():
        with pytest.raises(UserError, match=message):
            open_dataset(tmp_path / name)


def test_urls_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="only Zarr stores are read from a URL"):
        open_dataset("https://example.org/a.nc")
    with pytest.raises(UserError, match=r"no Zarr store could be read from memory://nothing"):
        open_dataset("memory://nothing")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package fsspec"):
        open_dataset("ftp://host/a.zarr")


def test_error_of_layout_names_the_file(tmp_path: Path) -> None:
    ATMOSPHERE.rename(latitude="y").to_netcdf(tmp_path / "nowhere.nc")
    with pytest.raises(UserError, match=r"nowhere\.nc: the data have no coordinate latitude"):
        open_dataset(tmp_path / "nowhere.nc")


# ---------------------------------------------------------------- choosing and checking


def test_select_keeps_the_order_asked_for() -> None:
    found = select(ATMOSPHERE, ["u", "t"], [850, 500])
    assert list(found.data_vars) == [
        "u_component_of_wind",
        "temperature",
    ] and found.level.values.tolist() == [850, 500]
    np.testing.assert_array_equal(found.temperature[:, 0], ATMOSPHERE.temperature[:, 1])
    assert list(select(ATMOSPHERE, "t2m").data_vars) == ["2m_temperature"]
    assert select(ATMOSPHERE, ["t"], np.array([500.0])).sizes["level"] == 1


@pytest.mark.parametrize(
    ("fields", "levels", "message"),
    [
        (["q"], None, r"no specific_humidity; they have temperature, u_component_of_wind, 2m_temperature"),
        (["t"], [500, 925], r"no level 925 hPa; they have 500, 850 hPa"),
        (["t"], ["500hPa"], r"levels must be numbers in hPa, such as 500, not '500hPa'"),
        (["t"], "500", r"levels must be a list of numbers in hPa, such as \[500\], not '500'"),
        (["t"], 500, r"levels must be a list of numbers"),
        (["t2m"], [500], r"2m_temperature has no levels; leave levels out"),
        (["temprature"], None, r"no field called 'temprature'"),
    ],
)
def test_select_says_what_is_lacking(fields: list[str], levels: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        select(ATMOSPHERE, fields, levels)


def test_check_finite_names_field_time_and_number() -> None:
    check_finite(ATMOSPHERE)
    holes = ATMOSPHERE.copy(deep=True)
    holes.u_component_of_wind[2, 0, :3, 0] = np.nan
    holes.u_component_of_wind[4, 1, 0, 0] = np.inf
    check_finite(holes, ["t", "2t"])
    message = r"u_component_of_wind has 4 values .* at 2 of 6 times, first at 2001-01-01T09:00"
    with pytest.raises(UserError, match=message):
        check_finite(holes.chunk({"time": 1}), ["temperature", "u"])
    with pytest.raises(UserError, match="have no vorticity"):
        check_finite(holes, ["vorticity"])
