"""Times that a record holds more than once: kept once if they are equal; else an error, or left out."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from atmorep_lite.data.quality import FOUND, times_in_words
from atmorep_lite.errors import UserError


def without_repeats(dataset: xr.Dataset, *, leave_out: bool = False) -> xr.Dataset:
    """The dataset with its times ascending, each once.

    Equal values at a repeated time are kept once and told in the attribute ``repaired``; the values of
    repeated times are read for that.

    Parameters
    ----------
    leave_out
        Leave out times whose values differ and tell so in the attribute
        :data:`~atmorep_lite.data.quality.FOUND`, instead of an error.

    Raises
    ------
    UserError
        If values at a repeated time differ, naming the times.
    """
    values = dataset["time"].values
    order = np.argsort(values, kind="stable")
    unique, first, number = np.unique(values[order], return_index=True, return_counts=True)
    if (number == 1).all():
        return dataset if (np.diff(order) == 1).all() else dataset.isel(time=order)
    repeated = np.flatnonzero(number > 1)
    different: dict[str, np.ndarray] = {}
    for copy in range(1, number.max()):
        have = repeated[number[repeated] > copy]
        one = dataset.isel(time=order[first[have]])
        other = dataset.isel(time=order[first[have] + copy])
        for name in map(str, dataset.data_vars):
            if "time" in dataset[name].dims:
                a, b = one[name].drop_vars("time"), other[name].drop_vars("time")
                unequal = ((a != b) & ~(a.isnull() & b.isnull())).any([d for d in a.dims if d != "time"])
                found = different.setdefault(name, np.zeros(len(unique), bool))
                found[have] |= unequal.values
    wrong = np.any([*different.values(), np.zeros(len(unique), bool)], axis=0)
    words = {
        name: f"{times_in_words(unique[where])} occur more than once with different values"
        for name, where in different.items()
        if where.any()
    }
    if words and not leave_out:
        told = "; ".join(f"{name}: {sentence}" for name, sentence in words.items())
        raise UserError(f"{told}; drop the wrong ones, or `data prepare --skip-bad`, which uses none of them")
    equal = unique[(number > 1) & ~wrong]
    attrs = dict(dataset.attrs)
    if words:
        found_before = json.loads(attrs.get(FOUND, "[]"))
        attrs[FOUND] = json.dumps(found_before + [["repeated times", *item] for item in words.items()])
    if len(equal):
        sentence = f"{times_in_words(equal)} occurred more than once with equal values, of which one was kept"
        attrs["repaired"] = "; ".join(filter(None, [attrs.get("repaired", ""), sentence]))
    return dataset.isel(time=order[first[~wrong]]).assign_attrs(attrs)
