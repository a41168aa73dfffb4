"""How much fields differ as seen through tokens of one size: the case against one token for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from atmorep_lite.config import Triple
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.tokens import tokenize

if TYPE_CHECKING:
    import pandas as pd


def token_statistics(
    dataset: xr.Dataset, normalizer: Normalizer, *, token_size: Triple, level: int
) -> pd.DataFrame:
    """Three numbers for each field at one level.

    Parameters
    ----------
    dataset
        ``[time, level, latitude, longitude]`` in SI units, without poles at which rows repeat.
    normalizer
        Knows every field of ``dataset``.
    token_size
        Time steps, rows and columns in a token; must divide the record.
    level
        hPa.

    Returns
    -------
    DataFrame, a row for each field:

    ``share``
        of the mean square of a token that glues all fields together in SI units.
    ``neighbours``
        correlation of the means of tokens that are neighbours in longitude, normalised units.
    ``inside``
        share of the variance of normalised values that lies inside tokens, ``1 - var(means) / var(values)``.
    """
    import pandas as pd

    rows = {}
    for name in map(str, dataset.data_vars):
        normal = normalizer.normalize(dataset[[name]])
        in_si, tokens = (
            tokenize(torch.from_numpy(_grid(d[name], level)), token_size) for d in (dataset, normal)
        )
        middle = tokens.mean(-1)
        rows[name] = {
            "share": float(in_si.square().mean()),
            "neighbours": float(np.corrcoef(middle.flatten(), middle.roll(1, -1).flatten())[0, 1]),
            "inside": float(1 - middle.var(correction=0) / tokens.var(correction=0)),
        }
    table = pd.DataFrame(rows).T
    table["share"] /= table["share"].sum()
    return table


def _grid(field: xr.DataArray, level: int) -> np.ndarray:
    """``[time, latitude, longitude]`` float64."""
    return field.sel(level=level).transpose("time", "latitude", "longitude").values.astype(np.float64)
