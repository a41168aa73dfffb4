"""What an attention explorer shows: the first view, and what becomes of a wish to see something else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from atmorep_lite.attention_maps import nearest
from atmorep_lite.errors import UserError
from atmorep_lite.widgets.explorer import among, is_number
from atmorep_lite.widgets.rows import Meta, attention_rows, find_field, token_count

ENTRIES = (
    "query_field",
    "query",
    "layer",
    "head",
    "coupling_head",
    "key_level",
    "key_hours",
    "temperature",
    "view",
    "scale",
    "compare",
    "by",
    "arrows",
    "upstream",
    "show",
    "pin_a",
    "pin_b",
)
NEEDS = {
    "query": (),
    "A": ("pin_a",),
    "B": ("pin_b",),
    "A minus B": ("pin_a", "pin_b"),
}  # pins of each `show`


def first_view(meta: Meta, data: bytes) -> dict[str, Any]:
    """The middle token of a field's last level and newest time, in the last layer.

    The keys shown are the level and time that hold most of its attention, all fields taken together; in an
    explorer of times, keys of the query's own field.
    """
    pair = next((p for p in meta["pairs"] if p["query"] == p["key"]), meta["pairs"][0])
    asked, shown = find_field(meta, pair["query"]), find_field(meta, pair["key"])
    levels, times, rows, columns = asked["shape"]
    middle = (levels - 1, times - 1, rows // 2, columns // 2)
    query = int(np.ravel_multi_index(middle, asked["shape"]))
    layer = meta["layers"][-1]
    shares: dict[tuple[float, float], float] = {}
    for other in meta["pairs"]:
        if other["query"] == asked["name"]:
            key = find_field(meta, other["key"])
            slots = attention_rows(meta, data, other, query, layer, "mean", 1.0).mean(axis=0).sum(axis=(2, 3))
            for (level, time), share in np.ndenumerate(slots):
                place = key["level"][level], key["hours"][time]
                shares[place] = shares.get(place, 0.0) + share
    key_level, key_hours = max(shares, key=shares.__getitem__)
    first = {
        "query_field": asked["name"],
        "query": query,
        "layer": layer,
        "head": "mean",
        "coupling_head": "mean",
        "key_level": key_level,
        "key_hours": key_hours,
        "temperature": 1.0,
        "view": "attention",
        "scale": "linear",
        "compare": "nothing",
        "by": "minus",
        "arrows": False,
        "upstream": False,
        "show": "query",
        "pin_a": None,
        "pin_b": None,
    }
    return {**first, "key_field": shown["name"]} if meta["panels"] == "times" else first


def complete(meta: Meta, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The wish with all entries: those left out stay as before; every entry checked.

    A new query field without a query gets the token nearest to the one before.

    Raises
    ------
    UserError
        Where an entry is unknown or names something that the explorer does not have.
    """
    entries = (*ENTRIES, "key_field") if meta["panels"] == "times" else ENTRIES
    unknown = sorted(set(wanted) - set(entries))
    if unknown:
        raise UserError(f"selected has no entries {unknown}: use some of {entries}.")
    merged = {**before, **{entry: plain(value) for entry, value in wanted.items()}}
    if not {"show", "pin_a", "pin_b"} & set(wanted) and {"query", "query_field"} & set(wanted):
        merged["show"] = "query"
    if before and before.get("key_field") == before["query_field"] and "key_field" not in wanted:
        merged["key_field"] = merged["query_field"]
    if before and "query" not in wanted and merged["query_field"] != before["query_field"]:
        merged["query"] = _same_place(meta, before, merged["query_field"])
    check_query(meta, merged["query_field"], merged["query"])
    for kind in ("key_level", "key_hours"):
        if not is_number(merged[kind]):
            raise UserError(f"selected[{kind!r}] is {merged[kind]!r}, where a number was expected.")
    merged["query"] = int(merged["query"])
    for kind, allowed in meta["allowed"].items():
        found = among(allowed, merged[kind])
        if not found:
            told = kind.replace("_", " ")
            raise UserError(f"The {told} {merged[kind]!r} is unknown: choose one of {list(allowed)}.")
        (merged[kind],) = found
    check_temperature(merged["temperature"])
    for name in ("pin_a", "pin_b"):
        merged[name] = _pin(meta, name, merged[name])
    if missing := [pin for pin in NEEDS[merged["show"]] if merged[pin] is None]:
        raise UserError(f"To show {merged['show']!r}, set {' and '.join(missing)} too.")
    return merged


def choices(meta: Meta) -> dict[str, tuple[Any, ...]]:
    """Values that entries with few values may take; the page reads them too."""
    names = tuple(field["name"] for field in meta["fields"])
    errors = ("error",) if any("error" in field for field in meta["fields"]) else ()
    windy = (False, True) if "wind" in meta else (False,)
    return {
        **({"key_field": names} if meta["panels"] == "times" else {}),
        "layer": tuple(meta["layers"]),
        "head": ("mean", *_heads(meta, own=True)),
        "coupling_head": ("mean", *_heads(meta, own=False)),
        "view": ("attention", "contours", "field", *errors),
        "scale": ("linear", "root"),
        "compare": ("nothing", "uniform", *(reference["name"] for reference in meta["references"])),
        "by": ("minus", "ratio"),
        "arrows": windy,
        "upstream": windy,
        "show": tuple(NEEDS),
    }


def scenes_of(
    meta: Meta, scenes: Iterable[Mapping[str, Any]], first: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Scenes for the page, each with all entries of ``selected``: those it leaves out as in the first view.

    Raises
    ------
    UserError
        Where a scene has no name or cannot be shown.
    """
    if isinstance(scenes, str | Mapping) or not isinstance(scenes, Iterable):
        raise UserError(f"The scenes are {scenes!r}, where a list of dicts, each with a name, was expected.")
    made: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, 1):
        if not isinstance(scene, Mapping):
            raise UserError(f"Scene {number} is {scene!r}, where a dict with a name was expected.")
        name, text = scene.get("name"), scene.get("text", "")
        if not isinstance(name, str) or not name.strip() or not isinstance(text, str):
            raise UserError(f"Scene {number} is called {name!r}: give it a name, and words as its text.")
        wish = {entry: value for entry, value in scene.items() if entry not in ("name", "text")}
        try:
            shown = complete(meta, wish, first)
        except UserError as error:
            raise UserError(f"Scene {number}, {name!r}, cannot be shown: {error}") from None
        made.append({"name": name, "text": text, "selected": shown})
    return made


def _pin(meta: Meta, name: str, pin: Any) -> dict[str, Any] | None:
    """A pin with a whole number as its query; `UserError` unless it is None or names a token."""
    if pin is None:
        return None
    if not isinstance(pin, Mapping) or set(pin) != {"query_field", "query"}:
        raise UserError(f"selected[{name!r}] is {pin!r}: give a query_field and a query, or None.")
    check_query(meta, pin["query_field"], pin["query"])
    return {"query_field": pin["query_field"], "query": int(pin["query"])}


def check_query(meta: Meta, name: str, query: int) -> None:
    """Raise `UserError` unless the field is there and has the token."""
    tokens = token_count(find_field(meta, name))
    if not is_number(query) or query != int(query) or not 0 <= query < tokens:
        raise UserError(f"The query {query!r} of {name} is unknown: choose a token from 0 to {tokens - 1}.")


def check_temperature(temperature: float) -> None:
    """Raise `UserError` unless the temperature is a positive number."""
    if not is_number(temperature) or not temperature > 0:
        raise UserError(f"The temperature is {temperature!r}, where a positive number was expected: try 1.")


def nearest_token(
    field: dict[str, Any], latitude: float, longitude: float, level: float | None, hours: float
) -> int:
    """Index of the token whose latitude, longitude, level and time are each nearest to those given.

    Raises
    ------
    UserError
        For a place that is none on the globe, or what is no number.
    """
    for name, number in (
        ("latitude", latitude),
        ("longitude", longitude),
        ("level", level),
        ("hours", hours),
    ):
        if not (is_number(number) or (name == "level" and number is None)):
            said = {"latitude": "y", "longitude": "x"}.get(name, name) if field["plane"] else name
            raise UserError(f"The {said} of the token is {number!r}, where a finite number was expected.")
    if not field["plane"] and not abs(latitude) <= 90:
        raise UserError(f"There is no latitude {latitude:g}: give -90 to 90 degrees north.")
    tall, wide = field["period"] or ((None, None) if field["plane"] else (None, 360.0))
    places = (
        nearest(field["level"], field["level"][-1] if level is None else level),
        nearest(field["hours"], hours),
        nearest(field["latitude"], latitude, period=tall),
        nearest(field["longitude"], longitude, period=wide),
    )
    return int(np.ravel_multi_index(places, field["shape"]))


def plain(value: Any) -> Any:
    """A NumPy number as one that JSON knows."""
    return value.item() if isinstance(value, np.generic) else value


def _heads(meta: Meta, *, own: bool) -> list[int]:
    """Numbers of the self-attention heads, or of the coupling heads, of any field."""
    lists = [pair["heads"] for pair in meta["pairs"] if (pair["query"] == pair["key"]) == own]
    return sorted({head for heads in lists for head in heads})


def _same_place(meta: Meta, before: Mapping[str, Any], name: str) -> int:
    """Token of field ``name`` nearest to the query before."""
    old = find_field(meta, before["query_field"])
    level, time, row, column = np.unravel_index(before["query"], old["shape"])
    place = old["latitude"][row], old["longitude"][column], old["level"][level], old["hours"][time]
    return nearest_token(find_field(meta, name), *place)
