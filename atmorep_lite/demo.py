"""The demonstration: train on the shipped atmosphere, forecast the held-out record, show the skill."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import Console

from atmorep_lite.attention_maps.capture import capture_attention
from atmorep_lite.config import load_config
from atmorep_lite.data.samples import open_sample
from atmorep_lite.evaluation import LEADS, compare, initial_times
from atmorep_lite.model import AtmoRep
from atmorep_lite.report import print_skill, write_skill
from atmorep_lite.training.loop import train
from atmorep_lite.training.watch.progress import ProgressBar
from atmorep_lite.verification import skill_table

#: Where the explorer and the maps look: the North Atlantic.
CENTRE = (45.0, 320.0)


def run_demo(out: Path, *, resume: bool = False, console: Console | None = None) -> bool:
    """Train, forecast, score, draw; False if training was stopped (and can be resumed).

    ``out`` receives ``run/`` (weights, log), ``skill.csv``, ``skill.png``, ``forecast_*.png`` and
    ``attention.html``.
    """
    console = console or Console()
    run = out / "run"
    if not resume:
        shutil.rmtree(run, ignore_errors=True)
    console.print("Training on the shipped, simulated atmosphere: the grid-scale skip, then the transformer.")
    with ProgressBar(console) as bar:
        model = train(load_config("demo"), run, resume=resume, report=bar)
    if model is None:
        return False
    truth, record = open_sample("test"), open_sample("train")
    times = initial_times(truth, every_hours=51)
    console.print(f"Forecasting the held-out record from {len(times)} initial times ...")
    forecasts = compare(model, record, truth, times)
    table = skill_table(forecasts, truth, LEADS)
    write_skill(table, out / "skill.csv")
    print_skill(table, console)
    draw(model, truth, forecasts["atmorep_lite"], times, table, out)
    console.print(
        f"Written to {out}: skill.csv, skill.png, forecast_*.png, and attention.html for a browser."
    )
    return True


def draw(
    model: AtmoRep,
    truth: xr.Dataset,
    predicted: xr.Dataset,
    times: np.ndarray,
    table: pd.DataFrame,
    out: Path,
) -> None:
    """Figures of the skill and of one 24-hour forecast, and the stand-alone attention explorer."""
    from atmorep_lite.plotting import forecast_maps, save_figure, skill_plot
    from atmorep_lite.widgets import AttentionExplorer

    save_figure(skill_plot(table), out / "skill.png")
    time = times[len(times) // 2]
    for name in ("vorticity", "temperature"):
        figure = forecast_maps(truth, predicted, name, level=500, lead_hours=24, time=time)
        save_figure(figure, out / f"forecast_{name}.png")
    capture = capture_attention(model, truth, time, latitude=CENTRE[0], longitude=CENTRE[1])
    AttentionExplorer(
        capture, title="What the demo model attends to", caption="Simulated atmosphere."
    ).to_html(out / "attention.html")
