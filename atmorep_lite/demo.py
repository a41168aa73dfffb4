"""The demonstration: train a small AtmoRep on the shipped atmosphere, forecast the held-out record, show the skill."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import Console

from atmorep_lite.applications.forecast import forecast
from atmorep_lite.attention_capture import capture_attention
from atmorep_lite.baselines import climatology, fit_ridge, persistence
from atmorep_lite.config import load_config
from atmorep_lite.data.samples import open_sample
from atmorep_lite.model import AtmoRep
from atmorep_lite.report import print_skill, write_skill
from atmorep_lite.training.loop import train
from atmorep_lite.training.progress import ProgressBar
from atmorep_lite.verification import skill_table

LEADS = (3, 6, 12, 24)
#: Where the explorer and the maps look: the North Atlantic.
CENTRE = {"latitude": 45.0, "longitude": 320.0}


def run_demo(out: Path, *, resume: bool = False, console: Console | None = None) -> bool:
    """Train, forecast, score, draw; False if training was stopped (and can be resumed).

    ``out`` receives ``run/`` (weights, log), ``skill.csv``, ``skill.png``, ``forecast_*.png`` and
    ``attention.html``.
    """
    console = console or Console()
    run = out / "run"
    if not resume:
        shutil.rmtree(run, ignore_errors=True)
    console.print("Training on the shipped simulated atmosphere: first the grid-scale skip, then the transformer.")
    with ProgressBar(console) as bar:
        model = train(load_config("demo"), run, resume=resume, report=bar)
    if model is None:
        return False
    truth, record = open_sample("test"), open_sample("train")
    times = initial_times(truth)
    console.print(f"Forecasting {len(times)} days of the held-out record ...")
    forecasts = compare(model, record, truth, times, every_row=True)
    table = skill_table(forecasts, truth, LEADS)
    write_skill(table, out / "skill.csv")
    print_skill(table, console)
    draw(model, truth, forecasts["atmorep_lite"], times, table, out)
    console.print(f"Written to {out}: skill.csv, skill.png, forecast_*.png and attention.html; open the last in a browser.")
    return True


def initial_times(truth: xr.Dataset, every_hours: int = 27) -> np.ndarray:
    """Initial times spread over a record, with room for history before and 24 h after.

    27 hours apart by default, so that every hour of the day occurs.
    """
    times = truth["time"].values
    step = int((times[1] - times[0]) / np.timedelta64(1, "h"))
    first, last = 24 // step, len(times) - 24 // step
    return times[first : last : max(1, every_hours // step)]


def compare(
    model: AtmoRep, record: xr.Dataset, truth: xr.Dataset, times: np.ndarray, *, every_row: bool
) -> dict[str, xr.Dataset]:
    """Forecasts of the model and of what it must beat, by name; ridge is fitted to ``record`` here.

    ``every_row=False`` leaves out the ridge regression, which takes about half a minute.
    """
    fields = list(model.predicted)
    levels = sorted({level for name in fields for level in model.config.field(name).levels})
    past, now = (d[fields].sel(level=levels).load() for d in (record, truth))
    forecasts = {
        "persistence": persistence(now, times, LEADS),
        "climatology": climatology(past, now, times, LEADS),
    }
    if every_row:
        forecasts["ridge"] = fit_ridge(past, fields, levels, LEADS).forecast(now, times)
    if model.grid_skip is not None:
        forecasts["convolution"] = forecast(model, truth, times, first_guess=True, members=False)
    forecasts["atmorep_lite"] = forecast(model, truth, times)
    return forecasts


def draw(
    model: AtmoRep, truth: xr.Dataset, predicted: xr.Dataset, times: np.ndarray, table: pd.DataFrame, out: Path
) -> None:
    """Figures of the skill and of one 24-hour forecast, and the stand-alone attention explorer."""
    from atmorep_lite.plotting import forecast_maps, save_figure, skill_plot
    from atmorep_lite.widgets import AttentionExplorer

    save_figure(skill_plot(table), out / "skill.png")
    time = times[len(times) // 2]
    for name in ("vorticity", "temperature"):
        figure = forecast_maps(truth, predicted, name, level=500, lead_hours=24, time=time)
        save_figure(figure, out / f"forecast_{name}.png")
    capture = capture_attention(model, truth, time, **CENTRE)
    AttentionExplorer(capture, title="What the demo model attends to").to_html(out / "attention.html")
