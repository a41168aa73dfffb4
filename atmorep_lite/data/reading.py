"""Reading Zarr, NetCDF and GRIB as they are; :mod:`atmorep_lite.data.canonical` then puts them in order.

The format is told by a file's first bytes, never by its name.  Everything is read lazily (dask).
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import xarray as xr

from atmorep_lite.data.layouts import is_published, read_published
from atmorep_lite.errors import UserError
from atmorep_lite.fields import find_name

MANY = 100  # variables
ZARR_MARKERS = ("zarr.json", ".zgroup", ".zmetadata")


def read(path: str | os.PathLike[str]) -> list[xr.Dataset]:
    """Read a store, a file or a URL lazily, without changing anything in it.

    Returns
    -------
    list of xr.Dataset
        One dataset; for GRIB one for each kind of level (pressure levels, surface, ...) that the file holds;
        for a zip file of NetCDF or GRIB files, as the Climate Data Store sends them, those of all members.

    Raises
    ------
    UserError
        If there is nothing at ``path``, if it is none of Zarr, NetCDF and GRIB, if it is damaged or cut
        short, or if the package that its format or protocol needs is not installed.
    """
    address = os.fspath(path)
    if "://" in address:
        return [_read_url(address)]
    place = Path(address).expanduser()
    if not place.exists():
        raise UserError(f"there is no file or folder {place}; check the path")
    if place.is_dir():
        return [_damage_told(place, "Zarr store", _open_zarr, str(place))]
    with place.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        return _damage_told(place, "zip file", _read_zip, place)
    if head.startswith((b"CDF", b"\x89HDF\r\n\x1a\n")):
        return [_damage_told(place, "NetCDF file", _read_netcdf, place)]
    if b"GRIB" in head:
        return _damage_told(place, "GRIB file", _read_grib, place)
    if not head:
        raise UserError(f"{place} is empty; it was probably not copied completely")
    raise UserError(f"{place} is none of Zarr (folder or zip), NetCDF and GRIB; convert it to one of these")


def _damage_told(place: Path, kind: str, reader: Any, argument: Any) -> Any:
    try:
        return reader(argument)
    except UserError:
        raise
    except Exception as error:  # every library has its own exceptions for a damaged file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"the {kind} {place} cannot be read, it is damaged or was cut short ({reason}); copy it again"
        ) from error


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((folder / marker).exists() for marker in ZARR_MARKERS)


def is_data(file: Path) -> bool:
    """Whether a file begins like NetCDF, GRIB or zip."""
    with file.open("rb") as opened:
        head = opened.read(512)
    return head.startswith((b"PK\x03\x04", b"CDF", b"\x89HDF\r\n\x1a\n")) or b"GRIB" in head


def _open_zarr(store: Any, *, known_only: bool = False, **options: Any) -> xr.Dataset:
    """``known_only``: of a store with hundreds of variables only known fields, for each costs a second."""
    import zarr

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Numcodecs codecs are not in the Zarr version 3 specification")
        warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated metadata")
        if not options:
            group = zarr.open_group(store, mode="r")
            if is_published(group):
                return read_published(group)
            unknown = [name for name, array in group.arrays() if array.ndim > 2 and find_name(name) is None]
            if known_only and len(unknown) > MANY:
                options["drop_variables"] = unknown
        return xr.open_zarr(store, **options)


def _only_data(dataset: xr.Dataset) -> xr.Dataset:
    """ARCO-ERA5's time axis runs years ahead of its data, whose end is in an attribute."""
    end = dataset.attrs.get("valid_time_stop_era5t", dataset.attrs.get("valid_time_stop"))
    return dataset if end is None else dataset.sel(time=slice(None, str(end)))


def _read_zip(place: Path) -> list[xr.Dataset]:
    from zarr.storage import ZipStore

    with zipfile.ZipFile(place) as archive:
        names = archive.namelist()
        roots = sorted((n.rpartition("/")[0] for n in names if n.endswith(ZARR_MARKERS)), key=len)
        if not roots:
            return _read_members(place, archive)
    if not roots[0]:
        return [_open_zarr(ZipStore(place, mode="r"))]
    # the folder was zipped, not its content
    return [_open_zarr(ZipStore(place, mode="r"), group=roots[0], consolidated=False)]


def _read_members(place: Path, archive: zipfile.ZipFile) -> list[xr.Dataset]:
    """Files inside a zip, unpacked into a temporary folder that goes when the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="atmorep-lite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    archive.extractall(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and is_data(path))
    if not files:
        raise UserError(
            f"the zip file {place} holds no Zarr store and no NetCDF or GRIB file; zip the content of a "
            "Zarr folder, or give the file itself"
        )
    return [part for file in files for part in read(file)]


def _read_url(url: str) -> xr.Dataset:
    from atmorep_lite.data.archive.remote import RemoteStore, is_remote

    if url.lower().endswith((".nc", ".nc4", ".grib", ".grb", ".grib2", ".zip")):
        raise UserError(
            f"{url} is a single file, but only Zarr stores are read from a URL; download it first"
        )
    if not is_remote(url) and importlib.util.find_spec("fsspec") is None:
        protocol = url.partition("://")[0]
        raise UserError(
            f"reading {protocol}:// needs the package fsspec; install it with `pip install fsspec`"
        )
    try:
        return _only_data(_open_zarr(RemoteStore(url) if is_remote(url) else url, known_only=True))
    except UserError:
        raise
    except Exception as error:  # every protocol has its own exceptions
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if "support listing" in reason:
            raise UserError(
                f"{url} has no consolidated metadata, without which a store behind an address cannot be "
                "listed; let its owner call zarr.consolidate_metadata"
            ) from error
        raise UserError(
            f"no Zarr store could be read from {url} ({reason}); check address and network"
        ) from error


def _read_netcdf(place: Path) -> xr.Dataset:
    with place.open("rb") as file:
        classic = file.read(4) in (b"CDF\x01", b"CDF\x02")
    if classic:  # where such a file is cut short, the NetCDF library silently reads zeros; scipy raises
        from scipy.io import netcdf_file

        header = netcdf_file(place, mmap=True)
        header.variables.clear()
        header.close()
    return xr.open_dataset(place, engine="netcdf4", chunks={})


def _read_grib(place: Path) -> list[xr.Dataset]:
    try:
        import cfgrib
    except (ImportError, RuntimeError) as error:  # RuntimeError: the C library is missing
        raise UserError(
            f'reading the GRIB file {place} needs cfgrib; install it with `pip install "atmorep-lite[grib]"`'
        ) from error
    _check_grib_messages(place)
    # indexpath "": no index file is left beside the data, which may lie in a read-only folder.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "In a future version", FutureWarning)
        found = cfgrib.open_datasets(str(place), backend_kwargs={"indexpath": ""}, chunks={})
    if not found:
        raise UserError(f"the GRIB file {place} holds no field on a grid that can be read")
    return found


def _check_grib_messages(place: Path) -> None:
    """Walk over the messages by their stated lengths; cfgrib would drop a broken one with a mere warning."""
    size = place.stat().st_size
    with place.open("rb") as file:
        start = max(file.read(512).find(b"GRIB"), 0)
        while start < size:
            file.seek(start)
            head = file.read(16)
            if not head.strip(b"\0\r\n"):  # padding after the last message
                start += 16
                continue
            padding = head.find(b"GRIB")
            if padding > 0:
                start += padding
                continue
            end = _message_end(file, start, head) if padding == 0 and len(head) == 16 else None
            if end is None:
                raise UserError(
                    f"the GRIB file {place} is cut short or damaged after byte {start}; copy it again"
                )
            start = end


def _message_end(file: BinaryIO, start: int, head: bytes) -> int | None:
    """Where the message ends by its first 16 bytes (WMO manual on codes, section 0); None if it does not."""
    slack = 0
    length = int.from_bytes(head[4:7], "big")
    if head[7] >= 2:
        length = int.from_bytes(head[8:16], "big")
    elif length & 0x800000:
        # ECMWF's convention for GRIB 1 above 8 MiB: units of 120 bytes, of which the last one is not full.
        length, slack = (length & 0x7FFFFF) * 120, 120
    file.seek(start + max(length - slack - 4, 0))
    found = file.read(slack + 4).rfind(b"7777")
    return None if found < 0 else start + max(length - slack - 4, 0) + found + 4
