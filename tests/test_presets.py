"""The presets are valid, can be planned and trained, and the published ones have the published sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from atmorep_lite.config import PRESETS, Config, load_config, parse_config
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.loop import train
from atmorep_lite.training.planning.plan import count_weights, plan

NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
#: Presets whose data come with the package; the data of the others are the reader's.
SHIPPED_DATA = {"demo", "talk"}


@pytest.mark.parametrize("name", NAMES)
def test_preset_loads_and_builds(name: str) -> None:
    with torch.device("meta"):
        AtmoRep(load_config(name).model)


@pytest.mark.parametrize("name", NAMES)
def test_preset_says_what_it_takes(name: str) -> None:
    """Every preset begins with what it is; time, memory and loss on stated hardware are in its comment."""
    head = (PRESETS / f"{name}.yaml").read_text().split("data:\n")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    for word in ("time", "memory", "loss"):
        assert word in head.lower(), f"{name}.yaml says nothing of {word}"


@pytest.mark.parametrize(
    ("name", "processes", "gpu"),
    [
        ("demo", 1, None),
        ("talk", 1, None),
        ("shipped", 1, None),
        ("era5_t2m_uk", 1, None),
        ("era5", 8, "H100"),
        ("paper_single", 4, "A100"),
        ("talk_full", 32, "A100"),
    ],
)
def test_preset_fits_the_hardware_that_it_names(name: str, processes: int, gpu: str | None) -> None:
    found = plan(load_config(name), processes=processes, gpu=gpu)
    own = [p for p in found.problems if "data:" not in p and "checkpoints would take" not in p]
    assert not own
    if name in SHIPPED_DATA:
        assert all(data.usable for data in found.data)


def small(name: str) -> Config:
    """A preset's own settings on the shipped atmosphere: three fields, a tiny network, two steps a stage."""
    tree: dict[str, Any] = load_config(name).model_dump(mode="json", exclude_none=True)
    model = tree["model"]
    there = {
        "vorticity", "divergence", "u_component_of_wind", "v_component_of_wind", "temperature",
        "geopotential", "specific_humidity",
    }  # fmt: skip
    if name == "era5_t2m_uk":
        model["fields"][0]["name"] = "temperature"
    model["fields"] = [f for f in model["fields"] if f["name"] in there][:3]
    names = {f["name"] for f in model["fields"]}
    for f in model["fields"]:
        f |= {"levels": [500, 850], "embed_dim": 32, "num_tokens": [3, 2, 4], "token_size": [2, 4, 4]}
        f["coupled_to"] = [other for other in f["coupled_to"] if other in names]
        if "context" in f:
            f["context"] = {"num_tokens": [3, 2, 4], "token_size": [2, 4, 4], "coarsen": 2}
    model |= {"heads": 2, "encoder_layers": 2, "decoder_layers": 1, "members": 3}
    if "grid_skip" in model:
        model["grid_skip"] |= {"width": 8, "blocks": 1}
        model["grid_skip"]["forecast_steps"] = 2 if model["grid_skip"]["forecast_steps"] else 0
    if "subpatches" in model:
        model["subpatches"] |= {"size": [2, 2, 2], "width": 16}
    tree["masking"]["forecast_slots"] = 1
    tree["data"] |= {
        "train": "train",
        "validation": "validation",
        "train_period": ["2001-01-02", "2001-02-20"],
        "validation_period": ["2010-01-21", "2010-01-30"],
        "workers": 0,
    }
    training = tree["training"]
    training |= {"compile": False, "trackers": [], "validate_every": 2}
    parts: dict[str, dict[str, Any]] = {stage["part"]: stage for stage in training["stages"]}
    training["stages"] = [stage | {"steps": 2, "batch_size": 4} for stage in parts.values()]
    return parse_config(tree)


@pytest.mark.parametrize("name", NAMES)
def test_a_small_version_trains(name: str, tmp_path: Path) -> None:
    losses = []
    model = train(small(name), tmp_path / "run", report=lambda progress: losses.append(progress.loss))
    assert model is not None
    assert losses
    assert all(0 <= loss < 1e3 for loss in losses)


def test_paper_has_the_published_number_of_parameters() -> None:
    """The published log prints 741,136,272; 144 of them are in a net that is never used."""
    assert count_weights(load_config("paper"))[2] == 741_136_272 - 144


def test_paper_single_has_the_published_number_of_parameters() -> None:
    """The published log prints 117,656,336; 144 of them are in a net that is never used."""
    assert count_weights(load_config("paper_single"))[2] == 117_656_336 - 144
