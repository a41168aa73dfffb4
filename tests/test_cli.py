"""Bad input on the command line: one sentence that names the thing, exit code 2, nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from atmorep_lite import cli

Run = Callable[..., str]

SMALL = """
data: {{train: {data}, validation: {data}}}
model:
  predict: departure
  encoder_layers: 1
  decoder_layers: 1
  heads: 2
  members: 2
  fields:
    - {{name: temperature, levels: [500], embed_dim: 32, num_tokens: [3, 2, 2], token_size: [2, 2, 2]}}
training:
  stages: [{{steps: 2, batch_size: 2}}]
"""


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A small global record of temperature, as NetCDF."""
    rng = np.random.default_rng(0)
    path = tmp_path / "record.nc"
    xr.Dataset(
        {
            "temperature": (
                ("time", "level", "latitude", "longitude"),
                rng.normal(280, 5, (12, 1, 6, 8)).astype(np.float32),
            )
        },
        coords={
            "time": np.datetime64("2001-01-01", "ns") + np.arange(12) * np.timedelta64(3, "h"),
            "level": [500],
            "latitude": np.linspace(75, -75, 6),
            "longitude": np.arange(8) * 45.0,
        },
    ).to_netcdf(path)
    return path


@pytest.fixture
def config(tmp_path: Path, record: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.format(data=record))
    return path


@pytest.fixture
def fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line; it must leave with 2 and one line on stderr, which is returned."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["atmorep-lite", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr().err.strip()
        assert end.value.code == 2
        assert "\n" not in said and said.startswith("atmorep-lite: ")
        assert (
            not list(tmp_path.rglob("*unfinished*")) and not (tmp_path / "run" / "model.safetensors").exists()
        )
        return said

    return run


def test_training_works(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["atmorep-lite", "train", str(config), "--run-dir", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert (tmp_path / "run" / "model.safetensors").stat().st_size > 1000


def test_unknown_preset(fails: Run) -> None:
    said = fails("train", "dmeo")
    assert "dmeo" in said and "demo" in said


def test_missing_data_file(fails: Run, config: Path, tmp_path: Path) -> None:
    assert "nowhere.zarr" in fails("train", config, "data.train=nowhere.zarr", "--run-dir", tmp_path / "run")


def test_unknown_key(fails: Run, config: Path, tmp_path: Path) -> None:
    assert "model.encodr_layers" in fails(
        "train", config, "model.encodr_layers=3", "--run-dir", tmp_path / "run"
    )


def test_level_as_text(fails: Run, config: Path, tmp_path: Path) -> None:
    said = fails("train", config, "model.fields.0.levels=[500hPa]", "--run-dir", tmp_path / "run")
    assert "500hPa" in said and "levels" in said


def test_level_that_the_data_lack(fails: Run, config: Path, tmp_path: Path) -> None:
    said = fails("train", config, "model.fields.0.levels=[700]", "--run-dir", tmp_path / "run")
    assert "700" in said and "500" in said


def test_field_that_the_data_lack(fails: Run, config: Path, tmp_path: Path) -> None:
    said = fails("train", config, "model.fields.0.name=vorticity", "--run-dir", tmp_path / "run")
    assert "vorticity" in said and "temperature" in said


def test_grid_too_small(fails: Run, config: Path, tmp_path: Path) -> None:
    said = fails("train", config, "model.fields.0.token_size=[2, 4, 2]", "--run-dir", tmp_path / "run")
    assert "latitude" in said and "6" in said and "8" in said


def test_nan_in_the_data(fails: Run, config: Path, record: Path, tmp_path: Path) -> None:
    data = xr.load_dataset(record)
    data["temperature"][5, 0, 2, 3] = np.nan
    data.to_netcdf(record)
    said = fails("train", config, "--run-dir", tmp_path / "run")
    assert "temperature" in said and "NaN" in said


def test_truncated_checkpoint(
    fails: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_training_works(config, tmp_path, monkeypatch)
    broken = tmp_path / "broken"
    shutil.copytree(tmp_path / "run", broken)
    shutil.rmtree(tmp_path / "run")
    whole = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "model.safetensors" in fails("evaluate", broken, "--out", tmp_path / "skill.csv")
    assert not (tmp_path / "skill.csv").exists()


def test_only_damaged_checkpoints(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    (run / "checkpoints" / "0-000200").mkdir(parents=True)
    (run / "checkpoints" / "0-000200" / "plain.json").write_text("{")
    (run / "config.yaml").write_text(config.read_text())
    monkeypatch.setattr("sys.argv", ["atmorep-lite", "train", str(run), "--run-dir", str(run), "--resume"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    warned, said = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2
    assert "0-000200 is damaged" in warned and warned.startswith("Warning: ")
    assert "none of the checkpoints" in said


def test_nothing_to_resume(fails: Run, config: Path, tmp_path: Path) -> None:
    assert "resume" in fails("train", config, "--run-dir", tmp_path / "run", "--resume")


def test_a_run_is_not_overwritten(fails: Run, config: Path, tmp_path: Path) -> None:
    precious = tmp_path / "run" / "checkpoints" / "0-000200" / "plain.json"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"precious")
    assert "--resume" in fails("train", config, "--run-dir", tmp_path / "run")
    assert precious.read_bytes() == b"precious"


def test_unknown_model(fails: Run, tmp_path: Path) -> None:
    assert "nonsuch" in fails("evaluate", "nonsuch", "--out", tmp_path / "skill.csv")
