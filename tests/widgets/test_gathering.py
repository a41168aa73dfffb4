"""Evidence is measured part after part, and never for longer than was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import atmorep_lite as ar
from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.widgets import gathering
from atmorep_lite.widgets.evidence import Evidence, pack_evidence
from atmorep_lite.widgets.packing import Buffer
from tests.tiny import HEAT, WIND, coupled_fields, ready_model, tiny_model, wave

PLACE: dict[str, Any] = {"latitude": 45, "longitude": 320}
QUERIES = {"temperature": [600, 601], "vorticity": [700]}


class Clock:
    """Seconds that pass only where a test lets them."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def model() -> AtmoRep:
    return ar.AtmoRep.from_pretrained("demo")


@pytest.fixture(scope="module")
def weather() -> Iterator[xr.Dataset]:
    with ar.open_sample() as dataset:
        yield dataset


@pytest.fixture(scope="module")
def capture(model: AtmoRep, weather: xr.Dataset) -> AttentionCapture:
    return ar.capture_attention(model, weather, weather.time.values[20], **PLACE)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The measures cost seconds of this clock, but no work: 1 for the flow, 10 for a query, 100 for cuts."""
    clock = Clock()
    monkeypatch.setattr(gathering, "clock", clock)

    def costs(seconds: float, make: Any) -> Any:
        def measure(*args: Any, **options: Any) -> Any:
            clock.now += seconds
            return make(*args, **options)

        return measure

    def flows(*args: Any) -> xr.DataArray:
        return xr.DataArray(np.ones((3, 5, 5)), dims=("layer", "query_field", "key_field"))

    def rolled(capture: AttentionCapture, *, queries: Any, flow: xr.DataArray) -> xr.DataArray:
        count = sum(map(len, queries.values()))
        return xr.DataArray(np.full((count, 3840), float(flow.sum())), dims=("query", "key"))

    def row(*args: Any, query: int, **options: Any) -> xr.DataArray:
        return xr.DataArray(np.full(3840, float(query)), dims="key")

    def cut(*args: Any, each: str, **options: Any) -> pd.DataFrame:
        return pd.DataFrame({"each": [each]})

    monkeypatch.setattr(gathering, "field_flow", costs(1, flows))
    monkeypatch.setattr(gathering, "rollout", costs(0, rolled))
    monkeypatch.setattr(gathering, "head_table", costs(1, lambda *args, **options: None))
    monkeypatch.setattr(gathering, "influence", costs(10, row))
    monkeypatch.setattr(gathering, "gradient_attention", lambda *args, query, **options: query)
    monkeypatch.setattr(gathering, "key_relevance", costs(10, lambda query, places: row(query=query)))
    monkeypatch.setattr(gathering, "head_ablation", costs(100, cut))
    return clock


def gather(model: AtmoRep, weather: xr.Dataset, capture: AttentionCapture, **options: Any) -> Evidence:
    options = {"queries": QUERIES, **options}
    return Evidence.of(model, weather, weather.time.values[20], capture=capture, **PLACE, **options)


def test_with_time_everything_is_measured(
    model: AtmoRep, weather: xr.Dataset, capture: AttentionCapture, clock: Clock
) -> None:
    told: list[str] = []
    evidence = gather(model, weather, capture, seconds=1e4, forecasts=3, progress=told.append)
    assert evidence.queries == (("temperature", 600), ("temperature", 601), ("vorticity", 700))
    assert evidence.influence is not None and evidence.relevance is not None
    for rows in (evidence.influence, evidence.relevance):
        assert rows.dims == ("query", "key") and rows[:, 0].values.tolist() == [600, 601, 700]
    assert evidence.ablation is not None and evidence.ablation["each"].tolist() == ["pair", "head"]
    assert evidence.flow is not None and evidence.rollout is not None
    assert (evidence.rollout == 75).all()  # it was given the flow
    assert len(told) == 3 + 3 + 3 + 2 and not any("left out" in words for words in told)


def test_rows_end_with_the_last_query_that_there_was_time_for(
    model: AtmoRep, weather: xr.Dataset, capture: AttentionCapture, clock: Clock
) -> None:
    evidence = gather(model, weather, capture, seconds=25)
    assert clock.now <= 25
    assert evidence.queries == (("temperature", 600), ("temperature", 601))
    assert evidence.influence is not None and evidence.influence.shape == (2, 3840)
    assert evidence.rollout is not None and evidence.rollout.shape == (2, 3840)
    assert evidence.relevance is None and evidence.ablation is None


def test_without_time_nothing_is_measured(
    model: AtmoRep, weather: xr.Dataset, capture: AttentionCapture
) -> None:
    told: list[str] = []
    evidence = gather(model, weather, capture, seconds=0.0, progress=told.append)
    assert all("left out" in words for words in told)
    assert list(pack_evidence(evidence, capture, Buffer())) == ["atlas"]


def test_visible_tokens_are_not_predicted(
    model: AtmoRep, weather: xr.Dataset, capture: AttentionCapture, clock: Clock
) -> None:
    evidence = gather(model, weather, capture, seconds=1e4, queries={"temperature": [0]})
    assert evidence.rollout is not None and evidence.influence is None and evidence.relevance is None


@pytest.mark.parametrize("queries", [{"ozone": [0]}, {"temperature": [768]}])
def test_tokens_that_are_not_there_are_refused(
    model: AtmoRep, weather: xr.Dataset, capture: AttentionCapture, queries: dict[str, list[int]]
) -> None:
    with pytest.raises(UserError, match="no token of the capture"):
        gather(model, weather, capture, queries=queries)


def test_heads_are_averaged_over_all_queries_or_equally_many_of_each_level_and_time(
    capture: AttentionCapture, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def table(capture: AttentionCapture, *, queries: Any = None) -> None:
        asked.append(queries)
        clock.now += 1

    monkeypatch.setattr(gathering, "head_table", table)
    gathering._heads(capture, 1.0)
    (sample,) = asked
    for name, field in capture.fields.items():
        level, slot, *place = np.unravel_index(sample[name], field.mask.shape)
        assert (np.bincount(level) == 30).all() and (np.bincount(slot) == 20).all()
        assert [len(set(part)) > 10 for part in place] == [False, True]  # of 8 and of 16
        assert len(set(sample[name])) == 60
    gathering._heads(capture, 100.0)
    assert asked[2] is None


def test_fields_that_are_not_predicted_are_not_asked_about() -> None:
    record = wave(times=12, names=(WIND, HEAT))
    fields = [f.model_copy(update={"loss_weight": float(f.name == WIND)}) for f in coupled_fields()]
    model = ready_model(tiny_model(*fields), record)
    evidence = Evidence.of(model, record, record.time.values[5], latitude=45, longitude=5, forecasts=2)
    assert [name for name, _ in evidence.queries] == [WIND] and evidence.influence is not None
    evidence = Evidence.of(
        ready_model(tiny_model(*coupled_fields(), predict="field"), record),
        record, record.time.values[5], latitude=45, longitude=5,
    )  # fmt: skip
    assert evidence.influence is None and evidence.rollout is not None
