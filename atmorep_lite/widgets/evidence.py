"""What else is known about a model's attention, and how it travels to the page of an attention explorer.

Shares of attention do not tell what matters: they cannot be compared between softmaxes, and a head that looks
somewhere need not use what it sees. Here is what can be compared and checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from atmorep_lite.attention_maps import AttentionCapture
from atmorep_lite.attention_maps.weights import joint_index
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS
from atmorep_lite.widgets.checks import token_shape
from atmorep_lite.widgets.packing import Buffer

if TYPE_CHECKING:
    import pandas as pd

    from atmorep_lite.model import AtmoRep

MEASURES = {
    "attention": (
        "Attention",
        "of the layer and heads in the maps; every field is a softmax of its own: no shares",
    ),
    "rollout": ("Rollout", "attention of all layers and fields multiplied, with the residual stream"),
    "relevance": ("Gradient × attention", "attention weighted by how much the prediction changes with it"),
    "influence": (
        "Influence",
        "how much the prediction changes with each visible token (norm of the Jacobian; shares: its squares)",
    ),
}
WORDS = {
    "flow": {
        "title": "Switchboard: what arrives from which field",
        "note": "Rows read, columns are read from. Each number is the size of what arrives, ‖α V W_out‖, for "
        "one unit of the stream that it is added to. Attention mass cannot be compared between fields: "
        "the softmaxes of self-attention and of every coupling are separate, each sums to 100\u00a0%. These "
        "norms can.",
    },
    "atlas": {
        "title": "Head atlas: what kind of head is where",
        "note": "A point is a head, in the colour of the field that asks; a diamond is a coupling, its rim "
        "the field that is read. Larger: a deeper layer; ringed: open in the maps, click one to open it. "
        "Times and levels are those of the keys minus the query's.",
        "keys": "Heads as points: arrow keys move, Enter opens one in the maps",
    },
    "rests": {
        "title": "Evidence: what this query’s forecast rests on",
        "claim": "Attention is not yet an explanation: it says where a head looks, not what the forecast "
        "does with it. Influence asks the model itself; where the two rank tokens differently, attention has "
        "not explained the forecast.",
        "note": "Maps are summed over levels and times, in a square-root scale. Shares of influence are "
        "those of the squares of its norms, which add; norms do not. Hidden: what the model did not see. "
        "ρ: rank correlation with influence over the visible tokens.",
    },
    "ablation": {
        "title": "Causal check: what the forecast loses without a connection",
        "note": "A cut connection carries nothing; all else is as trained. A model trained without it would "
        "have found other ways, so this is an upper limit.",
    },
}
QUANTITIES = {  # label, then unit and step of what is written, on the sphere and on a plane
    "distance": ("mean distance", ("km", 1.0), ("box units", 0.01)),
    "entropy": ("entropy, relative to uniform", ("", 0.01), ("", 0.01)),
    "time": ("mean time of keys", ("h", 0.1), ("frames", 0.01)),
    "level": ("mean level of keys", ("hPa", 1.0), ("levels", 0.01)),
}
MOST_BYTES = 30_000_000  # of all measures on one page


@dataclass(frozen=True)
class Evidence:
    """Numbers beside a capture; every one may be missing, and its panel is then not shown.

    Parameters
    ----------
    flow
        [layer, query_field, key_field] from :func:`~atmorep_lite.attention_maps.field_flow`.
    heads
        From :func:`~atmorep_lite.attention_maps.head_table`; where missing, the page measures the heads
        itself, over a sample of queries.
    ablation
        From :func:`~atmorep_lite.attention_maps.head_ablation`.
    queries
        (field, token index) of every row of the three that follow.
    rollout, relevance, influence
        [query, key], keys of all fields one after another in the order of the capture: from
        :func:`~atmorep_lite.attention_maps.rollout`, :func:`~atmorep_lite.attention_maps.key_relevance` and
        :func:`~atmorep_lite.attention_maps.influence`; none negative, NaN where a key was hidden.
    """

    flow: xr.DataArray | None = None
    heads: pd.DataFrame | None = None
    ablation: pd.DataFrame | None = None
    queries: tuple[tuple[str, int], ...] = ()
    rollout: xr.DataArray | None = None
    relevance: xr.DataArray | None = None
    influence: xr.DataArray | None = None

    @classmethod
    def of(cls, model: AtmoRep, dataset: xr.Dataset, time: str | np.datetime64, **options: Any) -> Evidence:
        """Measure everything within bounded time; see :func:`~atmorep_lite.widgets.gathering.gather`."""
        from atmorep_lite.widgets.gathering import gather

        return gather(model, dataset, time, **options)


def pack_evidence(evidence: Evidence, capture: AttentionCapture, buffer: Buffer) -> dict[str, Any]:
    """What the page reads: small tables as they are, rows of keys in the buffer. The atlas needs no evidence.

    Raises
    ------
    UserError
        Where the evidence was not measured on the tokens of this capture, or at another time or place.
    """
    packed: dict[str, Any] = {}
    if sum(pair.q.shape[0] * pair.q.shape[1] for pair in capture.pairs.values()) > 1:
        rows = None if evidence.heads is None else _pack_heads(evidence.heads, capture)
        words = dict(WORDS["atlas"])
        if evidence.heads is not None:
            words["note"] += _averaged(evidence.heads, capture)
        packed["atlas"] = {"rows": rows, "quantities": _quantities(capture), **words}
    if evidence.flow is not None:
        packed["flow"] = _pack_flow(evidence.flow, list(capture.fields))
    if evidence.ablation is not None and len(evidence.ablation):
        packed["ablation"] = _pack_ablation(evidence.ablation, list(capture.fields))
    measured = {name: rows for name in MEASURES if (rows := getattr(evidence, name, None)) is not None}
    if measured and evidence.queries:
        queries, measured = _of_fields(evidence.queries, measured, list(capture.fields))
        if queries:
            packed["rests"] = _pack_rows(queries, measured, capture, buffer)
    return packed


def _pack_flow(flow: xr.DataArray, names: list[str]) -> dict[str, Any]:
    if set(flow.dims) != {"layer", "query_field", "key_field"}:
        raise UserError(
            f"The flow has the axes {flow.dims}, where (layer, query_field, key_field) were expected: take "
            "it from field_flow without per_head."
        )
    known = set(flow["query_field"].values) & set(flow["key_field"].values)
    missing = sorted(set(names) - known)
    if missing:
        raise UserError(
            f"The flow does not know the fields {missing} of the capture: measure it on the same model."
        )
    ordered = flow.sel(query_field=names, key_field=names).transpose("layer", "query_field", "key_field")
    layers = flow["layer"].values.astype(int).tolist()
    return {"layers": layers, "values": _plain(ordered.values), **WORDS["flow"]}


def _quantities(capture: AttentionCapture) -> list[dict[str, Any]]:
    """What is told about a head; no times or levels where every field has one."""
    several = {
        axis: any(len(getattr(f, axis)) > 1 for f in capture.fields.values()) for axis in ("time", "level")
    }
    quantities = []
    for name, (label, *kinds) in QUANTITIES.items():
        unit, step = kinds[capture.geometry == "plane"]
        if several.get(name, True):
            label = f"{label} ({unit})" if unit else label
            signed = name in several
            quantities.append({"value": name, "label": label, "unit": unit, "step": step, "signed": signed})
    return quantities


def _pack_heads(heads: pd.DataFrame, capture: AttentionCapture) -> list[dict[str, Any]]:
    """Rows of the atlas; times and levels are those of the keys minus those of the query."""
    plane = capture.geometry == "plane"
    columns = {"entropy": "entropy", "distance": "distance" if plane else "distance_km"}
    columns |= {"time": "lag" if plane else "lag_h", "level": "level_offset"}
    needed = ("query_field", "key_field", "layer", "head", *columns.values())
    if missing := [name for name in needed if name not in heads]:
        raise UserError(
            f"The table of heads has no column {missing[0]}, where {', '.join(needed)} were expected: take "
            "it from head_table of this capture."
        )
    rows = []
    for row in heads.to_dict("records"):
        numbers = {name: _figures(row[column]) for name, column in columns.items()}
        numbers["time"] = None if numbers["time"] is None else -numbers["time"]
        rows.append(_names(row) | {"layer": int(row["layer"]), "head": int(row["head"])} | numbers)
    return rows


def _averaged(heads: pd.DataFrame, capture: AttentionCapture) -> str:
    """Over how many tokens the table was averaged, in words."""
    if "queries" not in heads:
        return " Means over query tokens."
    counts = heads.groupby("query_field")["queries"].max()
    if all(
        count == capture.fields[name].mask.size for name, count in counts.items() if name in capture.fields
    ):
        return " Means over all query tokens."
    least, most = counts.min(), counts.max()
    return f" Means over {least if least == most else f'{least} to {most}'} query tokens of each field."


def _pack_ablation(table: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    needed = ("query_field", "key_field", "layer", "head", "field", "loss", "low", "high")
    if missing := [name for name in needed if name not in table]:
        raise UserError(
            f"The ablation has no column {missing[0]}, where {', '.join(needed)} were expected: take it from "
            "head_ablation."
        )
    scored = sorted(
        table["field"].unique(), key=lambda name: (name != "mean", names.index(name) if name in names else 0)
    )
    tables = []
    for name in scored:
        ordered = table[table["field"] == name].dropna(subset="loss").sort_values("loss", ascending=False)
        rows = [
            _names(row)
            | {"layer": int(row["layer"]), "head": int(row["head"])}
            | {number: _figures(row[number]) for number in ("loss", "low", "high")}
            for row in ordered.to_dict("records")
            if {row["query_field"], row["key_field"]} <= set(names)
        ]
        label = FIELDS[name].long_name if name in FIELDS else name.replace("_", " ")
        tables.append(
            {"value": name, "label": "all fields (mean)" if name == "mean" else label, "rows": rows}
        )
    forecasts = int(table["neighbourhoods"].max()) if "neighbourhoods" in table else 1
    words = dict(WORDS["ablation"])
    if forecasts > 1:
        words["note"] += (
            f" Means over {forecasts} forecasts; lines are 95\u00a0% intervals (jackknife, Student’s t) as "
            "if these were independent: where they overlap or share their weather, they are too narrow."
        )
    return {"tables": tables, **words}


def _of_fields(
    queries: tuple[tuple[str, int], ...], measured: dict[str, xr.DataArray], names: list[str]
) -> tuple[tuple[tuple[str, int], ...], dict[str, xr.DataArray]]:
    """Without queries and keys of fields that did not come along, where the keys are labelled."""
    if not all("key_field" in array.coords for array in measured.values()):
        return queries, measured
    asked = [i for i, (field, _) in enumerate(queries) if field in names]
    kept = {}
    for measure, array in measured.items():
        fields = array["key_field"].values
        keys = np.concatenate([np.flatnonzero(fields == name) for name in names])
        kept[measure] = array[asked, keys]
    return tuple(queries[i] for i in asked), kept


def _pack_rows(
    queries: tuple[tuple[str, int], ...],
    measured: dict[str, xr.DataArray],
    capture: AttentionCapture,
    buffer: Buffer,
) -> dict[str, Any]:
    """Rows as float16 relative to the row's greatest; the page makes shares of them."""
    sizes = {name: int(np.prod(token_shape(field))) for name, field in capture.fields.items()}
    for field, token in queries:
        if not 0 <= token < sizes.get(field, 0):
            raise UserError(
                f"The evidence has a query {token} of {field}, which is no token of the capture: measure it "
                "on the same tokens."
            )
    keys = sum(sizes.values())
    if 2 * len(measured) * len(queries) * keys > MOST_BYTES:
        most = MOST_BYTES // (2 * len(measured) * keys)
        raise UserError(
            f"The evidence has {len(queries)} queries, where at most {most} of {keys} keys fit on a page: "
            "measure fewer queries."
        )
    measures = [_measure("attention")]
    for name, array in measured.items():
        _check_labels(name, array, capture)
        if array.shape != (len(queries), keys):
            raise UserError(
                f"The {name} has the shape {array.shape}, where {len(queries)} queries and {keys} keys, of "
                "all fields of the capture, were expected: measure it on the tokens of the capture."
            )
        rows = np.asarray(array.values, dtype=np.float64)
        if np.isinf(rows).any() or (rows < 0).any():
            raise UserError(f"The {name} holds negative or infinite numbers, where sizes were expected.")
        most = np.nanmax(rows, axis=1, keepdims=True, initial=1e-300)
        measures.append(_measure(name) | {"at": buffer.add((rows / most).astype(np.float16))})
    named = [[field, int(token)] for field, token in queries]
    return {"queries": named, "measures": measures, **WORDS["rests"]}


def _check_labels(name: str, array: xr.DataArray, capture: AttentionCapture) -> None:
    """Raise `UserError` where keys are labelled with other places or times than the capture's."""
    plane = capture.geometry == "plane"
    for label, coordinate in joint_index("key", capture.fields, plane=plane).items():
        if label == "key" or label not in array.coords:
            continue
        ours, theirs = coordinate.values, array[label].values
        dates = "field" in str(label) or "time" in str(label)
        if ours.shape == theirs.shape and (
            not (ours == theirs).all() if dates else not np.allclose(ours, theirs, rtol=1e-6, atol=1e-4)
        ):
            raise UserError(
                f"The {name} has another {str(label).removeprefix('key_')} of its keys than the capture: "
                "measure it at the same time and place."
            )


def _measure(name: str) -> dict[str, Any]:
    title, what = MEASURES[name]
    return {"name": name, "title": title, "what": what}


def _names(row: dict[Any, Any]) -> dict[str, Any]:
    return {"query": str(row["query_field"]), "key": str(row["key_field"])}


def _figures(value: Any) -> float | None:
    """Six figures are more than the page shows."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _plain(values: np.ndarray) -> Any:
    if values.ndim == 0:
        return _figures(values)
    return [_plain(value) for value in values]
