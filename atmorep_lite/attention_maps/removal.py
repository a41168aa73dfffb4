"""What the forecast loses without a head or a coupling: the causal check beside every map.

The error of a loss is that of the jackknife over neighbourhoods, whole and cut model paired, and its interval
that of Student's t: it holds for independent neighbourhoods, and is too narrow where they overlap in space or
time, or lie within one spell of weather.

Nothing is retrained: a model trained without the connection would have found other ways, so a loss is an
upper limit of what the connection is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
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
COVERAGE = 0.95  # of an interval


def forecast_batches(
    model: AtmoRep, dataset: xr.Dataset, *, count: int = 12, each: int = 6, seed: int = 0
) -> list[Sample]:
    """Neighbourhoods with the truth, their last time slots hidden, for :func:`head_ablation`.

    Their times lie as far apart as the record allows, their places are random.  Neighbourhoods of a short
    record still overlap, or share their weather: they are not independent, so that the intervals of
    :func:`head_ablation` are too narrow.

    Parameters
    ----------
    dataset
        Canonical data with the model's fields, longer than a neighbourhood.
    count, each
        How many neighbourhoods, and how many of them in a batch.
    seed
        Of the places.

    Raises
    ------
    UserError
        If the model has no normalisation, the data hold no neighbourhood, or none is wanted.
    """
    if count < 1 or each < 1:
        raise UserError(
            f"{count} neighbourhoods, {each} a batch, are nothing to score; choose 1 or more of both"
        )
    if model.normalizer is None or model.run_config is None:
        raise UserError("the model has no normalisation; load it with AtmoRep.from_pretrained")
    data = Neighbourhoods(dataset, model.config, model.normalizer)
    starts = data.places.starts
    apart = starts[np.linspace(0, len(starts) - 1, count).round().astype(int)]
    drawn = data.draw(count, np.random.default_rng(seed))
    places = [replace(place, step=int(step)) for place, step in zip(drawn, apart, strict=True)]
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

    Returns
    -------
    DataFrame with a row for each cut and each scored field, and one for the ``field`` "mean" over fields:
    ``query_field``, ``key_field``, ``kind``, ``layer`` and ``head`` (-1: all), ``field``, ``rmse`` without it
    and ``whole`` with it (normalised units; root of the mean square over neighbourhoods), ``loss`` =
    rmse / whole - 1, its ``standard_error`` (jackknife) and 95 % interval ``low`` to ``high`` (Student's t)
    over independent ``neighbourhoods``; NaN where there is one neighbourhood.

    Raises
    ------
    UserError
        If nothing is to be cut, nothing is hidden, there is no batch, ``each`` or a listener is unknown, or
        the model predicts fields themselves.
    """
    import pandas as pd

    _check_cuts(model, kinds, each, listeners)
    held = list(batches)
    if not held:
        raise UserError("there are no neighbourhoods to score; take them from forecast_batches")
    whole = _squares(model, held)
    names = list(whole.columns)
    if not names or whole.isna().to_numpy().any():
        raise UserError(
            "every neighbourhood needs hidden tokens of the same fields; hide some, as hide_future"
        )
    rows = []
    for cut in cuts(model, kinds=kinds, each=each, listeners=listeners, layers=layers):
        without = _squares(_silenced(model, cut, layers), held)
        loss, error, margin = _losses(whole.to_numpy(), without.to_numpy())
        low, high = loss - margin, loss + margin
        for i, name in enumerate([*names, "mean"]):
            scores = {"loss": loss[i], "standard_error": error[i], "low": low[i], "high": high[i]}
            if name == "mean":
                both = {"rmse": np.nan, "whole": np.nan}
            else:
                both = {"rmse": without[name].mean() ** 0.5, "whole": whole[name].mean() ** 0.5}
            rows.append(cut | {"field": name} | both | scores | {"neighbourhoods": len(whole)})
    if not rows:
        raise UserError("nothing is to be cut: the model has no such couplings, or kinds is empty")
    return pd.DataFrame(rows)


def _check_cuts(model: AtmoRep, kinds: Sequence[str], each: str, listeners: Sequence[str] | None) -> None:
    if each not in ("pair", "layer", "head"):
        raise UserError(f"each is {each!r}; choose 'pair', 'layer' or 'head'")
    if unknown := [kind for kind in kinds if kind not in ("self", "coupling")]:
        raise UserError(f"{unknown[0]!r} is no kind of head; choose 'self', 'coupling' or both")
    names = model.config.names
    if unknown := [name for name in listeners or () if name not in names]:
        raise UserError(f"{unknown[0]} is not a field of this model; it has {', '.join(names)}")


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


def _losses(whole: np.ndarray, without: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss of each field and of their mean, its standard error, and half the width of its interval.

    From squares ``[neighbourhood, field]`` that belong together.  The jackknife: a ratio of means, each time
    without one neighbourhood; Efron and Stein 1981 (doi:10.1214/aos/1176345462).
    """
    from scipy.stats import t

    def loss(w: np.ndarray, c: np.ndarray) -> np.ndarray:
        each = np.sqrt(c / w) - 1
        return np.concatenate((each, each.mean(-1, keepdims=True)), -1)

    count = len(whole)
    found = loss(whole.sum(0), without.sum(0))
    if count == 1:
        return found, np.full_like(found, np.nan), np.full_like(found, np.nan)
    others = loss(whole.sum(0) - whole, without.sum(0) - without)
    error = np.sqrt((count - 1) * others.var(0))
    return found, error, error * t.ppf((1 + COVERAGE) / 2, count - 1)
