"""Prepared stores: what goes in comes out, whole or in neighbourhoods, also after an interruption."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from atmorep_lite import Normalizer, open_sample
from atmorep_lite.data.prepare import prepare
from atmorep_lite.data.prepared import PackedField, is_prepared, open_prepared, statistics
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.data.writing import LARGEST
from atmorep_lite.errors import UserError
from tests.tiny import tiny_field, tiny_model

FIELDS = ["temperature", "vorticity"]


@pytest.fixture(scope="module")
def record() -> xr.Dataset:
    return open_sample().isel(time=slice(0, 25)).chunk(time=4)


@pytest.fixture(scope="module")
def store(record: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chunks of seven times, so that neighbourhoods cross their borders."""
    out = tmp_path_factory.mktemp("prepared") / "store.zarr"
    return prepare(record, out, FIELDS, levels=[500, 850], gaps=6, chunk_megabytes=7 * 2 * 32 * 64 * 2 / 1e6)


@pytest.fixture(scope="module")
def normal(record: xr.Dataset) -> xr.Dataset:
    chosen = record[FIELDS].sel(level=[500, 850]).load()
    return Normalizer.fit(chosen).normalize(chosen)


def test_the_store_holds_the_normalised_fields(store: Path, normal: xr.Dataset) -> None:
    found = open_prepared(store)
    for name in FIELDS:
        scale = found[name].encoding["scale_factor"]
        assert scale < 4e-4
        np.testing.assert_allclose(found[name], normal[name], atol=0.51 * scale)
        assert float(abs(found[name]).max()) <= LARGEST * scale * (1 + 1e-6)
    assert {"geopotential_at_surface", "land_sea_mask"} <= set(found)
    np.testing.assert_array_equal(found.time, normal.time)


def test_statistics_travel_with_the_store(store: Path, record: xr.Dataset) -> None:
    chosen = record[FIELDS].sel(level=[500, 850]).load()
    ours, fitted = statistics(open_prepared(store)), Normalizer.fit(chosen)
    for kind in ("mean", "std"):
        xr.testing.assert_allclose(getattr(ours, kind)[FIELDS], getattr(fitted, kind)[FIELDS])


def test_changes_are_the_typical_departures(store: Path, record: xr.Dataset) -> None:
    fields = [tiny_field(name, num_tokens=(3, 2, 4), token_size=(2, 2, 2)) for name in FIELDS]
    chosen = record[FIELDS].sel(level=[500, 850]).load()
    table = Neighbourhoods(chosen, tiny_model(*fields), Normalizer.fit(chosen)).typical_departures()
    for name in FIELDS:
        changes = open_prepared(store)[f"change_{name}"].values
        np.testing.assert_allclose(changes[:5].T, table[name][:, 1:6], rtol=0.02)  # a sample of times there


@settings(max_examples=40, deadline=None)
@given(
    start=st.integers(0, 24),
    steps=st.integers(1, 25),
    row=st.integers(0, 31),
    height=st.integers(1, 32),
    column=st.integers(0, 63),
    width=st.integers(1, 64),
)
def test_any_box(
    store: Path, normal: xr.Dataset, start: int, steps: int, row: int, height: int, column: int, width: int
) -> None:
    steps, height = min(steps, 25 - start), min(height, 32 - row)
    columns = np.arange(column, column + width) % 64
    field = pickle.loads(pickle.dumps(PackedField(store, "temperature", [1])))
    box = field.cut(start, steps, row, height, columns)
    whole = normal["temperature"].transpose("level", "time", "latitude", "longitude").values
    assert box.dtype == np.float32 and box.shape == (1, steps, height, width)
    expected = whole[1:, start : start + steps, row : row + height][..., columns]
    np.testing.assert_allclose(box, expected, atol=0.51 * field.scale)


def test_an_interrupted_preparation_goes_on(record: xr.Dataset, store: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "again.zarr", []

    def stop(line: str) -> None:
        told.append(line)
        if line.startswith("2 of") or line.startswith("4 of"):
            raise KeyboardInterrupt

    settings = {"levels": [500, 850], "gaps": 6, "chunk_megabytes": 7 * 2 * 32 * 64 * 2 / 1e6}
    with pytest.raises(KeyboardInterrupt):
        prepare(record, out, FIELDS, report=stop, **settings)
    assert is_prepared(out)
    with pytest.raises(UserError, match="is not complete; run the same"):
        open_prepared(out)
    prepare(record, out, FIELDS, report=told.append, **settings)
    assert told.count("Statistics of 25 times.") == 1 and any(
        line.startswith(("4 of 4", "6 of 6")) for line in told
    )
    for name in FIELDS:
        np.testing.assert_array_equal(open_prepared(out)[name], open_prepared(store)[name])
    prepare(record, out, FIELDS, report=told.append, **settings)
    assert told[-1].endswith("is complete already.")
    with pytest.raises(UserError, match="begun with other fields"):
        prepare(record, out, ["temperature"], **settings)
    with pytest.raises(UserError, match="begun with other fields"):
        prepare(record, out, FIELDS, **settings | {"levels": [500, 700]})


def test_a_frame_that_was_not_finished_is_made_anew(
    record: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the statistics and the empty arrays of the fields."""
    out = tmp_path / "frame.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("atmorep_lite.data.prepare.STATIC_FIELDS", 0)  # not iterable: fails after the frame
        with pytest.raises(TypeError):
            prepare(record, out, ["temperature"], gaps=2)
    prepare(record, out, ["temperature"], gaps=2)
    assert open_prepared(out)["temperature"].shape == (25, 3, 32, 64)


def test_what_lacks_is_derived_or_told(record: xr.Dataset, tmp_path: Path) -> None:
    poor = record.drop_vars("vorticity").isel(time=slice(0, 5))
    prepare(poor, tmp_path / "derived.zarr", ["vorticity"], gaps=2)
    assert open_prepared(tmp_path / "derived.zarr")["vorticity"].shape == (5, 3, 32, 64)
    with pytest.raises(UserError, match="vertical_velocity"):
        prepare(poor, tmp_path / "missing.zarr", ["vertical_velocity"])
    holed = poor.load().copy(deep=True)
    holed["temperature"][0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match=r"temperature: .*NaN"):
        prepare(holed, tmp_path / "nan.zarr", ["temperature"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="holds something else"):
        prepare(poor, tmp_path / "mine", ["temperature"])
    with pytest.raises(UserError, match="is no prepared store"):
        open_prepared(tmp_path / "mine")
    with pytest.raises(UserError, match="select one number"):
        prepare(poor.expand_dims(number=[0, 1]), tmp_path / "members.zarr", ["temperature"])
    other = Normalizer.fit(poor[["divergence"]])
    with pytest.raises(UserError, match="statistics to use have no temperature"):
        prepare(poor, tmp_path / "other.zarr", ["temperature"], normalizer=other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["derived.zarr", "mine"]


def test_mistakes_are_mended_or_refused(record: xr.Dataset, tmp_path: Path) -> None:
    told: list[str] = []
    celsius = record.isel(time=slice(0, 5)).assign(temperature=record["temperature"] - 273.15)
    prepare(celsius, tmp_path / "mended.zarr", ["temperature"], gaps=2, report=told.append)
    assert told[0].startswith("Mended temperature: the values")
    prepare(record.isel(time=slice(0, 5)), tmp_path / "right.zarr", ["temperature"], gaps=2)
    mended, right = (open_prepared(tmp_path / f"{name}.zarr")["temperature"] for name in ("mended", "right"))
    np.testing.assert_allclose(mended, right, atol=1e-3)
    wild = record.isel(time=slice(0, 5)).assign(temperature=3 * record["temperature"])
    with pytest.raises(UserError, match=r"temperature: .* lie outside"):
        prepare(wild, tmp_path / "wild.zarr", ["temperature"])
    prepare(wild, tmp_path / "wild.zarr", ["temperature"], gaps=2, check=False)


def test_a_chunk_cut_short_is_told(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "cut.zarr")
    chunk = tmp_path / "cut.zarr" / "temperature" / "c" / "1" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:1000])
    field = PackedField(tmp_path / "cut.zarr", "temperature")
    field.cut(0, 7, 0, 4, np.arange(4))
    with pytest.raises(UserError, match="cut short"):
        field.cut(5, 4, 0, 4, np.arange(4))


def test_a_removed_chunk_is_made_again(record: xr.Dataset, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.zarr"
    shutil.copytree(store, out)
    chunk = out / "vorticity" / "c" / "2" / "0" / "0" / "0"
    before = chunk.read_bytes()
    chunk.unlink()
    prepare(record, out, FIELDS, levels=[500, 850], gaps=6)
    assert chunk.read_bytes() == before


def test_neighbourhoods_are_the_same_from_disk_and_from_memory(store: Path, record: xr.Dataset) -> None:
    """Also from the middle of the record, and across chunks and longitude 0."""
    model = tiny_model(*(tiny_field(name, levels=(850,)) for name in FIELDS))
    chosen = record.sel(level=[500, 850]).load()
    normalizer = Normalizer.fit(chosen[FIELDS])
    part = {"time": slice(3, 23)}
    memory = Neighbourhoods(chosen.isel(part), model, normalizer)
    disk = Neighbourhoods(open_prepared(store).isel(part), model, normalizer)
    places = [Place(0, 0, 0), Place(5, 28, 61), Place(14, 13, 30)]
    for known in (None, 4):
        ours, theirs = (data.batch(places, known_steps=known) for data in (disk, memory))
        np.testing.assert_array_equal(ours.static, theirs.static)
        for name in FIELDS:
            np.testing.assert_array_equal(ours.tokens[name].info, theirs.tokens[name].info)
            np.testing.assert_allclose(ours.tokens[name].values, theirs.tokens[name].values, atol=2e-4)


def test_unfit_stores_are_refused(store: Path, record: xr.Dataset, tmp_path: Path) -> None:
    prepared = open_prepared(store)
    good = statistics(prepared)
    with pytest.raises(UserError, match="without level 700 of temperature"):
        Neighbourhoods(prepared, tiny_model(tiny_field(levels=(700,))), good)
    with pytest.raises(UserError, match="without specific_humidity"):
        Neighbourhoods(prepared, tiny_model(tiny_field("specific_humidity")), good)
    with pytest.raises(UserError, match=r"other statistics of temperature.*--statistics"):
        Neighbourhoods(prepared, tiny_model(), Normalizer(good.mean, 2 * good.std))
    with pytest.raises(UserError, match="knows changes over 6 steps, the model needs 9"):
        long = tiny_field(num_tokens=(5, 2, 4), levels=(500,))
        Neighbourhoods(prepared, tiny_model(long), good).typical_departures()


def test_training_reads_a_prepared_store(record: xr.Dataset, store: Path, tmp_path: Path) -> None:
    """The command's validation store takes the training store's statistics; both losses are close."""
    from atmorep_lite.config import Config
    from atmorep_lite.training.loop import train

    chosen = record[FIELDS].sel(level=[500, 850]).load()
    chosen.to_netcdf(tmp_path / "plain.nc")
    model = tiny_model(*(tiny_field(name) for name in FIELDS))
    losses = []
    for source in (str(tmp_path / "plain.nc"), str(store)):
        stages = [{"steps": 2, "batch_size": 2, "learning_rate": 1e-3}]
        tree = {
            "data": {"train": source, "validation": source},
            "model": model,
            "training": {"stages": stages},
        }
        seen: list[float] = []
        train(
            Config.model_validate(tree),
            tmp_path / "runs" / Path(source).stem,
            report=lambda p, seen=seen: seen.append(p.loss),
        )
        losses.append(seen)
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)


def test_monthly_statistics(tmp_path: Path) -> None:
    """Times of three months; blocks that cross their borders; given to a second store."""
    sample = open_sample().isel(time=slice(0, 40))
    times = np.datetime64("2010-01-20", "ns") + np.arange(40) * np.timedelta64(36, "h")
    seasons = sample.assign_coords(time=times).chunk(time=3)
    out = prepare(seasons, tmp_path / "a.zarr", FIELDS, kind="monthly_local", gaps=3, chunk_megabytes=0.1)
    found, fit = open_prepared(out), Normalizer.fit(seasons[FIELDS].load(), "monthly_local")
    normal = fit.normalize(seasons[FIELDS].load())
    for name in FIELDS:
        np.testing.assert_allclose(
            found[name], normal[name], atol=0.51 * found[name].encoding["scale_factor"]
        )
    ours = statistics(found)
    xr.testing.assert_allclose(ours.mean[FIELDS], fit.mean[FIELDS])
    assert list(ours.mean.month) == [1, 2, 3]
    again = prepare(seasons, tmp_path / "b.zarr", FIELDS, normalizer=ours, gaps=3, chunk_megabytes=0.1)
    for name in FIELDS:
        np.testing.assert_array_equal(open_prepared(again)[name], found[name])
    with pytest.raises(UserError, match="for August"):
        august = seasons.assign_coords(time=times + np.timedelta64(200, "D"))
        prepare(august, tmp_path / "c.zarr", FIELDS, normalizer=ours)
    field = tiny_field("temperature", levels=(850,))
    disk = Neighbourhoods(found, tiny_model(field), ours)
    memory = Neighbourhoods(seasons.load(), tiny_model(field), fit)
    places = [Place(3, 5, 60)]
    tokens = [data.batch(places).tokens["temperature"].values for data in (disk, memory)]
    np.testing.assert_allclose(tokens[0], tokens[1], atol=3e-4)


def test_other_statistics_do_not_continue_a_store(record: xr.Dataset, tmp_path: Path) -> None:
    chosen = record[FIELDS].load()
    fit = Normalizer.fit(chosen)
    out = tmp_path / "given.zarr"

    def stop(line: str) -> None:
        if "chunks to write" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(record, out, FIELDS, normalizer=fit, gaps=2, report=stop)
    other = Normalizer(fit.mean + 1, fit.std)
    with pytest.raises(UserError, match="was begun with other fields, times, statistics or options"):
        prepare(record, out, FIELDS, normalizer=other, gaps=2)
    prepare(record, out, FIELDS, normalizer=fit, gaps=2)
    with pytest.raises(UserError, match="was begun with other"):
        prepare(record, out, FIELDS, normalizer=other, gaps=2)


def test_a_full_disk_leaves_something_to_go_on_with(
    record: xr.Dataset, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full in the middle of a block: half of the bytes arrive, then the error of the system."""
    from zarr.storage import _local

    settings = {"levels": [500, 850], "gaps": 6, "chunk_megabytes": 7 * 2 * 32 * 64 * 2 / 1e6}
    out, written, put = tmp_path / "full.zarr", [], _local._put

    def full(path: Path, value, exclusive: bool = False) -> int:
        if "/c/" in str(path) and "gap" not in str(path) and path.parts[-6] in FIELDS:
            written.append(path)
            if len(written) == 3:
                path.parent.mkdir(parents=True, exist_ok=True)
                with _local._atomic_write(path, "wb", exclusive=exclusive) as file:
                    file.write(bytes(value.as_buffer_like())[:1000])
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return put(path, value, exclusive)

    with monkeypatch.context() as patch:
        patch.setattr(_local, "_put", full)
        with pytest.raises(UserError, match=r"the disk of .*full\.zarr is full; make room and run the same"):
            prepare(record, out, FIELDS, **settings)
    told: list[str] = []
    prepare(record, out, FIELDS, report=told.append, **settings)
    assert not any(line.startswith("Statistics") for line in told)  # not computed again
    for name in FIELDS:
        np.testing.assert_array_equal(open_prepared(out)[name], open_prepared(store)[name])
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    with pytest.raises(UserError, match=r"needs 0\.\d GB more, but its disk has 0\.0 GB free"):
        prepare(record, tmp_path / "small.zarr", FIELDS, **settings)


@pytest.mark.parametrize("check", [True, False])
def test_nan_are_never_packed(record: xr.Dataset, tmp_path: Path, check: bool) -> None:
    """Wherever they are and whether or not anyone looks for other mistakes; also if they come later."""
    holed = record[FIELDS].load().copy(deep=True)
    holed["temperature"][1, 0, 0, 0] = np.nan  # not among the times of the first look
    with pytest.raises(UserError, match=r"temperature: wrong at 1 time .*NaN"):
        prepare(holed, tmp_path / "nan.zarr", FIELDS, check=check, gaps=2)

    def stop(line: str) -> None:
        if "chunks to write" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(record, tmp_path / "later.zarr", FIELDS, check=check, gaps=2, report=stop)
    with pytest.raises(UserError, match="temperature has NaN or extremes that were not there"):
        prepare(holed, tmp_path / "later.zarr", FIELDS, check=check, gaps=2)


def test_given_statistics_go_by_level(record: xr.Dataset, tmp_path: Path) -> None:
    """Whatever else they know, and in whatever order."""
    chosen = record[FIELDS].isel(time=slice(0, 8)).load()
    fit = Normalizer.fit(chosen)
    normal = fit.normalize(chosen)
    turned = Normalizer(fit.mean.isel(level=slice(None, None, -1)), fit.std.isel(level=slice(None, None, -1)))
    for case, known, levels in (("few", fit, [850]), ("turned", turned, None)):
        out = prepare(chosen, tmp_path / case, ["temperature"], levels=levels, normalizer=known, gaps=2)
        found = open_prepared(out)["temperature"]
        expected = normal["temperature"].sel(level=found.level)
        np.testing.assert_allclose(found, expected, atol=0.51 * found.encoding["scale_factor"])
        assert list(statistics(open_prepared(out)).mean) == ["temperature"]


def test_other_data_do_not_continue_a_store(record: xr.Dataset, tmp_path: Path) -> None:
    """Another grid, other times between the same ends, unchecked, or larger values."""
    some, out = record[["temperature"]].isel(time=slice(0, 8)).load(), tmp_path / "a.zarr"

    def stop(line: str) -> None:
        if "chunks to write" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(some, out, ["temperature"], gaps=2, report=stop)
    elsewhere = some.assign_coords(longitude=some.longitude + 1)
    for other, check in ((elsewhere, True), (some.isel(time=[0, 1, 2, 7]), True), (some, False)):
        with pytest.raises(UserError, match="was begun with other fields"):
            prepare(other, out, ["temperature"], gaps=2, check=check)
    larger = some.copy(deep=True)
    larger["temperature"][3] *= 1.1
    with pytest.raises(UserError, match="the data have changed since their statistics were made"):
        prepare(larger, out, ["temperature"], gaps=2)
    prepare(some, out, ["temperature"], gaps=2)


def test_static_maps_are_turned_with_the_fields(record: xr.Dataset, tmp_path: Path) -> None:
    """A record that is upside down, as its cold Antarctic shows."""
    some = record.isel(time=slice(0, 8)).load()
    some["temperature"] = some["temperature"] - 40 * (some.latitude < -60)
    swapped = some.isel(latitude=slice(None, None, -1)).assign_coords(latitude=some["latitude"])
    told: list[str] = []
    found = open_prepared(prepare(swapped, tmp_path / "a", ["temperature"], gaps=2, report=told.append))
    assert "south and north are swapped" in told[0]
    for name in ("geopotential_at_surface", "land_sea_mask"):
        np.testing.assert_array_equal(found[name], some[name])
    right = open_prepared(prepare(some, tmp_path / "b", ["temperature"], gaps=2))
    np.testing.assert_allclose(found["temperature"], right["temperature"], atol=1e-3)


def test_a_store_made_anew_in_the_same_place(record: xr.Dataset, tmp_path: Path) -> None:
    some = record[["temperature"]].isel(time=slice(0, 6)).load()
    out, boxes = tmp_path / "a.zarr", []
    for data in (some, some.isel(time=slice(None, None, -1)).assign_coords(time=some.time)):
        prepare(data, out, ["temperature"], gaps=2)
        boxes.append(PackedField(out, "temperature").cut(0, 6, 0, 4, np.arange(4)))
        shutil.rmtree(out)
    np.testing.assert_allclose(boxes[1], boxes[0][:, ::-1], atol=1e-3)


def test_a_block_that_is_not_whole_is_made_again(record: xr.Dataset, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.zarr"
    shutil.copytree(store, out)
    chunk = out / "vorticity" / "c" / "2" / "0" / "0" / "0"
    before = chunk.read_bytes()
    chunk.write_bytes(before[:-2])
    prepare(record, out, FIELDS, levels=[500, 850], gaps=6)
    assert chunk.read_bytes() == before


def test_workers_in_another_folder(
    record: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the blocks are written the working folder is another one, as it may be on a cluster's workers."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def move(line: str) -> None:
        os.chdir(tmp_path / ("there" if line.endswith("to write.") else "here"))

    prepare(record.isel(time=slice(0, 6)), "a.zarr", ["temperature"], gaps=2, report=move)
    assert open_prepared(tmp_path / "here" / "a.zarr")["temperature"].shape[0] == 6
    assert not list((tmp_path / "there").iterdir())


def test_changes_in_units_of_the_whole_spread(record: xr.Dataset, tmp_path: Path) -> None:
    """Where every grid point has its own standard deviation: the area-weighted root mean square of all."""
    some = record[["temperature"]].isel(time=slice(0, 12)).load()
    found = open_prepared(prepare(some, tmp_path / "a", ["temperature"], kind="local", gaps=2))
    values = some["temperature"].transpose("time", "level", "latitude", "longitude").values.astype(float)
    weight = np.cos(np.deg2rad(some.latitude.values))
    parts = (((values[1:] - values[:-1]) ** 2).mean(0), values.var(0))
    change, variance = (np.average(part.mean(-1), axis=-1, weights=weight) for part in parts)
    np.testing.assert_allclose(found["change_temperature"][0], np.sqrt(change / variance), rtol=1e-4)
