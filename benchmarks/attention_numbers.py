"""Time of every number behind an attention map, on the shipped model.

    python benchmarks/attention_numbers.py [table.md]

CPU seconds on one thread for one neighbourhood of 5 fields x 768 tokens, 3 layers, 4 self heads and up to 3
couplings a field; and what it says of one place.  About a minute.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import atmorep_lite as ar
from atmorep_lite.attention_maps import (
    Neighbourhood,
    bias_only,
    capture_attention,
    capture_many,
    displacement,
    field_flow,
    forecast_batches,
    gradient_attention,
    head_ablation,
    head_table,
    influence,
    key_relevance,
    map_arrows,
    mean_capture,
    neighbourhood,
    rollout,
    upstream_arrows,
)
from atmorep_lite.attention_maps.displacement_table import compare
from atmorep_lite.flows import SIDE
from atmorep_lite.zoo import VortexFormer
from atmorep_lite.zoo.looking import INTERVAL, SLOTS, TEST, looking_trajectories

PLACE = {"latitude": 45.0, "longitude": 320.0}
FIELD = "vorticity"


def influence_against_wind(
    model: ar.AtmoRep, capture: ar.AttentionCapture, cube: Neighbourhood
) -> dict[str, float]:
    """Arrows of the influence on tokens of the first hidden slot whose air comes from more than 400 km."""
    shape = capture.fields[FIELD].mask.shape
    first = np.ravel_multi_index(np.indices(shape)[:, :, 1:2, 1:6, 2:14].reshape(4, -1), shape)
    seen, true = [], []
    for query in np.random.default_rng(0).permutation(first):
        asked = {"field": FIELD, "query": int(query)}
        way = upstream_arrows(capture, FIELD, FIELD, queries=[query], layers=[0], heads=[0], steps=6)
        if np.hypot(way.truth_north, way.truth_east).isel(key_time=0) < 400:
            continue
        found = influence(model, cube.tokens, cube.static, places=capture.fields, **asked, most=4) ** 2
        arrow = map_arrows(capture, found, **asked, steps=6).isel(key_time=0)
        seen.append([float(arrow.attention_north), float(arrow.attention_east)])
        true.append([float(arrow.truth_north), float(arrow.truth_east)])
        if len(seen) == 16:
            break
    return compare(torch.tensor(seen), torch.tensor(true))


def largest_loss(table: pd.DataFrame) -> str:
    """The coupling without which the field itself loses most, in words."""
    own = table[table["field"] == FIELD]
    most = own.loc[own["loss"].idxmax()]
    return f"most without {most['key_field']}: {most['loss']:+.2%} ± {most['standard_error']:.2%}"


def main(output: Path | None = None) -> None:
    """Measure, print, and write the table."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    model = ar.AtmoRep.from_pretrained("demo")
    weather = ar.open_sample("test").isel(time=slice(20, 80)).load()
    start = weather.time.values[20]
    rows: list[tuple[str, float, str]] = []

    def timed(name: str, function: Callable[[], Any], says: Callable[[Any], str]) -> Any:
        began = time.process_time()
        result = function()
        rows.append((name, time.process_time() - began, says(result)))
        print(f"{name}: {rows[-1][1]:.2f} s, {rows[-1][2]}", flush=True)
        return result

    capture_attention(model, weather, start, **PLACE)  # the first call loads what later ones have
    capture = timed(
        "`capture_attention`",
        lambda: capture_attention(model, weather, start, **PLACE),
        lambda c: f"{len(c.pairs)} pairs; error of vorticity {np.nanstd(c.fields[FIELD].error):.1e} s⁻¹",
    )
    cube = neighbourhood(model, weather, start, **PLACE)
    query = ar.token_at(capture.fields[FIELD], level=500, slot=1, **PLACE)
    asked = {"places": capture.fields, "field": FIELD, "query": query}

    def spread(values: Any) -> str:
        return f"{float(values.min()):.2f} to {float(values.max()):.2f} of the stream"

    timed("`field_flow`", lambda: field_flow(model, cube.tokens, cube.static), spread)
    flow = timed(
        "`field_flow`, per head", lambda: field_flow(model, cube.tokens, cube.static, per_head=True), spread
    )
    timed("`head_table`, all queries", lambda: head_table(capture), lambda t: f"{len(t)} heads")
    timed(
        "`head_table`, every 17th query",
        lambda: head_table(capture, queries=range(0, 768, 17)),
        lambda t: f"entropy {t.entropy.min():.2f} to {t.entropy.max():.2f}",
    )
    for name, null in (("plain", None), ("excess over the bias", bias_only(capture))):
        timed(
            f"`displacement`, {name}",
            lambda null=null: displacement(capture, against=null, steps=6),  # type: ignore[misc]
            lambda d: (
                f"mean angles of heads {float(d.angle.min()):.0f}° to {float(d.angle.max()):.0f}°, chance 90°"
            ),
        )
    for name, shares in (("equal shares", None), ("measured shares", flow)):
        timed(
            f"`rollout` of one token, {name}",
            lambda shares=shares: rollout(capture, queries={FIELD: [query]}, flow=shares),  # type: ignore[misc]
            lambda r: f"{float(r.sel(key_field=FIELD).sum()):.0%} from its own field",
        )
    exact = timed(
        "`influence`, exact (16 backward passes)",
        lambda: influence(model, cube.tokens, cube.static, **asked),
        lambda r: (
            f"{int((r > 0.1 * r.max()).sum())} of {int(r.notnull().sum())} tokens above 10 % of the largest"
        ),
    )
    timed(
        "`influence`, 4 random directions",
        lambda: influence(model, cube.tokens, cube.static, **asked, most=4),
        lambda r: (
            f"correlation with the exact one {np.corrcoef(r.dropna('key'), exact.dropna('key'))[0, 1]:.3f}"
        ),
    )
    timed(
        "`map_arrows` of `influence` (4 directions) for 16 tokens, 12 h ahead",
        lambda: influence_against_wind(model, capture, cube),
        lambda f: f"mean angle {f['angle']:.0f}°; truth of others {f['other_angle']:.0f}°, chance 90°",
    )
    tree = timed(
        "`gradient_attention`", lambda: gradient_attention(model, cube.tokens, cube.static, **asked),
        lambda t: f"{len(t.leaves)} pairs",
    )  # fmt: skip
    timed(
        "`key_relevance`",
        lambda: key_relevance(tree, places=capture.fields),
        lambda r: f"{float(r.sel(key_field=FIELD).sum() / r.sum()):.0%} from its own field",
    )
    samples = forecast_batches(model, weather, count=4, each=4)
    timed(
        "`head_ablation`, 3 couplings, 4 neighbourhoods",
        lambda: head_ablation(model, samples, kinds=("coupling",), listeners=[FIELD]),
        largest_loss,
    )
    days = capture_many(model, weather, weather.time.values[[10, 20, 30]], **PLACE)
    timed(
        "`mean_capture` of 3 days, 24 channels", lambda: mean_capture(days, channels=24),
        lambda c: f"{sum(p.q.nbytes + p.k.nbytes for p in c.pairs.values()) / 1e6:.0f} MB",
    )  # fmt: skip
    looker = VortexFormer.from_pretrained("vortices_looking")
    flat = looker.capture(looking_trajectories(1, frames=3, seed=TEST)[0])
    newest = range(2 * SLOTS**2, 3 * SLOTS**2)

    def says(d: Any) -> str:
        best = d.sel(lag=1).isel(pair=0, layer=1, head=0)
        return f"head 0 of layer 1: {float(best.angle):.0f}°; truth of others {float(best.other_angle):.0f}°"

    timed(
        "`displacement` of `vortices_looking`",
        lambda: displacement(
            flat,
            ahead=1.0,
            interval=INTERVAL,
            steps=4,
            queries=newest,
            least=SIDE / SLOTS,
            against=bias_only(flat),
        ),
        says,
    )
    if output is not None:
        lines = [f"| {name} | {seconds:.2f} | {what} |" for name, seconds, what in rows]
        output.write_text("\n".join(["| | CPU s | what it says |", "|---|---|---|", *lines]) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
