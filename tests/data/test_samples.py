"""The shipped samples are what they are said to be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from atmorep_lite.data.samples import SAMPLES, open_sample, sample_path
from atmorep_lite.errors import UserError

FIELDS = {
    "vorticity": (0, 1.5e-5), "divergence": (0, 3e-6), "temperature": (265, 20),
    "specific_humidity": (4e-3, 4e-3),
    "geopotential": (3.4e4, 1.7e4), "u_component_of_wind": (4, 8), "v_component_of_wind": (0, 5),
}  # fmt: skip


def test_sample_in_the_package() -> None:
    ds = open_sample()
    assert ds.attrs["simulated"] == "true"
    assert dict(ds.sizes) == {"time": 40, "level": 3, "latitude": 32, "longitude": 64}
    assert ds.level.values.tolist() == [500, 700, 850]
    assert ds.latitude.values[[0, -1]].tolist() == [87.1875, -87.1875]
    assert ds.longitude.values[[0, -1]].tolist() == [0, 354.375]
    assert set(ds) == {*FIELDS, "geopotential_at_surface", "land_sea_mask"}
    for name, (mean, std) in FIELDS.items():
        assert float(ds[name].mean()) == pytest.approx(mean, abs=0.5 * std), name
        assert float(ds[name].std()) == pytest.approx(std, rel=0.4), name
    assert sample_path().stat().st_size < 3_000_000


def test_sample_obeys_physics() -> None:
    """Vorticity is the curl of the wind, and the wind of middle latitudes is nearly geostrophic."""
    ds = open_sample().isel(time=slice(None, None, 8)).load()
    radius, rotation = 6.371e6, 7.292e-5
    north = np.deg2rad(ds.latitude)

    def east_gradient(field):
        step = np.deg2rad(5.625) * 2 * radius * np.cos(north)
        return (field.roll(longitude=-1) - field.roll(longitude=1)) / step

    def north_gradient(field):
        return field.differentiate("latitude") * np.rad2deg(1) / radius

    u, v = ds.u_component_of_wind, ds.v_component_of_wind
    curl = east_gradient(v) - north_gradient(u * np.cos(north)) / np.cos(north)
    inner = {"latitude": slice(75, -75)}
    agreement = np.corrcoef(curl.sel(**inner).values.ravel(), ds.vorticity.sel(**inner).values.ravel())[0, 1]
    assert agreement > 0.95
    band = {"latitude": slice(70, 25), "level": 500}
    coriolis = 2 * rotation * np.sin(north)
    geostrophic = (-north_gradient(ds.geopotential) / coriolis).sel(**band)
    assert np.corrcoef(geostrophic.values.ravel(), u.sel(**band).values.ravel())[0, 1] > 0.95
    tropics = ds.temperature.sel(level=850, latitude=slice(15, -15)).mean()
    assert tropics > ds.temperature.sel(level=850, latitude=slice(90, 60)).mean() + 15  # not upside down
    assert float(ds.temperature.min()) > 190  # no nonsense below the ground


def test_unknown_and_missing_samples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="no sample called 'tests'; there are sample, train, validation, test"
    ):
        open_sample("tests")
    monkeypatch.setenv("ATMOREP_LITE_DATA", str(tmp_path))
    with pytest.raises(UserError, match=rf"'train' is expected at {tmp_path}/atmosphere_train\.zarr\.zip"):
        open_sample("train")
    (tmp_path / "atmosphere_test.zarr.zip").write_bytes(sample_path().read_bytes())
    assert open_sample("test").sizes["time"] == 40


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    """The folder data_samples of the checkout; a package installed without it has nothing to check."""
    if not (root / "data_samples" / "checksums.txt").is_file():
        pytest.skip("there is no folder data_samples, as this is not a complete checkout")
    return root / "data_samples"


def test_checksums(folder: Path) -> None:
    listed = dict(reversed(line.split()) for line in (folder / "checksums.txt").read_text().splitlines())
    assert {Path(name).name for name in listed} == set(SAMPLES.values())
    for name, checksum in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum, name


def test_records_do_not_overlap(folder: Path) -> None:
    times = {name: open_sample(name).time.values for name in ("train", "validation", "test")}
    for name, time in times.items():
        assert (np.diff(time) == np.timedelta64(3, "h")).all(), name
    assert times["train"][-1] < times["validation"][0]
    assert times["test"][0] - times["validation"][-1] >= np.timedelta64(30, "D")


def test_readme_has_its_tables(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert "not made yet" not in text
    for name in SAMPLES:
        assert f"{sample_path(name).stat().st_size:,}" in text
    for name in FIELDS:
        assert text.count(f"| {name} |") == 3
