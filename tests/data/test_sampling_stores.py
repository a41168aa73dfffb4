"""Samples of globes and regions, of any time step, from memory and from prepared stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.prepare import prepare
from atmorep_lite.data.prepared import open_prepared, statistics
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.errors import UserError
from atmorep_lite.masking import batch_keys
from atmorep_lite.tokens import detokenize
from tests.tiny import coupled_fields, tiny_model, wave

MODEL = tiny_model(*coupled_fields())  # 6 steps x 4 rows x 8 columns
NAMES = list(MODEL.names)
HOURS = (1, 3, 24)


def record_of(hours: int, region: bool) -> xr.Dataset:
    """Noise, so that every place is another one; hours apart; all of the globe, or 11 columns of it."""
    record = wave(times=15, names=tuple(NAMES))
    rng = np.random.default_rng(hours)
    for name in NAMES:
        record[name] = record[name] + rng.normal(size=record[name].shape)
    time = np.datetime64("2003-12-25T00", "ns") + np.arange(15) * np.timedelta64(hours, "h")
    return record.assign_coords(time=time).isel(longitude=slice(3, 14) if region else slice(None))


@pytest.fixture(scope="module", params=[(h, r) for h in HOURS for r in (False, True)], ids=str)
def cuts(request, tmp_path_factory) -> tuple[xr.Dataset, list[tuple[Neighbourhoods, float]], int, bool]:
    """The normalised record, and its neighbourhoods in memory and in a store, with the store's rounding."""
    hours, region = request.param
    record = record_of(hours, region)
    store: Path = tmp_path_factory.mktemp("stores") / "prepared.zarr"
    prepare(record, store, NAMES, gaps=6, chunk_megabytes=0.01, check=False)
    prepared = open_prepared(store)
    normalizer = statistics(prepared)
    both = [
        (Neighbourhoods(record, MODEL, normalizer), 1e-6),
        (Neighbourhoods(prepared, MODEL, normalizer), 3e-4),
    ]
    return normalizer.normalize(record), both, hours, region


def test_samples_hold_the_records_values_and_times(cuts) -> None:
    """By labels of xarray, which know nothing of rows and columns."""
    record, both, hours, region = cuts
    keys = batch_keys(1, epoch=1, step=0, batch_size=40)
    drawn = [data.draw_at(keys, crops=2, windows=4) for data, _ in both]
    assert drawn[0] == drawn[1]
    west = {place.column for place in drawn[0]}
    assert west <= set(range(4)) if region else max(west) > 8, "regions end, globes wrap"
    for data, rounding in both:
        assert data.time_step == hours and data.spans_globe is not region
        batch = data.batch(drawn[0])
        for f in MODEL.fields:
            for b, place in enumerate(drawn[0]):
                info = batch.tokens[f.name].info[b]
                tt, ty, tx = f.token_size
                last = record.time.values[place.step + tt - 1]
                first_point = record[f.name].sel(level=list(f.levels)).isel(
                    time=slice(place.step, place.step + 6), latitude=slice(place.row, place.row + 4)
                )  # fmt: skip
                east = (float(info[0, 0, 0, 0, 5]) + 22.5 * (np.arange(8) - tx // 2)) % 360
                truth = first_point.sel(longitude=east, method="nearest").transpose("level", "time", ...)
                cube = detokenize(batch.tokens[f.name].values[b], f.token_size)
                np.testing.assert_allclose(cube, truth, atol=rounding)
                assert float(info[0, 0, 0, 0, 2]) == (last - last.astype("datetime64[D]")) / np.timedelta64(
                    1, "h"
                )
                assert float(info[0, 0, 0, 0, 0]) == last.astype("datetime64[Y]").astype(int) + 1970
                assert float(info[0, 0, 0, 0, 4]) == pytest.approx(
                    90 - float(record.latitude[place.row + ty // 2])
                )


def test_nothing_is_read_past_the_end(cuts) -> None:
    _, both, _, _ = cuts
    for data, _ in both:
        assert data.steps == 10 and max(p.step for p in data.draw(500, np.random.default_rng(0))) == 9


def test_unsound_times_are_never_drawn_and_named_when_asked_for() -> None:
    record = wave(times=20, names=tuple(NAMES))
    sound = np.ones(20, np.int8)
    sound[[2, 11]] = 0
    fit = Normalizer.fit(record, "global")
    data = Neighbourhoods(record.assign(sound=("time", sound)), MODEL, fit)
    keys = batch_keys(1, epoch=1, step=0, batch_size=60)
    for crops in (1, 3):
        assert {p.step for p in data.draw_at(keys, crops=crops, windows=20)} == {3, 4, 5, 12, 13, 14}
    data.batch([Place(9, 0, 0)], known_steps=2)
    with pytest.raises(UserError, match=r"not sound at 2001-01-02T09:00.* begins at 2001-01-02T00:00"):
        data.batch([Place(8, 0, 0)])
    whole = Neighbourhoods(record.assign(sound=("time", np.ones(20, np.int8))), MODEL, fit)
    assert whole.draw_at(keys) == Neighbourhoods(record, MODEL, fit).draw_at(keys)
    sound[::5] = 0
    with pytest.raises(UserError, match="the data have no 6 sound time steps in a row"):
        Neighbourhoods(record.assign(sound=("time", sound)), MODEL, fit)
