"""Fetching from a host that fails, and being killed: nothing is lost, half-written or silently wrong."""

from __future__ import annotations

import os
import pickle
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from atmorep_lite import open_dataset
from atmorep_lite.data.archive import plan as fetch_plan
from atmorep_lite.data.archive.fetch import fetch, is_whole
from atmorep_lite.data.archive.plan import Plan, make_plan
from atmorep_lite.data.archive.remote import Patience, RemoteError, RemoteStore
from atmorep_lite.data.archive.request import Request
from atmorep_lite.data.archive.sources import open_archive
from atmorep_lite.errors import UserError
from tests.data.archive_server import FAULTS, Faults, arco, serve
from tests.training.together import CONTEXT

QUICK = Patience(attempts=4, connect=1.0, read=0.4, pause=0.01, longest=0.05)
PASSING = [fault for fault in FAULTS if fault != "404"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("host")
    arco(root / "era5.zarr", hours=24)
    return root


def plan_at(url: str, missing: str = "refuse", until: str = "2019-01-01T05") -> Plan:
    source = open_archive(f"{url}/era5.zarr", patience=QUICK, missing=missing)
    return make_plan(source, Request(("t", "2t"), (500.0, 850.0), until=until))


def check(out: Path, root: Path, hours: int = 6) -> None:
    expected = xr.open_zarr(root / "era5.zarr", chunks=None).isel(time=slice(hours))
    found = open_dataset(out)
    np.testing.assert_array_equal(found.temperature, expected.temperature.sel(level=[500, 850]))
    np.testing.assert_array_equal(found["2m_temperature"], expected["2m_temperature"])
    assert not list(out.parent.rglob("*.part*"))


def chunks(fault: str, until: int) -> Callable[[str, int], str | None]:
    """The fault for the first requests of each chunk of temperature."""

    def plan(path: str, number: int) -> str | None:
        return fault if "/temperature/" in path and path[-1].isdigit() and number <= until else None

    return plan


@pytest.mark.parametrize("fault", PASSING)
def test_passing_faults_leave_no_trace(fault: str, root: Path, tmp_path: Path) -> None:
    faults = Faults(chunks(fault, 2), hang=0.8)
    with serve(root, faults) as url:
        out = fetch(plan_at(url), tmp_path / "o.zarr", streams=6)
    check(out, root)
    assert max(faults.chunks_sent().values()) == 3


SAID = {
    "503": "the server answered 503, 4 attempts",
    "429": "the server answered 429, 4 attempts",
    "timeout": "no answer in time, 4 attempts",
    "reset": "the connection was lost, 4 attempts",
    "truncated": "the answer was cut short, 4 attempts",
    "wrong bytes": "the bytes do not match the host's checksum, 4 attempts",
}


@pytest.mark.parametrize("fault", PASSING)
def test_lasting_faults_are_told_and_what_came_is_kept(fault: str, root: Path, tmp_path: Path) -> None:
    def third_hour(path: str, number: int) -> str | None:
        return fault if path.endswith("/temperature/2.0.0.0") else None

    faults = Faults(third_hour, hang=0.8)
    out = tmp_path / "o.zarr"
    with serve(root, faults) as url:
        with pytest.raises(UserError) as error:
            fetch(plan_at(url), out)
        words = str(error.value)
        assert words.startswith(
            "temperature at 2019-01-01T02:00: chunk temperature/2.0.0.0 could not be read ("
        )
        assert SAID[fault] in words and "run the same command again" in words and "\n" not in words
        assert not out.exists()
        faults.plan = lambda path, number: None
        fetch(plan_at(url), out)
    check(out, root)


def test_a_chunk_that_is_not_there_is_no_nan(root: Path, tmp_path: Path) -> None:
    def hole(path: str, number: int) -> str | None:
        return "404" if path.endswith("/temperature/2.0.0.0") else None

    with serve(root, Faults(hole)) as url:
        with pytest.raises(
            UserError, match=r"2019-01-01T02:00: the source has no chunk temperature/2\.0\.0\.0, "
        ):
            fetch(plan_at(url), tmp_path / "o.zarr")
        said: list[str] = []
        out = fetch(plan_at(url, missing="fill"), tmp_path / "o.zarr", report=said.append)
    assert any("1 chunks are not in the source (temperature/2.0.0.0" in line for line in said)
    hours = np.isnan(open_dataset(out).temperature).all(("level", "latitude", "longitude"))
    np.testing.assert_array_equal(hours, [False, False, True, False, False, False])


def test_hours_beyond_the_data_are_not_taken_for_data(root: Path) -> None:
    """ARCO's time axis runs on; its attribute says where the data end."""
    with serve(root) as url:
        assert len(plan_at(url, until="2019-01-02T00").times.values) == 24
        with pytest.raises(UserError, match="holds 2019-01-01T00:00 to 2019-01-01T23:00"):
            plan_at(url, until="2019-01-05")


def test_what_cannot_be_decoded_is_read_again(root: Path, tmp_path: Path) -> None:
    """A host without checksums: the codec finds the damage."""

    def cut(path: str, number: int) -> str | None:
        return "wrong head" if path.endswith("/temperature/1.0.0.0") and number == 1 else None

    with serve(root, Faults(cut, checksums=False)) as url:
        check(fetch(plan_at(url), tmp_path / "o.zarr"), root)


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"could not be read \(the connection was refused, 4 attempts"):
        open_archive("http://127.0.0.1:9/era5.zarr", patience=QUICK)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    with pytest.raises(UserError, match="is there a network"):
        open_archive("http://nowhere.invalid/era5.zarr", patience=Patience(attempts=1))


def test_nothing_at_the_address(root: Path) -> None:
    with serve(root) as url, pytest.raises(UserError, match="no Zarr store with consolidated metadata"):
        open_archive(f"{url}/other.zarr", patience=QUICK)


def test_ranges_and_pickling(root: Path) -> None:
    with serve(root) as url:
        store = pickle.loads(pickle.dumps(RemoteStore(f"{url}/era5.zarr", QUICK)))
        content = (root / "era5.zarr" / ".zmetadata").read_bytes()
        for part, expected in (
            (RangeByteRequest(5, 25), content[5:25]),
            (OffsetByteRequest(10), content[10:]),
            (SuffixByteRequest(7), content[-7:]),
            (None, content),
        ):
            found = sync(store.get(".zmetadata", default_buffer_prototype(), part))
            assert found is not None and found.to_bytes() == expected
        assert sync(store.getsize(".zmetadata")) == len(content)
        assert not sync(store.exists("nothing/.zarray"))
        xr.testing.assert_equal(
            xr.open_zarr(store, chunks=None).isel(time=slice(2)).load(),
            xr.open_zarr(root / "era5.zarr", chunks=None).isel(time=slice(2)).load(),
        )
    with pytest.raises(RemoteError, match="refused"):
        sync(RemoteStore(url, QUICK).get("x", default_buffer_prototype()))


def _fetch_in_child(url: str, out: Path) -> None:
    fetch_plan.CHUNK_BYTES = 1.0  # each hour a chunk of the copy
    fetch(plan_at(url, until="2019-01-01T11"), out, streams=3)


def test_killed_at_random_moments(root: Path, tmp_path: Path) -> None:
    """SIGKILL, again and again, until it gets through; the copy is whole, and no whole chunk came twice."""
    rng = random.Random(5)
    faults = Faults(delay=0.01)
    out, kills = tmp_path / "o.zarr", 0
    with serve(root, faults) as url:
        while not out.exists():
            child = CONTEXT.Process(target=_fetch_in_child, args=(url, out))
            child.start()
            sent, quota = sum(faults.chunks_sent().values()), rng.randrange(4, 12)
            end = time.monotonic() + 20
            while (
                child.is_alive()
                and sum(faults.chunks_sent().values()) - sent < quota
                and time.monotonic() < end
            ):
                time.sleep(0.005)
            if kills < 3 and child.is_alive():
                os.kill(child.pid or 0, signal.SIGKILL)
                kills += 1
            child.join(30)
            assert child.exitcode is not None
            for chunk in tmp_path.glob("o.zarr.part/*temperature/c/**/*"):  # whatever has its name is whole
                assert chunk.is_dir() or chunk.suffix == ".partial" or is_whole(chunk)
    assert kills >= 2
    fields = [n for path, n in faults.chunks_sent().items() if "temperature" in path]
    # What was whole came once; each time three streams were cut off.
    assert 24 <= sum(fields) <= 24 + 3 * kills
    check(out, root, hours=12)
