"""What is known beside a capture, as it travels to the page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from atmorep_lite.attention_maps import AttentionCapture, head_table
from atmorep_lite.attention_maps.weights import joint_index
from atmorep_lite.errors import UserError
from atmorep_lite.widgets.evidence import Evidence, pack_evidence
from atmorep_lite.widgets.packing import Buffer
from tests.widgets.planes import plane_capture
from tests.widgets.synthetic_evidence import make_evidence, middle


@pytest.fixture(scope="module")
def evidence(capture: AttentionCapture) -> Evidence:
    return make_evidence(capture)


def test_nothing_known_leaves_an_atlas_for_the_page(capture: AttentionCapture) -> None:
    buffer = Buffer()
    packed = pack_evidence(Evidence(), capture, buffer)
    assert list(packed) == ["atlas"] and packed["atlas"]["rows"] is None
    assert [q["label"] for q in packed["atlas"]["quantities"]] == [
        "mean distance (km)",
        "entropy, relative to uniform",
        "mean time of keys (h)",
        "mean level of keys (hPa)",
    ]
    assert buffer.bytes() == b""


def test_flow_is_in_the_order_of_the_capture(capture: AttentionCapture, evidence: Evidence) -> None:
    assert evidence.flow is not None
    shuffled = evidence.flow.isel(query_field=[3, 0, 4, 1, 2], key_field=[4, 3, 2, 1, 0]).transpose()
    packed = pack_evidence(Evidence(flow=shuffled), capture, Buffer())["flow"]
    expected = evidence.flow.values
    values = np.array(packed["values"], dtype=float)  # None becomes NaN
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    names = list(capture.fields)
    lacking = values[:, names.index("temperature"), names.index("specific_humidity")]
    assert np.isnan(lacking).all() and np.isnan(values).sum() == lacking.size
    assert packed["layers"] == [0, 1, 2, 3]


def test_heads_are_told_as_keys_minus_query(capture: AttentionCapture) -> None:
    table = head_table(capture, queries=[0, 500])
    atlas = pack_evidence(Evidence(heads=table), capture, Buffer())["atlas"]
    rows = atlas["rows"]
    assert "Means over 2 query tokens of each field." in atlas["note"]
    assert len(rows) == len(table) == 4 * sum(pair.q.shape[1] for pair in capture.pairs.values())
    for row, (_, known) in zip(rows, table.iterrows(), strict=True):
        assert (row["query"], row["key"]) == (known.query_field, known.key_field)
        assert (row["layer"], row["head"]) == (known.layer, known["head"])
        assert row["time"] == pytest.approx(-known.lag_h, rel=1e-5)
        assert row["level"] == pytest.approx(known.level_offset, rel=1e-5)
        assert row["distance"] == pytest.approx(known.distance_km, rel=1e-5)


def test_heads_on_a_plane_need_no_kilometres() -> None:
    capture = plane_capture()
    atlas = pack_evidence(Evidence(heads=head_table(capture, queries=[0, 700])), capture, Buffer())["atlas"]
    rows = atlas["rows"]
    assert [q["unit"] for q in atlas["quantities"]] == ["box units", "", "frames"]  # one level
    assert len(rows) == 4 and all(0 < row["distance"] < 2 * np.pi for row in rows)


def test_ablation_is_in_order_of_loss(capture: AttentionCapture, evidence: Evidence) -> None:
    assert evidence.ablation is not None
    table = evidence.ablation.copy()
    table.loc[0, "loss"] = np.nan  # what is not known is not shown
    mean = table.assign(field="mean")
    packed = pack_evidence(Evidence(ablation=pd.concat([table, mean])), capture, Buffer())["ablation"]
    assert [one["label"] for one in packed["tables"]] == [
        "all fields (mean)",
        "eastward wind",
        "northward wind",
    ]
    for one in packed["tables"][1:]:
        known = table[table.field == one["value"]].dropna(subset="loss")
        assert [row["loss"] for row in one["rows"]] == pytest.approx(
            sorted(known.loss, reverse=True), rel=1e-5
        )
        assert one["rows"][0]["low"] == pytest.approx(known.low[known.loss.idxmax()], rel=1e-5)
    assert "8 forecasts" in packed["note"]


def test_rows_lose_less_than_a_thousandth(capture: AttentionCapture, evidence: Evidence) -> None:
    buffer = Buffer()
    buffer.add(np.zeros(3, np.uint8))  # something stands before
    packed = pack_evidence(evidence, capture, buffer)["rests"]
    assert packed["queries"] == [[name, middle(capture)] for name in capture.fields]
    assert [measure["name"] for measure in packed["measures"]] == ["attention", "rollout", "influence"]
    for measure in packed["measures"][1:]:
        exact = getattr(evidence, measure["name"]).values
        read = np.frombuffer(buffer.bytes(), "<f2", exact.size, measure["at"]).reshape(exact.shape)
        known = np.isfinite(exact)
        assert (np.isfinite(read) == known).all()
        most = np.nanmax(exact, axis=1, keepdims=True)
        assert np.abs(read - exact / most)[known].max() < 1e-3


def test_only_what_belongs_to_the_fields_comes_along(capture: AttentionCapture, evidence: Evidence) -> None:
    assert evidence.rollout is not None
    names = list(capture.fields)
    labels = np.repeat(names, 768)
    labelled = evidence.rollout.assign_coords(key_field=("key", labels))
    wanted = ["temperature", "vorticity"]  # in another order
    part = AttentionCapture({name: capture.fields[name] for name in wanted}, {})
    buffer = Buffer()
    packed = pack_evidence(Evidence(queries=evidence.queries, rollout=labelled), part, buffer)["rests"]
    assert packed["queries"] == [["vorticity", middle(capture)], ["temperature", middle(capture)]]
    read = np.frombuffer(buffer.bytes(), "<f2").reshape(2, 2, 768)
    exact = evidence.rollout.values.reshape(5, 5, 768)[[2, 3]][:, [3, 2]]
    np.testing.assert_allclose(read, exact / exact.max(axis=(1, 2), keepdims=True), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"queries": (("temperature", 10_000),)}, "no token of the capture"),
        ({"queries": (("ozone", 0),)}, "no token of the capture"),
        ({"queries": (("temperature", 3),)}, "1 queries and 3840 keys"),
        ({"influence": xr.DataArray(np.full((5, 3840), -1.0))}, "negative"),
        ({"rollout": xr.DataArray(np.full((5, 3840), np.inf))}, "infinite"),
        ({"flow": xr.DataArray(np.zeros((2, 2)), dims=("query_field", "key_field"))}, "field_flow"),
    ],
)
def test_evidence_of_another_capture_is_refused(
    capture: AttentionCapture, evidence: Evidence, change: dict, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        pack_evidence(replace(evidence, **change), capture, Buffer())


@pytest.mark.parametrize("label", ["time", "longitude"])
def test_keys_of_another_time_or_place_are_refused(
    capture: AttentionCapture, evidence: Evidence, label: str
) -> None:
    assert evidence.rollout is not None
    step = np.timedelta64(6, "h") if label == "time" else 5.0
    moved = {n: replace(f, **{label: getattr(f, label) + step}) for n, f in capture.fields.items()}
    for fields, fits in ((capture.fields, True), (moved, False)):
        rollout = evidence.rollout.assign_coords(joint_index("key", fields))
        given = Evidence(queries=evidence.queries, rollout=rollout)
        if fits:
            assert "rests" in pack_evidence(given, capture, Buffer())
        else:
            with pytest.raises(UserError, match=f"another {label}"):
                pack_evidence(given, capture, Buffer())


def test_tables_without_a_column_are_refused(capture: AttentionCapture, evidence: Evidence) -> None:
    assert evidence.ablation is not None
    heads = head_table(capture, queries=[0]).drop(columns="lag_h")
    with pytest.raises(UserError, match="lag_h"):
        pack_evidence(Evidence(heads=heads), capture, Buffer())
    with pytest.raises(UserError, match="low"):
        pack_evidence(Evidence(ablation=evidence.ablation.drop(columns="low")), capture, Buffer())


def test_flow_of_other_fields_is_refused(capture: AttentionCapture, evidence: Evidence) -> None:
    assert evidence.flow is not None
    with pytest.raises(UserError, match="temperature"):
        flow = evidence.flow.drop_sel(query_field="temperature", key_field="temperature")
        pack_evidence(Evidence(flow=flow), capture, Buffer())


def test_too_many_queries_are_refused(capture: AttentionCapture) -> None:
    queries = tuple(("temperature", token) for token in range(768)) * 6
    rollout = xr.DataArray(np.broadcast_to(np.float32(1), (len(queries), 3840)))
    with pytest.raises(UserError, match="at most 3906"):
        pack_evidence(Evidence(queries=queries, rollout=rollout), capture, Buffer())
