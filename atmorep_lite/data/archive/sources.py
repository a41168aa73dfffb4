"""Archives to fetch from, and what one of them holds, without reading any values.

Opened lazily without dask: ARCO-ERA5 has 1.3 million hours of 273 variables, one chunk each, which would be a
graph of hundreds of millions of tasks.
"""

from __future__ import annotations

import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import Store

from atmorep_lite.data.archive.chunk_store import ChunkStore
from atmorep_lite.data.archive.remote import Patience, RemoteStore, is_remote
from atmorep_lite.data.canonical import STATIC_FIELDS, canonical
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS, find_name

#: Public archives by name.  Addresses as their own documentation and public code give them.
SOURCES = {
    "arco": "gs://gcp-public-data-arco-era5/ar/full_37-1h-0p25deg-chunk-1.zarr-v3",
    "arco-model-levels": "gs://gcp-public-data-arco-era5/ar/model-level-1h-0p25deg.zarr-v1",
    "wb2-1440x721": "gs://weatherbench2/datasets/era5/1959-2023_01_10-wb13-6h-1440x721.zarr",
    "wb2-240x121": "gs://weatherbench2/datasets/era5/"
    "1959-2023_01_10-6h-240x121_equiangular_with_poles_conservative.zarr",
    "wb2-64x32": "gs://weatherbench2/datasets/era5/1959-2023_01_10-6h-64x32_equiangular_conservative.zarr",
}
AXES = ("time", "level", "latitude", "longitude")


@dataclass(frozen=True)
class Variable:
    """A field as the source holds it: ``raw`` is its name there, ``dims`` the canonical names of its axes."""

    name: str
    raw: str
    dims: tuple[str, ...]
    chunks: tuple[int, ...]
    units: str

    @property
    def static(self) -> bool:
        """Whether it is a map without time (some archives repeat it for each time)."""
        return self.name in STATIC_FIELDS or "time" not in self.dims


@dataclass
class Source:
    """An open archive.

    Attributes
    ----------
    raw
        The data as they are, lazy.
    axes
        Canonical coordinates, and as ``index`` where in the source each of their values stands.
    dims
        The source's name of each canonical axis.
    last
        The last time with data, where the time axis runs on beyond it; None if the archive says nothing.
    """

    address: str
    store: ChunkStore
    raw: xr.Dataset
    axes: xr.Dataset
    index: dict[str, np.ndarray]
    dims: dict[str, str]
    last: np.datetime64 | None
    variables: dict[str, Variable] = field(default_factory=dict)

    def array(self, variable: Variable) -> zarr.Array:
        """The Zarr array behind a variable."""
        found = zarr.open_group(self.store, mode="r")[variable.raw]
        assert isinstance(found, zarr.Array)
        return found


def address_of(name: str) -> str:
    """The address of a named source; any other address or path as it is."""
    if name in SOURCES:
        return SOURCES[name]
    if "://" not in name and not Path(name).exists():
        raise UserError(
            f"there is no source {name!r}; choose one of {', '.join(SOURCES)}, or give a path or an address "
            "such as gs://..., s3://... or https://..."
        )
    if "://" in name and not is_remote(name):
        raise UserError(f"{name} cannot be fetched; addresses begin with https://, http://, gs:// or s3://")
    return name


def open_archive(
    name: str, *, patience: Patience | None = None, together: int = 16, missing: str = "refuse"
) -> Source:
    """Open an archive by name, address or path.

    Raises
    ------
    UserError
        If there is no such source, no Zarr store at its address, or it is on no latitude-longitude grid.
    """
    address = address_of(name)
    store = ChunkStore(_store(address, patience, together), strict=missing == "refuse")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated metadata")
            raw = xr.open_zarr(store, chunks=None, consolidated=None)
    except UserError:
        raise
    except Exception as error:  # every store has its own exceptions
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"no Zarr store with consolidated metadata could be opened at {address} ({reason}); check it"
        ) from error
    try:
        return _described(address, store, raw)
    except UserError as error:
        raise UserError(f"{address}: {error}") from error


def _store(address: str, patience: Patience | None, together: int) -> Store:
    if is_remote(address):
        return RemoteStore(address, patience, together=together)
    place = Path(address).expanduser()
    if zipfile.is_zipfile(place):
        return zarr.storage.ZipStore(place, mode="r")
    if not place.is_dir():
        raise UserError(f"{place} is no Zarr store; a folder or a zip file of one was expected")
    return zarr.storage.LocalStore(place, read_only=True)


def _described(address: str, store: ChunkStore, raw: xr.Dataset) -> Source:
    coordinates = xr.Dataset(coords={n: c for n, c in raw.coords.items() if c.ndim == 0 or c.dims == (n,)})
    marks = {f"_index_{dim}": (dim, np.arange(raw.sizes[dim])) for dim in coordinates.dims}
    axes = canonical([coordinates.assign_coords(marks)])
    index, dims = {}, {}
    for dim in map(str, coordinates.dims):
        mark = axes[f"_index_{dim}"]
        index[str(mark.dims[0])], dims[str(mark.dims[0])] = mark.values, dim
    if "time" not in dims:
        raise UserError("the data have no time")
    ends = [raw.attrs.get(key) for key in ("valid_time_stop", "valid_time_stop_era5t")]
    known = [np.datetime64(end, "D") + np.timedelta64(1, "D") - np.timedelta64(1, "s") for end in ends if end]
    source = Source(
        address,
        store,
        raw,
        axes.drop_vars([f"_index_{dim}" for dim in coordinates.dims]),
        index,
        dims,
        max(known) if known else None,
    )
    back = {raw_dim: axis for axis, raw_dim in dims.items()}
    for key, array in raw.data_vars.items():
        if not {dims["latitude"], dims["longitude"]} <= set(array.dims):
            continue
        surface = "level" not in dims or dims["level"] not in array.dims
        name = find_name(str(key), str(array.attrs.get("standard_name", "")), surface=surface) or str(key)
        if (name in FIELDS and str(key) not in FIELDS and name in raw.data_vars) or name in source.variables:
            continue  # it stands there under its own name, too
        if any(dim not in back or back[str(dim)] not in AXES for dim in array.dims):
            continue  # a forecast or an ensemble
        source.variables[name] = Variable(
            name,
            str(key),
            tuple(back[str(dim)] for dim in array.dims),
            tuple(array.encoding.get("shards") or array.encoding.get("chunks") or array.shape),
            str(array.attrs.get("units", "")),
        )
    return source
