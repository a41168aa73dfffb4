"""Where weights come from: told completely, recognised again, without folders of this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from atmorep_lite import __version__
from atmorep_lite.errors import UserError
from atmorep_lite.training.resume.provenance import (
    check_same_data,
    command,
    fingerprint,
    other_code,
    provenance,
)
from tests.tiny import tiny_run, wave


def told(**options):
    data = wave(times=12).assign_attrs(title="Waves", history="made on /scratch/somebody")
    return provenance(tiny_run(), {"train": data, "validation": wave(times=8)}, **options)


def test_what_is_told() -> None:
    first = told(processes=2)
    train = first["data"]["train"]
    assert (
        train["name"] == "wave" and train["sizes"]["time"] == 12 and train["attributes"] == {"title": "Waves"}
    )
    assert train["time"] == [str(t.astype("datetime64[m]")) for t in wave(times=12).time.values[[0, -1]]]
    (entry,) = first["history"]
    assert (
        entry["versions"]["torch"] == torch.__version__ and entry["versions"]["atmorep_lite"] == __version__
    )
    assert entry["processes"] == 2 and entry["from"] == [0, 0]
    second = told(position=(1, 5), earlier=json.loads(json.dumps(first)))
    assert second["history"][0] == entry and second["history"][1]["from"] == [1, 5]
    assert str(Path.cwd()) not in json.dumps(second) and "/scratch" not in json.dumps(second)
    assert other_code(first, second) is None
    check_same_data(first, second)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.isel(time=slice(1, None)),
        lambda data: data.assign_coords(latitude=data.latitude + 0.25),
        lambda data: data.assign_coords(time=data.time + np.timedelta64(1, "h")),
        lambda data: data.rename(temperature="vorticity"),
    ],
)
def test_other_data_are_refused(change) -> None:
    data = wave(times=12)
    assert fingerprint(data) == fingerprint(wave(times=12).chunk(time=3)) != fingerprint(change(data))
    first, second = (provenance(tiny_run(), {"train": d}) for d in (data, change(data)))
    with pytest.raises(UserError, match="the data in wave have changed since the run was started") as caught:
        check_same_data(first, second)
    assert "\n" not in str(caught.value)


def test_other_versions_are_told() -> None:
    first, second = told(), told()
    second["history"][-1]["versions"]["torch"] = "9.9"
    second["history"][-1]["code"] = "another"
    second["history"][-1]["threads"] = 99
    sentence = other_code(first, second)
    assert sentence is not None and "torch was" in sentence and "code of atmorep_lite" in sentence
    assert "threads were" in sentence and "are 99" in sentence


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["/home/me/.venv/bin/atmorep-lite", "train", "/home/me/mine.yaml", "--run-dir=/scratch/me/run"],
            "atmorep-lite train mine.yaml --run-dir=run",
        ),
        (
            [
                "/x/atmorep_lite/training/__main__.py",
                "train",
                "demo",
                "data.train=/data/era5",
                "--run-dir",
                "/y/run",
            ],
            "python -m atmorep_lite.training demo data.train=/data/era5 --run-dir run",
        ),
        (["/usr/lib/ipykernel_launcher.py", "-f", "/home/me/kernel.json"], None),
    ],
)
def test_the_command_without_folders_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str | None
) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    assert command() == expected
