"""Measuring what an attention explorer shows below its maps, part after part, within bounded time."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from atmorep_lite.attention_maps import (
    AttentionCapture,
    CapturedPair,
    capture_attention,
    field_flow,
    forecast_batches,
    gradient_attention,
    head_ablation,
    head_table,
    influence,
    key_relevance,
    neighbourhood,
    rollout,
)
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.widgets.checks import token_shape
from atmorep_lite.widgets.evidence import Evidence

FEW_QUERIES = 64  # of each field, over which the heads are averaged where there is no time for all
PART = 0.25  # of the seconds, that the table of heads may take at most


def gather(
    model: AtmoRep,
    dataset: xr.Dataset,
    time: str | np.datetime64,
    *,
    latitude: float,
    longitude: float,
    forecast: bool = True,
    capture: AttentionCapture | None = None,
    queries: Mapping[str, Sequence[int]] | None = None,
    forecasts: int = 4,
    seconds: float = 120.0,
    progress: Callable[[str], None] | None = None,
) -> Evidence:
    """Measure flow, heads, rollout, influence, relevance and ablation, in this order.

    Parameters
    ----------
    model, dataset, time, latitude, longitude, forecast
        As for :func:`~atmorep_lite.attention_maps.capture_attention`.
    capture
        What that returned; captured here where left out.
    queries
        Tokens of each field whose forecasts are traced back; by default the token in the middle of each
        predicted field's last level at the newest time, which an explorer shows first.
    forecasts
        Neighbourhoods of the record, drawn at random, over which the ablation is averaged.
    seconds
        What would not end by then, judged by what went before, is left out.
    progress
        Is told, in words, what is being measured.

    Raises
    ------
    UserError
        For a place, time or token that does not exist.
    """
    place: dict[str, Any] = {"latitude": latitude, "longitude": longitude, "forecast": forecast}
    if capture is None:
        capture = capture_attention(model, dataset, time, **place)
    cube = neighbourhood(model, dataset, time, **place)
    wanted = {name: [_middle(capture, name)] for name in model.predicted} if queries is None else queries
    asked = [(name, int(token)) for name, tokens in wanted.items() for token in tokens]
    _check_tokens(capture, asked)
    budget = _Budget(seconds, progress or (lambda words: None))
    places = capture.fields

    flow = budget.spend("what arrives from each field", lambda: field_flow(model, cube.tokens, cube.static))
    forward = budget.last  # seconds that one forward pass takes
    heads = budget.spend("what kind of head each one is", lambda: _heads(capture, PART * seconds))
    traced = budget.spend("rollout over all fields", lambda: rollout(capture, queries=wanted, flow=flow))

    def weighted(*, field: str, query: int) -> xr.DataArray:
        tree = gradient_attention(model, cube.tokens, cube.static, places=places, field=field, query=query)
        return key_relevance(tree, places=places)

    influenced = partial(influence, model, cube.tokens, cube.static, places=places)
    changed, weighed = [], []
    # only predictions are influenced
    if all(name in model.predicted and places[name].mask.flat[token] for name, token in asked):
        if model.config.predict == "departure":
            changed = budget.each("influence on the prediction of", asked, influenced)
            asked = asked[: len(changed)] or asked
        weighed = budget.each("gradient x attention of", asked, weighted)
    tables = []
    if model.config.predict == "departure":
        batches = forecast_batches(model, dataset, count=forecasts)
        own = [pair for pair in capture.pairs.values() if pair.query_field == pair.key_field]
        couplings: dict[str, Any] = {"each": "pair"}
        single: dict[str, Any] = {"each": "head", "kinds": ("self",)}
        cuts = ("coupling", len(capture.pairs), couplings), ("head", sum(map(_heads_of, own)), single)
        for words, count, options in cuts:
            told = f"what {forecasts} forecasts lose without each {words}"
            cut = partial(head_ablation, model, batches, **options)
            tables.append(budget.spend(told, cut, cost=count * forecasts * forward))
    tables = [table for table in tables if table is not None]
    return Evidence(
        flow=flow,
        heads=heads,
        ablation=pd.concat(tables) if tables else None,
        queries=tuple(asked),
        rollout=None if traced is None else traced[: len(asked)],
        influence=_stacked(changed, asked),
        relevance=_stacked(weighed, asked),
    )


class _Budget:
    """Seconds to spend: what would begin too late, or take too long, is left out."""

    def __init__(self, seconds: float, tell: Callable[[str], None]) -> None:
        self.end = clock.monotonic() + seconds
        self.tell = tell
        self.last = 0.0

    def spend(self, words: str, make: Callable[[], Any], *, cost: float = 0.0) -> Any:
        """What ``make`` returns, or None where it would end after the time by its ``cost`` in seconds."""
        began = clock.monotonic()
        if began + cost >= self.end:
            self.tell(f"left out for lack of time: {words}")
            return None
        self.tell(words)
        made = make()
        self.last = clock.monotonic() - began
        return made

    def each(
        self, words: str, asked: Sequence[tuple[str, int]], make: Callable[..., xr.DataArray]
    ) -> list[xr.DataArray]:
        """A row for each query, as many as there is time for."""
        rows: list[xr.DataArray] = []
        for name, token in asked:
            row = self.spend(f"{words} {name}", partial(make, field=name, query=token), cost=self.last)
            if row is None:
                break
            rows.append(row)
        return rows


def _stacked(rows: list[xr.DataArray], asked: Sequence[tuple[str, int]]) -> xr.DataArray | None:
    """[query, key], where every query has its row."""
    if not rows or len(rows) < len(asked):
        return None
    return xr.concat(rows, "query", coords="minimal", compat="override", combine_attrs="drop")


def _middle(capture: AttentionCapture, name: str) -> int:
    levels, times, rows, columns = shape = token_shape(capture.fields[name])
    return int(np.ravel_multi_index((levels - 1, times - 1, rows // 2, columns // 2), shape))


def _heads_of(pair: CapturedPair) -> int:
    return int(np.prod(pair.q.shape[:2]))


def _check_tokens(capture: AttentionCapture, asked: Sequence[tuple[str, int]]) -> None:
    for name, token in asked:
        count = int(np.prod(token_shape(capture.fields[name]))) if name in capture.fields else 0
        if not 0 <= token < count:
            raise UserError(
                f"The query {token} of {name} is no token of the capture: choose tokens of "
                f"{', '.join(capture.fields)}, as token_at finds them."
            )


def _heads(capture: AttentionCapture, seconds: float) -> pd.DataFrame:
    """The table of heads over all tokens or, where that takes longer, over some of each level and time."""
    began = clock.monotonic()
    sample = spread_queries(capture, FEW_QUERIES)
    table = head_table(capture, queries=sample)
    taken = clock.monotonic() - began
    count = sum(field.mask.size for field in capture.fields.values())
    if taken * count / sum(map(len, sample.values())) > seconds:
        return table
    return head_table(capture)


def spread_queries(capture: AttentionCapture, most: int) -> dict[str, list[int]]:
    """About ``most`` tokens of each field: equally many of every level and time, at random places.

    At least one of each; the same ones at every call.
    """
    rng = np.random.default_rng(0)
    chosen = {}
    for name, field in capture.fields.items():
        levels, times, rows, columns = token_shape(field)
        each = max(1, most // (levels * times))
        drawn = [rng.permutation(rows * columns)[:each] + rows * columns * i for i in range(levels * times)]
        chosen[name] = np.sort(np.concatenate(drawn)).tolist()
    return chosen
