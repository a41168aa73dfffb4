"""Fetching from archives in the layouts of ARCO-ERA5 and WeatherBench 2: what arrives, and bad requests."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
import zarr
from typer.testing import CliRunner

from atmorep_lite import open_dataset
from atmorep_lite.cli import app
from atmorep_lite.config import load_config
from atmorep_lite.data.archive.estimate import estimate
from atmorep_lite.data.archive.fetch import Progress, fetch
from atmorep_lite.data.archive.plan import Plan, make_plan
from atmorep_lite.data.archive.request import Request, fields_for
from atmorep_lite.data.archive.sources import SOURCES, open_archive
from atmorep_lite.data.prepare import prepare
from atmorep_lite.data.prepared import open_prepared
from atmorep_lite.errors import UserError
from tests.data.archive_server import Faults, arco, model_levels, serve, weatherbench

BUCKET = "gcp-public-data-arco-era5/ar"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Buckets as folders, as Google's storage serves them under one host."""
    root = tmp_path_factory.mktemp("buckets")
    for name, make in (("arco", arco), ("arco-model-levels", model_levels), ("wb2-64x32", weatherbench)):
        make(root / SOURCES[name].removeprefix("gs://"))
    return root


@pytest.fixture(scope="module")
def host(root: Path) -> str:  # type: ignore[misc]
    with serve(root) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        yield url


def original(root: Path, name: str) -> xr.Dataset:
    return xr.open_zarr(root / SOURCES[name].removeprefix("gs://"), chunks=None)


def plan_of(name: str, *fields: str, levels: tuple[float, ...] | None = None, **more: object) -> Plan:
    return make_plan(open_archive(name), Request(fields, levels, **more))  # type: ignore[arg-type]


def test_a_region_across_greenwich_of_some_hours_and_levels(host: str, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "era5.zarr"
    hours = {"since": "2019-01-01T01", "until": "2019-01-01T10", "every_hours": 3}
    seen: list[Progress] = []
    plan = plan_of("arco", "t", "2t", levels=(850, 500), region=(70, -30, 30, 50), **hours)
    assert fetch(plan, out, progress=seen.append) == out
    found, source = open_dataset(out), original(root, "arco")
    assert found.temperature.dims == ("time", "level", "latitude", "longitude")
    np.testing.assert_array_equal(found.longitude, np.arange(330, 411, 10.0))
    np.testing.assert_array_equal(found.latitude, [70, 60, 50, 40, 30])
    np.testing.assert_array_equal(found.level, [500, 850])
    times = np.array(["2019-01-01T03", "2019-01-01T06", "2019-01-01T09"], "datetime64[ns]")
    np.testing.assert_array_equal(found.time, times)
    there = {"latitude": found.latitude, "longitude": found.longitude % 360}
    expected = source.sel(time=times, **there)
    np.testing.assert_array_equal(found.temperature, expected.temperature.sel(level=[500, 850]))
    np.testing.assert_array_equal(found["2m_temperature"], expected["2m_temperature"])
    np.testing.assert_array_equal(found.land_sea_mask, expected.land_sea_mask)
    assert found.geopotential_at_surface.dims == ("latitude", "longitude")
    assert found.temperature.attrs["units"] == "K"
    assert seen[-1].done == seen[-1].of == 4 and seen[-1].received > 0
    assert not list(tmp_path.rglob("*.part*"))


def test_provenance_and_format(host: str, tmp_path: Path) -> None:
    out = fetch(plan_of("arco", "t", levels=(500,), until="2019-01-01T02"), tmp_path / "o.zarr")
    group = zarr.open_group(out, mode="r")
    assert group.metadata.zarr_format == 3
    assert group.attrs["source"] == SOURCES["arco"]
    assert group.attrs["fetched"]["levels"] == [500.0] and group.attrs["fetched"]["times"] == 3  # type: ignore[index,call-overload]
    assert str(group.attrs["fetched_by"]).startswith("atmorep-lite ")
    array = group["temperature"]
    assert isinstance(array, zarr.Array)
    assert array.chunks == (3, 1, 19, 36)  # hours together, all levels, the whole map
    place = out / "temperature" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):  # whoever reads it later notices
        open_dataset(out).temperature.load()


def test_weatherbench_is_turned_and_read_once(root: Path, tmp_path: Path) -> None:
    faults = Faults()
    with serve(root, faults) as url:
        address = f"{url}/{SOURCES['wb2-64x32'].removeprefix('gs://')}"
        out = fetch(plan_of(address, "q", "u", since="1959-01-03"), tmp_path / "w.zarr", streams=2)
    found, source = open_dataset(out), original(root, "wb2-64x32")
    assert (found.sizes["latitude"], found.sizes["longitude"], found.sizes["level"]) == (32, 64, 13)
    assert float(found.latitude[0]) > 0 and found.specific_humidity.attrs["units"] == "kg kg-1"
    expected = source.sel(time=slice("1959-01-03", None)).transpose("time", "level", "latitude", "longitude")
    for name in ("specific_humidity", "u_component_of_wind"):
        np.testing.assert_array_equal(found[name], expected[name].sel(latitude=found.latitude))
    sent = {path: n for path, n in faults.chunks_sent().items() if "specific" in path or "component" in path}
    assert len(sent) == 6 and set(sent.values()) == {1}  # three chunks of 16 times hold the period


def test_derived_fields_mean_their_winds_and_the_rest_follows(host: str, tmp_path: Path) -> None:
    """What the preset `demo` needs: fetch, average, prepare."""
    model = load_config("demo").model
    fields, levels = fields_for(model)
    assert "vorticity" in fields
    plan = plan_of("wb2-64x32", *fields, levels=levels, resolution=11.25)
    assert {v.name for v in plan.variables} >= {"u_component_of_wind", "v_component_of_wind"}
    out = fetch(plan, tmp_path / "w.zarr")
    assert open_dataset(out).temperature.attrs["units"] == "K"
    store = prepare(open_dataset(out), tmp_path / "p.zarr", ["vorticity", "temperature"], gaps=0)
    assert open_prepared(store).vorticity.shape == (40, 2, 17, 32)


def test_coarser_keeps_the_mean_over_the_sphere(host: str, root: Path, tmp_path: Path) -> None:
    out = fetch(
        plan_of("arco", "t", levels=(500,), until="2019-01-01T00", resolution=30.0), tmp_path / "c.zarr"
    )
    found, source = open_dataset(out), original(root, "arco").isel(time=0).sel(level=500)
    assert found.temperature.shape == (1, 1, 7, 12)

    def mean(field: xr.DataArray) -> float:
        spacing = 180 / (field.sizes["latitude"] - 1)
        edges = np.clip(field.latitude.values[:, None] + [spacing / 2, -spacing / 2], -90, 90)
        area = np.sin(np.deg2rad(edges[:, 0])) - np.sin(np.deg2rad(edges[:, 1]))
        return float((field.mean("longitude").values.astype(float) * area).sum() / area.sum())

    assert mean(found.temperature[0, 0]) == pytest.approx(mean(source.temperature), abs=1e-4)
    part = plan_of(
        "arco", "t", levels=(500,), until="2019-01-01T00", resolution=30.0, region=(60, -60, 0, 30)
    )
    piece = open_dataset(fetch(part, tmp_path / "part.zarr")).temperature
    np.testing.assert_array_equal(piece.longitude, [300, 330, 360, 390])
    expected = found.temperature.sel(latitude=piece.latitude, longitude=piece.longitude % 360)
    np.testing.assert_allclose(piece, expected, rtol=1e-6)


def test_model_levels(host: str, root: Path, tmp_path: Path) -> None:
    out = fetch(plan_of("arco-model-levels", "vo", levels=(96, 137)), tmp_path / "m.zarr")
    found = open_dataset(out)
    assert found.level.attrs["level_type"] == "model"
    expected = original(root, "arco-model-levels").vorticity.sel(hybrid=[96, 137])
    np.testing.assert_array_equal(found.vorticity, expected)


def test_the_same_again_checks_and_mends(root: Path, tmp_path: Path) -> None:
    faults = Faults()
    with serve(root, faults) as url:
        address = f"{url}/{SOURCES['wb2-64x32'].removeprefix('gs://')}"
        out = fetch(plan_of(address, "t"), tmp_path / "w.zarr")
        before = open_dataset(out).temperature.load()
        faults.seen.clear()
        said: list[str] = []
        fetch(plan_of(address, "t"), out, report=said.append)
        assert not faults.chunks_sent() or all("temperature" not in path for path in faults.chunks_sent())
        assert "checksums are right" in said[0]
        place = out / "temperature" / "c" / "0" / "0" / "0" / "0"
        place.write_bytes(place.read_bytes()[:-100])
        fetch(plan_of(address, "t"), out)
        assert any("temperature" in path for path in faults.chunks_sent())
    np.testing.assert_array_equal(open_dataset(out).temperature, before)


def test_the_estimate(host: str, root: Path, tmp_path: Path) -> None:
    plan = plan_of("arco", "t", "u", levels=(500, 850), until="2019-01-01T11")
    cost = estimate(plan, streams=3)
    assert cost.chunks == 24 + 2
    out = fetch(plan, tmp_path / "e.zarr")
    source = root / SOURCES["arco"].removeprefix("gs://")
    names = ["temperature", "u_component_of_wind"]
    sizes = sum((source / n / f"{h}.0.0.0").stat().st_size for n in names for h in range(12))
    assert cost.download == pytest.approx(sizes, rel=0.05)
    disk = sum(p.stat().st_size for n in names for p in (out / n).rglob("*") if p.is_file())
    assert cost.disk == pytest.approx(disk, rel=0.3)
    assert cost.memory > 3 * 2 * 37 * 19 * 36 * 4 and cost.seconds > 0


def test_the_estimate_where_the_first_chunk_is_missing(tmp_path: Path) -> None:
    place = arco(tmp_path / "a.zarr")
    plan = make_plan(
        open_archive(str(place), missing="fill"), Request(("t",), (500.0,), until="2019-01-01T11")
    )
    whole = estimate(plan, streams=2)
    (place / "temperature" / "0.0.0.0").unlink()
    some = estimate(plan, streams=2)
    assert some.disk > whole.disk / 2 and some.speed > 0  # a chunk that is there was tried
    for variable in plan.variables:
        for chunk in place.glob(f"{variable.raw}/[0-9]*"):
            chunk.unlink()
    assert estimate(plan, streams=2).seconds == 0


BAD = {
    "nothing": ({"source": "era6"}, "there is no source 'era6'; choose one of arco,"),
    "protocol": ({"source": "ftp://some/where"}, "addresses begin with"),
    "field": ({"fields": ("ozone",)}, "ozone"),
    "not in it": ({"fields": ("skin_temperature",)}, "has no skin_temperature; it has"),
    "level": ({"levels": (501.0,)}, "no level 501 hPa; they have 1, 2"),
    "swapped": ({"since": "2019-01-01T05", "until": "2019-01-01T04"}, "later than --until"),
    "no date": ({"since": "someday"}, "someday is no date"),
    "too early": ({"since": "1930-01-01"}, "holds 2019-01-01T00:00 to 2019-01-01T23:00"),
    "not yet": ({"until": "2040-01-01"}, "holds 2019-01-01T00:00 to 2019-01-01T23:00"),
    "hours": ({"every_hours": 5}, "must divide 24"),
    "finer": ({"resolution": 1.0}, "finer than the source's 10"),
    "uneven": ({"resolution": 17.0}, "no whole number of steps"),
    "region upside down": ({"region": (10.0, 0.0, 20.0, 30.0)}, "must lie north of"),
    "region of a wrong length": ({"region": (20.0, 40.0, 10.0, 30.0)}, "east of 40"),
    "region between points": ({"region": (14.0, 0.0, 12.0, 30.0)}, "holds no point of the source"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_get_one_sentence(host: str, name: str) -> None:
    wrong, words = BAD[name]
    asked = {"source": "arco", "fields": ("t",)} | wrong
    with pytest.raises(UserError) as error:
        plan_of(str(asked.pop("source")), *asked.pop("fields"), **asked)  # type: ignore[misc,arg-type]
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_region_outside_a_regional_source(host: str, tmp_path: Path) -> None:
    europe = fetch(
        plan_of("arco", "t", levels=(500,), until="2019-01-01T01", region=(70, -30, 30, 50)),
        tmp_path / "e.zarr",
    )
    with pytest.raises(
        UserError, match=r"holds no point of the source, which covers 70 to 30 N, 330 to 410 E"
    ):
        plan_of(str(europe), "t", region=(0, 100, -40, 150))
    again = fetch(
        plan_of(str(europe), "t", region=(50, -10, 40, 10)), tmp_path / "f.zarr"
    )  # local, of our own
    np.testing.assert_array_equal(open_dataset(again).longitude, [350, 360, 370])
    coarse = plan_of(str(europe), "t", resolution=20.0)
    np.testing.assert_array_equal(
        coarse.grid.latitude, [50]
    )  # the only rows of 90, 70, 50 ... that are wholly covered


def test_what_is_there_stays(host: str, tmp_path: Path) -> None:
    plan = plan_of("arco", "t", levels=(500,), until="2019-01-01T01")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        fetch(plan, tmp_path / "file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        fetch(plan, tmp_path / "folder")
    out = fetch(plan, tmp_path / "o.zarr")
    with pytest.raises(UserError, match="fetched with another levels, last, times"):
        fetch(plan_of("arco", "t", levels=(850,), until="2019-01-01T05"), out)
    handle = os.open(tmp_path / ".o.zarr.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="another process is fetching into"):
        fetch(plan, out)
    os.close(handle)
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "thesis.tex").read_text() == "mine"


def test_a_foreign_part_stays_and_our_half_written_one_is_taken(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of("arco", "t", levels=(500,), until="2019-01-01T01")
    thesis = tmp_path / "mycopy.part" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    with pytest.raises(UserError, match=r"mycopy\.part holds something else"):
        fetch(plan, tmp_path / "mycopy")
    assert thesis.read_text() == "mine"
    zarr.create_group(tmp_path / "other.part", attributes={"fetched": "yesterday"})
    with pytest.raises(UserError, match="holds something else"):
        fetch(plan, tmp_path / "other")
    put, calls = zarr.storage._local._put, 0

    def crash(path: Path, *args: object, **more: object) -> int:
        nonlocal calls
        calls += 1
        if calls == stop:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".0.partial").write_bytes(b"{")
            raise RuntimeError("killed")
        return put(path, *args, **more)  # type: ignore[arg-type]

    for stop in (1, 2, 5, 9):  # while the frame is written
        out, calls = tmp_path / f"o{stop}.zarr", 0
        monkeypatch.setattr(zarr.storage._local, "_put", crash)
        with pytest.raises(RuntimeError, match="killed"):
            fetch(plan, out)
        monkeypatch.undo()
        assert not out.exists() and any(out.with_name(f"{out.name}.part").iterdir())
        assert open_dataset(fetch(plan, out)).sizes["time"] == 2
        assert not list(tmp_path.rglob("*.partial")) and not list(tmp_path.glob(".*"))


def test_an_empty_folder_is_not_filled_under_its_own_name(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of("arco", "t", levels=(500,), until="2019-01-01T01")
    (tmp_path / "disk").mkdir()
    out = tmp_path / "o.zarr"
    out.symlink_to(tmp_path / "disk")
    seen: list[bool] = []
    fetch(plan, out, progress=lambda now: seen.append(any(out.iterdir())))
    assert seen and not any(seen) and out.is_symlink()
    assert open_dataset(out).sizes["time"] == 2
    assert {p.name for p in tmp_path.iterdir()} == {"disk", "o.zarr"}
    (tmp_path / "mount").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda self: self.name == "mount")
    with pytest.raises(UserError, match="choose a name within it"):
        fetch(plan, tmp_path / "mount")


def test_file_systems_without_locks(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of("arco", "t", levels=(500,), until="2019-01-01T01")
    modes: list[int] = []

    def none(handle: int, how: int) -> None:
        modes.append(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE)
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    out = fetch(plan, tmp_path / "o.zarr")
    assert modes == [os.O_RDWR]  # NFS emulates it by a lock that needs this
    assert list(tmp_path.iterdir()) == [out]


def test_a_full_disk(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of("arco", "t", levels=(500,), until="2019-01-01T01")
    put = zarr.storage._local._put
    monkeypatch.setattr(
        zarr.storage._local,
        "_put",
        lambda path, *a, **k: _full() if "/c/" in str(path) else put(path, *a, **k),
    )
    with pytest.raises(UserError, match=r"the disk of .* is full; make room and run the same command again"):
        fetch(plan, tmp_path / "o.zarr")
    monkeypatch.undo()
    assert not (tmp_path / "o.zarr").exists()
    assert float(open_dataset(fetch(plan, tmp_path / "o.zarr")).temperature.mean()) > 200


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_command(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "era5.zarr"
    words = f"data fetch arco {out} --config demo --since 2019-01-01T00 --until 2019-01-01T11"
    asked = [
        *words.split(),
        *["--region", "70", "-30", "30", "50", "--every-hours", "3", "--resolution", "20"],
    ]
    dry = CliRunner().invoke(app, [*asked, "--dry-run"], catch_exceptions=False)
    assert "download   about" in dry.output and "memory" in dry.output and not list(tmp_path.iterdir())
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0 and "Fetched:" in done.output
    assert open_dataset(out).sizes == {"time": 4, "level": 2, "latitude": 3, "longitude": 4}
    (part := tmp_path / "era5.zarr.part").mkdir()
    out.rename(tmp_path / "kept")
    small = SimpleNamespace(free=20)
    monkeypatch.setattr("shutil.disk_usage", lambda place: small)
    with pytest.raises(UserError, match=r"has 0.0 kB free, [\d.]+ kB are needed"):
        CliRunner().invoke(app, asked, catch_exceptions=False)
    part.rmdir()
    (tmp_path / "kept").rename(part)  # what is there needs no room
    assert CliRunner().invoke(app, asked, catch_exceptions=False).exit_code == 0 and out.exists()
    with pytest.raises(UserError, match="give --config or --field"):
        CliRunner().invoke(app, ["data", "fetch", "arco", str(out)], catch_exceptions=False)
