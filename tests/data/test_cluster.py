"""Statistics and preparation on a dask cluster of two processes: exactly those of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from atmorep_lite import open_sample
from atmorep_lite.cli import app
from atmorep_lite.data.bad_times import bad_times
from atmorep_lite.data.moments import fit_moments
from atmorep_lite.errors import UserError

NAMES = ["temperature", "vorticity"]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty times, two of them bad, in a Zarr store that other processes can open."""
    sample = open_sample()[[*NAMES, "u_component_of_wind"]].isel(time=slice(0, 40)).load()
    sample["temperature"][5, 0, 3, 3] = np.nan
    sample["vorticity"][19] = 9999.0
    path = tmp_path_factory.mktemp("cluster") / "record.zarr"
    sample.drop_encoding().chunk(time=4).to_zarr(path, consolidated=False)
    return path


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler with two workers, each a process with one thread.

    Starting it leaves ``OMP_NUM_THREADS=1`` in this process's environment, so in that of all programs that
    later tests start: the environment is put back.
    """
    distributed = pytest.importorskip("distributed")
    import dask

    before = dict(os.environ)

    folder = str(tmp_path_factory.mktemp("workers"))
    with (
        dask.config.set({"temporary-directory": folder, "distributed.comm.timeouts.connect": "60s"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
    ):
        os.environ.clear()
        os.environ.update(before)
        yield cluster.scheduler_address


def test_statistics_are_the_same_to_the_last_bit(record: Path, address: str) -> None:
    from distributed import Client

    data = xr.open_zarr(record, consolidated=False)[NAMES]
    settings = {"by_month": True, "gaps": 3, "piece_megabytes": 0.3, "inspect": bad_times, "skip_bad": True}
    here = fit_moments(data, **settings)
    with Client(address, timeout=60):
        there = fit_moments(data, **settings)
    assert here.bad == there.bad and len(here.bad) == 2
    for part in ("mean", "squares", "low", "high", "changes"):
        xr.testing.assert_identical(getattr(here, part), getattr(there, part))
    for part in ("rows", "count", "pairs"):
        np.testing.assert_array_equal(getattr(here, part), getattr(there, part))


def test_prepared_stores_are_the_same_byte_for_byte(record: Path, address: str, tmp_path: Path) -> None:
    from distributed import Client

    with Client(address, timeout=60) as client:
        before = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    arguments = ["data", "prepare", str(record), "--skip-bad", "--gaps", "3"]
    arguments += [word for name in NAMES for word in ("--field", name)]
    for out, further in (("here", []), ("there", ["--cluster", address])):
        done = CliRunner().invoke(app, [*arguments, *further, str(tmp_path / out)])
        assert done.exit_code == 0, done.output
    with Client(address, timeout=60) as client:
        ran = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    assert ran > before, "the workers did nothing"
    here, there = (
        {
            file.relative_to(tmp_path / out): file.read_bytes()
            for file in (tmp_path / out).rglob("*")
            if file.is_file()
        }
        for out in ("here", "there")
    )
    assert here == there and len(here) > 10


def test_no_scheduler_is_told(record: Path, tmp_path: Path) -> None:
    """And whatever comes next in the same process does not wait for it."""
    from distributed import default_client

    arguments = ["data", "prepare", str(record), str(tmp_path / "out"), "--field", "temperature"]
    done = CliRunner().invoke(app, [*arguments, "--cluster", "nonsense://1"])
    assert isinstance(done.exception, UserError) and "no dask scheduler answers" in str(done.exception)
    with pytest.raises(ValueError, match="No clients found"):
        default_client()
