"""A real month: train on hourly ERA5 2 m temperature over the British Isles, forecast the last week.

    python benchmarks/era5_region.py path/to/era5-2mt-2019-03-uk.grib

The file is the tutorial sample of that name in github.com/pydata/xarray-data.  Prints the root mean square
error 1 to 6 hours ahead, beside persistence, the state a day before the valid time, and the mean of the
training weeks.
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np
from rich.console import Console
from rich.table import Table

from atmorep_lite import forecast, load_config, open_dataset, train
from atmorep_lite.training.watch.progress import ProgressBar
from atmorep_lite.verification import area_weights

FIELD = "2m_temperature"
LEADS = (1, 3, 6)


def main(path: str) -> None:
    config = load_config("era5_t2m_uk", [f"data.train={path}", f"data.validation={path}"])
    with tempfile.TemporaryDirectory() as run, ProgressBar() as bar:
        model = train(config, f"{run}/run", report=bar)
    if model is None:
        sys.exit("stopped")
    data = open_dataset(path).load()
    assert config.data.train_period and config.data.validation_period
    held_out = data.sel(time=slice(*config.data.validation_period))
    times = held_out.time.values[24:-6:3]
    predicted = forecast(model, held_out, times, members=False)[FIELD].isel(level=0)
    guess = forecast(model, held_out, times, members=False, first_guess=True)[FIELD].isel(level=0)
    mean = data[FIELD].sel(time=slice(*config.data.train_period)).mean("time")
    weights = area_weights(data.latitude)

    def rmse(error) -> float:
        return float(np.sqrt((error**2).weighted(weights).mean()))

    table = Table(
        title=f"RMSE in K over {len(times)} forecasts from {str(times[0])[:16]} to {str(times[-1])[:16]}"
    )
    table.add_column("")
    for lead in LEADS:
        table.add_column(f"{lead} h", justify="right")
    rows: dict[str, list[float]] = {}
    for lead in LEADS:
        hours = np.timedelta64(lead, "h")
        truth = data[FIELD].sel(time=times + hours).drop_vars("time")
        day_before = data[FIELD].sel(time=times + hours - np.timedelta64(24, "h")).drop_vars("time")
        start = data[FIELD].sel(time=times).drop_vars("time")
        for name, other in {
            "persistence": start,
            "a day before": day_before,
            "mean of the training weeks": mean,
            "convolution": guess.sel(prediction_timedelta=hours).drop_vars("time"),
            "atmorep_lite": predicted.sel(prediction_timedelta=hours).drop_vars("time"),
        }.items():
            rows.setdefault(name, []).append(rmse(other - truth))
    for name, values in rows.items():
        table.add_row(name, *(f"{value:.2f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        print("skipped: it needs the path of the GRIB file;", __doc__)
