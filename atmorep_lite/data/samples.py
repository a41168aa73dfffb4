"""The shipped samples of the simulated atmosphere."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from atmorep_lite.data.opening import open_dataset
from atmorep_lite.errors import UserError

#: What there is, and where it comes from: 5 days inside the package, the others in the source checkout.
SAMPLES = {
    "sample": "sample.zarr.zip",
    "train": "atmosphere_train.zarr.zip",
    "validation": "atmosphere_validation.zarr.zip",
    "test": "atmosphere_test.zarr.zip",
}
VARIABLE = "ATMOREP_LITE_DATA"
_PACKAGE_DATA = Path(__file__).resolve().parent


def open_sample(name: str = "sample") -> xr.Dataset:
    """Open a piece of the simulated atmosphere (not ERA5, though in its names, units and layout).

    Parameters
    ----------
    name
        ``"sample"``: 5 days, part of the package.  ``"train"``, ``"validation"``, ``"test"``: longer records
        in the folder ``data_samples`` of the source checkout, or in the folder that the environment variable
        ATMOREP_LITE_DATA names.  Validation and test come from another simulation than training.

    Returns
    -------
    xr.Dataset
        Canonical (see :func:`atmorep_lite.open_dataset`): 3-hourly, 64 x 32 points, three levels, seven
        fields and two static maps.

    Raises
    ------
    UserError
        If there is no such sample, or its file is not where it is expected.

    Examples
    --------
    >>> dict(open_sample().sizes)
    {'time': 40, 'level': 3, 'latitude': 32, 'longitude': 64}
    """
    return open_dataset(sample_path(name))


def sample_path(name: str = "sample") -> Path:
    """Where a sample lies; same errors as :func:`open_sample`."""
    if name not in SAMPLES:
        raise UserError(f"there is no sample called {name!r}; there are {', '.join(SAMPLES)}")
    folder = _PACKAGE_DATA if name == "sample" else samples_folder()
    path = folder / SAMPLES[name]
    if not path.is_file():
        raise UserError(
            f"the sample {name!r} is expected at {path}, but is not there; take the folder data_samples from "
            f"the source repository, or make it with scripts/make_data_samples.py, and let {VARIABLE} name it"
        )
    return path


def samples_folder() -> Path:
    """The folder named by ATMOREP_LITE_DATA, else ``data_samples`` of the checkout."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else _PACKAGE_DATA.parents[1] / "data_samples"
