"""One screen about a dataset, and the same as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import atmorep_lite as ar
from atmorep_lite import load_config, open_sample
from atmorep_lite.cli import app
from atmorep_lite.data.info import describe_dataset, missing_for

MODEL = load_config("demo").model


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of the sample without vorticity, with a hole in time and a NaN."""
    sample = open_sample().isel(time=[0, 1, 2, 5, *range(6, 16)]).drop_vars("vorticity").load()
    sample["temperature"][0, 0, 0, 0] = np.nan
    path = tmp_path_factory.mktemp("info") / "days.nc"
    sample.to_netcdf(path)
    return path


def test_describes_what_is_there() -> None:
    sample = open_sample()
    found = json.loads(json.dumps(describe_dataset(sample, times=None)))
    assert found["time"] == {"steps": 40, "from": "2010-01-20T03:00", "to": "2010-01-25T00:00", "hours": 3.0}
    assert found["levels"] == {"kind": "hPa", "values": [500, 700, 850]}
    assert found["grid"]["global"] and found["simulated"] and found["findings"] == []
    temperature = found["fields"]["temperature"]
    assert temperature["mean"] == pytest.approx(float(sample.temperature.mean(dtype=np.float64)))
    assert (temperature["units"], temperature["known"]) == ("K", True)


def test_what_a_configuration_lacks() -> None:
    sample = open_sample()
    assert missing_for(sample, MODEL) == []
    assert missing_for(sample.drop_vars("vorticity"), MODEL) == []  # it follows from the wind
    poor = sample.drop_vars(["vorticity", "v_component_of_wind"]).isel(time=slice(0, 3)).sel(level=[500, 700])
    assert missing_for(poor, MODEL) == [
        "vorticity is missing",
        "u_component_of_wind is missing on level 850",
        "v_component_of_wind is missing",
        "temperature is missing on level 850",
        "specific_humidity is missing on level 850",
        "time has 3 points, a neighbourhood needs 12",
    ]


def test_command_line(store: Path, tmp_path: Path) -> None:
    picture = tmp_path / "map.png"
    shown = CliRunner().invoke(app, ["data", "info", str(store), "--config", "demo", "--map", str(picture)])
    assert shown.exit_code == 0, shown.output
    for words in (
        "14 steps",
        "specific_humidity",
        "temperature: 1 of the",
        "time: 2 of the 3-hourly times",
        "Nothing is missing",
    ):
        assert words in shown.output
    assert picture.stat().st_size > 10_000
    told = CliRunner().invoke(app, ["data", "info", str(store), "--json"])
    found = json.loads(told.output)
    assert {f["kind"] for f in found["findings"]} == {
        "missing times",
        "not finite",
    } and "missing" not in found


def test_a_prepared_store_is_known_as_one(tmp_path: Path) -> None:
    out = tmp_path / "ready.zarr"
    source = str(Path(ar.__file__).parent / "data" / "sample.zarr.zip")
    arguments = [
        "data",
        "prepare",
        source,
        str(out),
        "--field",
        "temperature",
        "--until",
        "2010-01-21",
        "--gaps",
        "2",
    ]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    shown = CliRunner().invoke(app, ["data", "info", str(out)])
    for words in ("for training, complete", "2010-01-21T21:00, every 3 h", "500, 700, 850", "level  "):
        assert words in shown.output
    lacking = CliRunner().invoke(app, ["data", "info", str(out), "--config", "demo"])
    assert lacking.exit_code == 1 and "vorticity is missing" in lacking.output


def test_longitudes_of_a_region_across_zero_are_told_as_usual(tmp_path: Path) -> None:
    sample = open_sample()[["temperature"]].load()
    region = sample.isel(longitude=[*range(60, 64), *range(4)])
    region = region.assign_coords(
        longitude=[*sample.longitude.values[60:], *sample.longitude.values[:4] + 360]
    )
    region.to_netcdf(tmp_path / "region.nc")
    shown = CliRunner().invoke(app, ["data", "info", str(tmp_path / "region.nc")])
    assert "longitude  8 points, 337.5 to 16.875" in shown.output, shown.output
