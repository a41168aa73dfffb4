"""What the forecast loses without a head or a coupling: the causal check beside every map.

Nothing is retrained: a model trained without the connection would have found other ways, so a loss is an
upper limit of what the connection is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import xarray as xr
from torch import Tensor

from atmorep_lite.ablation import hidden_errors, hide_future, silence_couplings, silence_heads
from atmorep_lite.data.sampling import Neighbourhoods
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.tokens import FieldTokens

if TYPE_CHECKING:
    import pandas as pd

Cut = dict[str, Any]
Sample = tuple[Mapping[str, FieldTokens], Tensor | None]
Each = Literal["pair", "layer", "head"]
INTERVAL = (2.5, 97.5)  # percentiles


def forecast_batches(
    model: AtmoRep, dataset: xr.Dataset, *, count: int = 12, each: int = 6, seed: int = 0
) -> list[Sample]:
    """Random neighbourhoods with the truth, their last time slots hidden, for :func:`head_ablation`.

    Parameters
    ----------
    dataset
        Canonical data with the model's fields, longer than a neighbourhood.
    count, each
        How many neighbourhoods, and how many of them in a batch.
    seed
        Of the places and times.

    Raises
    ------
    UserError
        If the model has no normalisation, or the data hold no neighbourhood.
    """
    if model.normalizer is None or model.run_config is None:
        raise UserError("the model has no normalisation; load it with AtmoRep.from_pretrained")
    data = Neighbourhoods(dataset, model.config, model.normalizer)
    places = data.draw(count, np.random.default_rng(seed))
    batches = [data.batch(places[i : i + each]) for i in range(0, count, each)]
    return [(hide_future(model, batch.tokens), batch.static) for batch in batches]


def head_ablation(
    model: AtmoRep,
    batches: Iterable[Sample],
    *,
    kinds: Sequence[Literal["self", "coupling"]] = ("self", "coupling"),
    each: Each = "pair",
    listeners: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Error of the hidden tokens without each head or coupling in turn, beside that of the whole model.

    Parameters
    ----------
    model
        One that predicts departures, in evaluation mode.
    batches
        Tokens with masks and the truth, and static maps, as :func:`forecast_batches` makes them; each
        neighbourhood in them is one sample.
    kinds
        Cut heads of the self-attention, couplings, or both.
    each
        What is cut at a time: all heads of a pair in all ``layers`` together ("pair"), in one layer
        ("layer"), or single heads, with couplings layer by layer ("head").
    listeners, layers
        Only these query fields and layers; all by default.
    draws, seed
        Of the bootstrap over neighbourhoods.

    Returns
    -------
    DataFrame with a row for each cut and each scored field, and one for the ``field`` "mean" over fields:
    ``query_field``, ``key_field``, ``kind``, ``layer`` and ``head`` (-1: all), ``field``, ``rmse`` without it
    and ``whole`` with it (normalised units; root of the mean square over neighbourhoods), ``loss`` =
    rmse / whole - 1, its ``standard_error`` and 95 % interval ``low`` to ``high``, ``neighbourhoods``.  With
    one neighbourhood the last four hold no error: NaN.

    Raises
    ------
    UserError
        If nothing is to be cut, nothing is hidden, or the model predicts fields themselves.
    """
    import pandas as pd

    held = list(batches)
    whole = _squares(model, held)
    names = list(whole.columns)
    if not names or whole.isna().to_numpy().any():
        raise UserError(
            "every neighbourhood needs hidden tokens of the same fields; hide some, as hide_future"
        )
    rng = np.random.default_rng(seed)
    samples = rng.integers(0, len(whole), (draws, len(whole)))
    rows = []
    for cut in cuts(model, kinds=kinds, each=each, listeners=listeners, layers=layers):
        without = _squares(_silenced(model, cut, layers), held)
        loss, spread = _losses(whole.to_numpy(), without.to_numpy(), samples)
        error, (low, high) = spread.std(0, ddof=1), np.percentile(spread, INTERVAL, axis=0)
        for i, name in enumerate([*names, "mean"]):
            scores = {"loss": loss[i], "standard_error": error[i], "low": low[i], "high": high[i]}
            if name == "mean":
                both = {"rmse": np.nan, "whole": np.nan}
            else:
                both = {"rmse": without[name].mean() ** 0.5, "whole": whole[name].mean() ** 0.5}
            rows.append(cut | {"field": name} | both | scores | {"neighbourhoods": len(whole)})
    if not rows:
        raise UserError("nothing is to be cut: the model has no such couplings, or kinds is empty")
    table = pd.DataFrame(rows)
    if len(whole) == 1:
        table[["standard_error", "low", "high"]] = np.nan
    return table


def cuts(
    model: AtmoRep,
    *,
    kinds: Sequence[str] = ("self", "coupling"),
    each: Each = "pair",
    listeners: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
) -> Iterator[Cut]:
    """What :func:`head_ablation` cuts, one after another; -1 stands for all layers or heads."""
    config = model.config
    wanted = list(range(config.encoder_layers) if layers is None else layers)
    single = [-1] if each == "pair" else wanted
    for f in config.fields:
        if listeners is not None and f.name not in listeners:
            continue
        for key in (f.name, *f.coupled_to):
            kind = "self" if key == f.name else "coupling"
            if kind not in kinds:
                continue
            heads = range(config.heads) if each == "head" and kind == "self" else [-1]
            for layer in single:
                for head in heads:
                    yield {
                        "query_field": f.name,
                        "key_field": key,
                        "kind": kind,
                        "layer": layer,
                        "head": head,
                    }


def _silenced(model: AtmoRep, cut: Cut, layers: Sequence[int] | None) -> AtmoRep:
    layers = layers if cut["layer"] < 0 else [cut["layer"]]
    if cut["kind"] == "coupling":
        return silence_couplings(model, listener=cut["query_field"], heard=cut["key_field"], layers=layers)
    heads = None if cut["head"] < 0 else [cut["head"]]
    return silence_heads(model, listener=cut["query_field"], heads=heads, layers=layers)


def _squares(model: AtmoRep, batches: Sequence[Sample]) -> pd.DataFrame:
    """Mean square error over hidden tokens, ``[neighbourhood, field]``."""
    import pandas as pd

    parts = [hidden_errors(model, tokens, static) for tokens, static in batches]
    return cast("pd.DataFrame", pd.concat(parts, ignore_index=True) ** 2)


def _losses(whole: np.ndarray, without: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each field and of their mean: of all neighbourhoods, and of each resample ``[draw, field]``."""

    def loss(w: np.ndarray, c: np.ndarray) -> np.ndarray:
        each = np.sqrt(c.mean(-2) / w.mean(-2)) - 1
        return np.concatenate((each, each.mean(-1, keepdims=True)), -1)

    return loss(whole, without), loss(whole[samples], without[samples])
