"""The statistics of a run's data."""

from __future__ import annotations

import xarray as xr

from atmorep_lite.config import Config
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.prepared import statistics
from atmorep_lite.data.timing import with_time_step
from atmorep_lite.errors import UserError
from atmorep_lite.transfer_statistics import check_prepared, complete_statistics


def fit_normalizer(dataset: xr.Dataset, config: Config, known: Normalizer | None = None) -> Normalizer:
    """Statistics of every field and level of the model; those that are ``known`` are taken over."""
    if "prepared" in dataset.attrs:
        kind = dataset.attrs["prepared"]["kind"]
        if kind not in ("given", config.data.normalization):
            raise UserError(
                f"{config.data.train} was prepared with normalization {kind}, but data.normalization is "
                f"{config.data.normalization}; make them equal"
            )
        found = statistics(dataset)
        if known is not None:
            check_prepared(known, found, config.model)
    else:
        found = complete_statistics(known, dataset, config)
    return with_time_step(found, dataset["time"].values)
