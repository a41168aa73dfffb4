"""Data as a configuration or command names them: a shipped sample, a prepared store, or any other data."""

from __future__ import annotations

import re

import xarray as xr

from atmorep_lite.data.opening import open_dataset
from atmorep_lite.data.prepared import is_prepared, open_prepared
from atmorep_lite.data.samples import SAMPLES, open_sample
from atmorep_lite.errors import UserError

#: A year, month, day, hour or minute, as ISO 8601 writes them.
DATE = re.compile(r"\d{4}(-\d{2}(-\d{2}([T ]\d{2}(:\d{2}){0,2})?)?)?")


def open_source(
    name: str,
    period: tuple[str | None, str | None] | None = None,
    *,
    leave_out_conflicts: bool = False,
) -> xr.Dataset:
    """A shipped sample by name, or a path or URL; cut to ``period`` (first and last time, inclusive).

    ``leave_out_conflicts`` as for :func:`~atmorep_lite.data.opening.open_dataset`.

    Raises
    ------
    UserError
        If there is no such thing, or nothing in the period.
    """
    if name in SAMPLES:
        dataset = open_sample(name)
    elif is_prepared(name):
        dataset = open_prepared(name)
    else:
        dataset = open_dataset(name, leave_out_conflicts=leave_out_conflicts)
    if period is None:
        return dataset
    for date in period:
        if date is not None and not DATE.fullmatch(date):  # 01.02.2001 would be read as 2 January
            raise UserError(f"{date!r} is no date; write 2001-01-31 or 2001-01-31T12:00")
    try:
        dataset = dataset.sel(time=slice(*period))
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(
            f"{period[0]} to {period[1]} is no period; write dates like 2001-01-31 or 2001-01-31T12:00"
        ) from error
    if dataset.sizes["time"] == 0:
        raise UserError(
            f"{name} holds nothing in the period {period[0] or 'its beginning'} to {period[1] or 'its end'}"
        )
    return dataset
