"""Zarr stores behind an http address, from a server on this machine."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from atmorep_lite.data.info import report
from atmorep_lite.data.opening import open_dataset
from atmorep_lite.errors import UserError
from tests.data.synthetic import make_atmosphere

ATMOSPHERE = make_atmosphere()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a line for each request."""

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which it is."""
    folder = tmp_path_factory.mktemp("served")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_by_http(served: tuple[Path, str], zarr_format: int) -> None:
    folder, address = served
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata of format 3 are not in its specification
        ATMOSPHERE.to_zarr(folder / f"v{zarr_format}.zarr", zarr_format=zarr_format, consolidated=True)
        found = open_dataset(f"{address}/v{zarr_format}.zarr")
    assert found.temperature.chunks is not None
    xr.testing.assert_equal(found.load(), ATMOSPHERE)
    described = report(f"{address}/v{zarr_format}.zarr")
    assert described["times_read"] == 0 and "mean" not in described["fields"]["temperature"]


def test_end_of_arco_era5_is_heeded(served: tuple[Path, str]) -> None:
    folder, address = served
    marked = ATMOSPHERE.assign_attrs(valid_time_stop="2001-01-01T12:00")
    marked.to_zarr(folder / "arco.zarr", zarr_format=2, consolidated=True)
    assert open_dataset(f"{address}/arco.zarr").sizes["time"] == 4


def test_what_is_not_there_is_told(served: tuple[Path, str]) -> None:
    folder, address = served
    with pytest.raises(UserError, match=r"no Zarr store could be read from http.*nothing\.zarr"):
        open_dataset(f"{address}/nothing.zarr")
    zarr.open_group(folder / "loose.zarr", mode="w", zarr_format=3).create_array("t2m", data=np.ones(1))
    with pytest.raises(UserError, match=r"loose\.zarr has no consolidated metadata"):
        open_dataset(f"{address}/loose.zarr")
