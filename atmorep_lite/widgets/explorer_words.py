"""The words around an attention explorer's maps that do not change while one looks: legend, notes, help."""

from __future__ import annotations

from typing import Any

from atmorep_lite.widgets.rows import Meta

SEPARATE = (
    "Self-attention heads and coupling heads are separate softmaxes: each map is part of one that sums to "
    "100\u00a0% over all places, levels and times of its field. Shares of different fields do not compete."
)
TOGETHER = (
    "All maps are parts of one softmax that sums to 100\u00a0% over all places and times, in one scale."
)


def words_of(meta: Meta) -> dict[str, Any]:
    """Words for the page.

    Returns
    -------
    ``{"legend": [[symbol, text], ...], "note": about the softmax, "accuracy": about the number format,
    "help": with names of keys in braces}``
    """
    note = TOGETHER if meta["panels"] == "times" else SEPARATE
    return {"legend": _legend(meta), "note": note, "accuracy": _accuracy(meta), "help": _help(meta)}


def _legend(meta: Meta) -> list[list[str]]:
    by_time, plane = meta["panels"] == "times", meta["fields"][0]["plane"]
    slots = max(field["shape"][0] * (1 if by_time else field["shape"][1]) for field in meta["fields"])
    elsewhere = "at another time" if by_time else "in another field, level or time"
    lines = [["query", f"query token; dashed: its place {elsewhere}"]]
    if meta["hidden"]:
        lines.append(["hidden", "hidden from the model"])
    if "error" in meta["allowed"]["view"]:
        lines.append(["error", "error: prediction minus truth, known where a token was hidden"])
    lines += [
        ["half", "the strongest tokens: together they hold half of the softmax"],
        ["uniform", "on the colour bar: uniform attention"],
        ["difference", "red: more attention than what it is compared with; blue: less"],
    ]
    if slots > 1:
        lines.append(["slots", f"share of every level{'' if by_time else ' and time'}; click one to show it"])
    if "wind" in meta:
        wind, only = meta["wind"], "" if meta["interval"] or not plane else " (direction only)"
        lines += [
            ["arrow", wind["text"]],
            [
                "origin",
                f"where the {wind['name']} at the query came from, at each earlier time: x − u·Δt{only}",
            ],
            [
                "centre",
                "where attention (in a comparison its excess) centres on the map's level at that time",
            ],
        ]
    return lines


def _accuracy(meta: Meta) -> str:
    bound, rows = meta["accuracy"]["bound"], meta["accuracy"]["rows"]
    kept = f"Queries and keys are kept as {meta['precision']}: weights "
    if bound < 1e-7:
        return f"{kept}are exact."
    peak = f"{100 * bound:.2g}\u00a0% of their row's peak"
    return f"{kept}differ from exact ones by at most {peak} ({rows} rows measured, temperature 1)."


def _help(meta: Meta) -> str:
    by_time = meta["panels"] == "times"
    fields, levels = len(meta["fields"]) > 1, max(field["shape"][0] for field in meta["fields"]) > 1
    return "".join(
        (
            "Hover over a map to try tokens of its time; "
            if by_time
            else "Hover over the query's map to try tokens; ",
            "click or tap to lock one (again, or {Esc}, to release). ",
            "Click another map to ask from that field. " if fields else "",
            "Keys on a map: {←}{↑}{↓}{→} move the query, with {Shift} its time",
            " and level" if levels else "",
            "; {[}{]} layer; {,}{.} head; {A}{B} pin the query; {Enter} ask from this ",
            "time." if by_time else "field.",
            " {Page Up}{Page Down} step through the scenes." if meta["scenes"] else "",
        )
    )
