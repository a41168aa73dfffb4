"""What attention is worth to the shipped model, and what its maps are without learning.

    python benchmarks/attention_controls.py [output.csv]

Cuts couplings and heads, hides whole fields, and measures maps beside controls, on the held-out record;
writes ``atmorep_lite/pretrained/demo/controls.csv``, which chapter 15 shows.  About six minutes on one core.
Every row: task, what was done, field or kind of head, quantity, mean over neighbourhoods, standard error.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

import atmorep_lite as ar
from atmorep_lite.ablation import (
    hidden_errors,
    hide_field,
    hide_future,
    randomise_encoder,
    silence_couplings,
    silence_heads,
)
from atmorep_lite.attention_maps import bias_only, field_flow, head_table
from atmorep_lite.attention_maps.measures import (
    mean_distance,
    mean_lag,
    mean_map,
    moved_share,
    share_within,
)
from atmorep_lite.data.sampling import Batch, Neighbourhoods
from atmorep_lite.stencils import fit_hidden_field, wind_vorticity

PLACES, EACH = 24, 6
CENTRES = ((45, 320), (0, 90), (-45, 60))
DATES = (40, 140, 250)
SLOT = 8 * 16  # tokens of one level and time slot
QUERIES = [slot * SLOT + place for slot in range(2 * 3) for place in range(3, SLOT, 21)]
OUTPUT = Path(ar.__file__).parent / "pretrained" / "demo" / "controls.csv"
Row = tuple[str, str, str, str, float, float]


def summary(task: str, what: str, quantity: str, values: pd.DataFrame | pd.Series) -> list[Row]:
    """Mean and standard error over the rows, one entry for each column."""
    frame = pd.DataFrame(values)
    error = frame.std() / len(frame) ** 0.5
    return [(task, what, str(c), quantity, float(frame[c].mean()), float(error[c])) for c in frame]


def cuts(model: ar.AtmoRep) -> dict[str, ar.AtmoRep]:
    """Copies of the model, by what was done to them."""
    out = {
        "all couplings silenced": silence_couplings(model),
        "all self heads silenced": silence_heads(model),
        "couplings and self heads silenced": silence_heads(silence_couplings(model)),
    }
    for heard in model.config.names:
        out[f"nobody hears {heard}"] = silence_couplings(model, heard=heard)
    for field in model.config.fields:
        for heard in field.coupled_to:
            out[f"{field.name} <- {heard}"] = silence_couplings(model, listener=field.name, heard=heard)
    return out


def forecast_losses(model: ar.AtmoRep, batches: list[Batch]) -> list[Row]:
    future = [hide_future(model, batch.tokens) for batch in batches]

    def errors(other: ar.AtmoRep, first_guess: bool = False) -> pd.DataFrame:
        parts = [
            hidden_errors(other, tokens, batch.static, first_guess=first_guess)
            for tokens, batch in zip(future, batches, strict=True)
        ]
        return pd.concat(parts, ignore_index=True)

    whole = errors(model)
    rows = summary("forecast", "whole model", "rmse", whole)
    runs = {"no transformer": errors(model, first_guess=True)}
    runs |= {what: errors(other) for what, other in cuts(model).items()}
    for what, table in runs.items():
        loss = table / whole - 1
        rows += summary("forecast", what, "loss", loss.assign(mean=loss.mean(axis=1)))
        print(what, f"{rows[-1][4]:+.4f} +- {rows[-1][5]:.4f}", flush=True)
    return rows


def hidden_fields(model: ar.AtmoRep, batches: list[Batch], references: dict[str, dict]) -> list[Row]:
    silent = silence_couplings(model)
    apart = silence_couplings(model)
    apart.grid_skip = None
    rows = []
    for name in model.config.names:
        found: dict[str, list] = {}
        for i, batch in enumerate(batches):
            tokens = hide_field(batch.tokens, name)
            truth = batch.tokens[name].values
            runs = {
                "whole model": hidden_errors(model, tokens, batch.static),
                "couplings silenced": hidden_errors(silent, tokens, batch.static),
                "convolution alone": hidden_errors(model, tokens, batch.static, first_guess=True),
                "streams alone": hidden_errors(apart, tokens, batch.static),
            }
            for what, table in runs.items():
                found.setdefault(what, []).extend(table[name])
            for what, guesses in references[name].items():
                miss = (guesses[i] - truth).square().flatten(1).mean(1).sqrt()
                found.setdefault(what, []).extend(miss.tolist())
            size = truth.square().flatten(1).mean(1).sqrt()
            found.setdefault("climatological mean", []).extend(size.tolist())
        table = pd.DataFrame(found)
        unit = (table["climatological mean"] ** 2).mean() ** 0.5
        gain = (table["couplings silenced"] - table["whole model"]) / unit  # of the same neighbourhoods
        rows += summary("hidden", "gain of couplings", "gain", gain.rename(name))
        for what in table:
            squares = (table[what] / unit) ** 2
            error = squares.mean() ** 0.5
            rows.append(
                ("hidden", what, name, "error", error, squares.std() / len(squares) ** 0.5 / (2 * error))
            )
            print(name, what, f"{error:.3f} +- {rows[-1][5]:.3f}", flush=True)
    return rows


def map_measures(model: ar.AtmoRep, weather: xr.Dataset) -> list[Row]:
    """Every kind of head beside its controls; the errors are over centres x dates."""
    networks = {"trained": [model], "random weights": [randomise_encoder(model, seed=s) for s in (1, 2, 3)]}
    measured: list[dict] = []
    for centre in CENTRES:
        place = dict(zip(("latitude", "longitude"), centre, strict=True))
        for what, group in networks.items():
            for network in group:
                captures = [
                    ar.capture_attention(network, weather, weather.time.values[d], **place) for d in DATES
                ]
                plain = bias_only(captures[0])
                for date, capture in zip(DATES, captures, strict=True):
                    where = (*centre, date)
                    measured += kinds(head_table(capture, queries=QUERIES), what, where)
                    if what == "trained":
                        measured += kinds(
                            head_table(bias_only(capture), queries=QUERIES), "bias alone", where
                        )
                        flat = [{"what": "uniform", "kind": k, "where": where} for k in ("self", "coupling")]
                        measured += [line | uniform(capture) for line in flat]
                for key in captures[0].pairs:
                    options = {"query_fields": [key[0]], "key_fields": [key[1]], "queries": QUERIES}
                    maps = [ar.attention_maps(c, **options)["/".join(key)]["attention"] for c in captures]
                    bias = ar.attention_maps(plain, **options)["/".join(key)]["attention"]
                    for i, date in enumerate(DATES):
                        others = mean_map(maps[:i] + maps[i + 1 :])
                        kind = "self" if key[0] == key[1] else "coupling"
                        line = {"what": what, "kind": kind, "where": (*centre, date)}
                        line["moved from day to day"] = float(moved_share(maps[i], others).mean())
                        line["moved from bias alone"] = float(moved_share(maps[i], bias).mean())
                        measured.append(line)
        print(centre, flush=True)
    per_place = pd.DataFrame(measured).groupby(["what", "kind", "where"]).mean()
    rows = []
    for (what, kind), table in per_place.groupby(["what", "kind"]):
        for quantity in table.columns[table.notna().any()]:
            values = table[quantity].rename(kind).reset_index(drop=True)
            rows += summary("maps", what, quantity, values)
    return rows


def kinds(table: pd.DataFrame, what: str, where: tuple) -> list[dict]:
    """Means over self heads and over couplings."""
    means = table.drop(columns=["layer", "head"]).groupby("kind").mean(numeric_only=True)
    return [{"what": what, "kind": k, "where": where} | line.to_dict() for k, line in means.iterrows()]


def uniform(capture: ar.AttentionCapture) -> dict[str, float]:
    """What equal weights on all keys would give."""
    weights = ar.attention_maps(
        capture, query_fields=["vorticity"], key_fields=["vorticity"], layers=[0], heads=[0], queries=QUERIES
    )["vorticity/vorticity"]["attention"]
    flat = xr.full_like(weights, 1 / weights.sizes["key"])
    measures = {
        "distance_km": mean_distance(flat),
        "lag_h": mean_lag(flat),
        "near": share_within(flat, 2000.0),
    }
    return {"entropy": 1.0} | {name: float(values.mean()) for name, values in measures.items()}


def main(output: Path = OUTPUT) -> None:
    torch.set_flush_denormal(True)
    model = ar.AtmoRep.from_pretrained("demo")
    names, levels = list(model.config.names), list(model.config.fields[0].levels)
    weather = ar.open_sample("test").load()
    data = Neighbourhoods(weather, model.config, model.normalizer)
    places = data.draw(PLACES, np.random.default_rng(1))
    groups = [places[i : i + EACH] for i in range(0, PLACES, EACH)]
    batches = [data.batch(group) for group in groups]
    rows = forecast_losses(model, batches)
    alone = [data.batch([place]) for place in places]
    sizes = [field_flow(model, hide_future(model, one.tokens), one.static) for one in alone]
    for listener in names:
        for heard in names:
            values = [float(s.sel(query_field=listener, key_field=heard).mean()) for s in sizes]
            if np.isfinite(values).all():
                rows += summary(
                    "arriving", f"{listener} <- {heard}", "size", pd.Series(values, name=listener)
                )
    record = ar.open_sample("train").isel(time=slice(None, None, 12)).load()
    references: dict[str, dict] = {}
    for name in names:
        others = [n for n in names if n != name]
        recovered = {
            "regression on 3 x 3 points": fit_hidden_field(record, name, others, levels).recover(weather)
        }
        if name == "vorticity":
            recovered["differences of the wind"] = wind_vorticity(
                weather["u_component_of_wind"], weather["v_component_of_wind"]
            )
        references[name] = {
            what: [
                part.tokens[name].values
                for part in map(
                    Neighbourhoods(
                        weather[names].sel(level=levels).assign({name: values.sel(level=levels)}),
                        model.config,
                        model.normalizer,
                    ).batch,
                    groups,
                )
            ]
            for what, values in recovered.items()
        }
    rows += hidden_fields(model, batches, references)
    rows += map_measures(model, weather)
    table = pd.DataFrame(rows, columns=["task", "what", "of", "quantity", "mean", "standard_error"])
    table.insert(
        4, "neighbourhoods", table["task"].map({"maps": len(CENTRES) * len(DATES)}).fillna(PLACES).astype(int)
    )
    table.to_csv(output, index=False, float_format="%.5g")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
