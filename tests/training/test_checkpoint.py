"""Saved models and training states: complete, atomic, and refused in one sentence when damaged."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from atmorep_lite import __version__
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.training import checkpoint
from atmorep_lite.training.checkpoint import load_model, load_state, save_model, save_state, write_atomically
from tests.tiny import HEAT, WIND, coupled_fields, random_tokens, ready_model, tiny_model, wave


@pytest.fixture(scope="module")
def model() -> AtmoRep:
    config = tiny_model(*coupled_fields(), locality=0.5, grid_skip={"width": 8, "blocks": 1})
    return ready_model(config, wave(names=(WIND, HEAT)), kind="anomaly")


@pytest.fixture
def folder(model: AtmoRep, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@torch.no_grad()
def test_a_model_survives_its_folder(model: AtmoRep, folder: Path) -> None:
    again = AtmoRep.from_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(checkpoint.FILES)
    assert again.run_config == model.run_config and not again.training
    tokens, static = random_tokens(model.config), torch.randn(2, 8, 4, 8)
    out, expected = again(tokens, static), model(tokens, static)
    for name in model.predicted:
        assert torch.equal(out[name].members, expected[name].members)
    data = wave(names=(WIND, HEAT))
    assert again.normalizer is not None and model.normalizer is not None
    assert again.normalizer.normalize(data).equals(model.normalizer.normalize(data))


@pytest.mark.parametrize("name", checkpoint.FILES)
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"is not a model folder: it lacks {name}"):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "normalization.nc"])
def test_truncated_file(folder: Path, name: str) -> None:
    truncate(folder / name)
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        load_model(folder)


def test_damaged_configuration(folder: Path) -> None:
    (folder / "config.yaml").write_text("model: {members: [")
    with pytest.raises(UserError, match=r"config\.yaml is not valid YAML"):
        load_model(folder)


def test_weights_of_another_configuration(folder: Path) -> None:
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("members: 3", "members: 4"))
    with pytest.raises(UserError, match=r"the weights in .* do not fit its config\.yaml \(.+\)") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_unknown_model() -> None:
    with pytest.raises(
        UserError, match=r"there is no model 'dmeo'; give a model folder or a shipped one's name"
    ):
        AtmoRep.from_pretrained("dmeo")


def test_a_shipped_name_is_not_hidden_by_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """`make demo` writes a folder called demo; "./demo" or a Path still means that folder."""
    monkeypatch.setattr(checkpoint, "PRETRAINED", folder.parent)
    (tmp_path / "work" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    assert checkpoint.find_pretrained("model") == folder
    for own in ("./model", Path("model")):
        assert checkpoint.find_pretrained(own).resolve() == tmp_path / "work" / "model"


def test_a_model_without_its_statistics_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run_config or normalizer"):
        save_model(tmp_path, AtmoRep(tiny_model()))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, lambda p: p.write_text("old"))

    def fail(p: Path) -> None:
        p.write_text("half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old" and [p.name for p in path.parent.iterdir()] == ["file"]
    write_atomically(path, lambda p: p.write_text("new"))
    assert path.read_text() == "new"


def test_a_state_survives_its_file(tmp_path: Path) -> None:
    state = {
        "stage": 1,
        "step": 3,
        "config": "a: 1",
        "model": {"w": torch.randn(3)},
        "optimizers": [{"a": [1, 2.5]}],
    }
    save_state(tmp_path / "state.pt", state)
    again = load_state(tmp_path / "state.pt")
    assert torch.equal(again.pop("model")["w"], state.pop("model")["w"]) and again == state


def test_damaged_state(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(UserError, match=r"nothing to resume: .* does not exist"):
        load_state(path)
    save_state(path, {"stage": 0, "w": torch.zeros(1000)})
    truncate(path)
    with pytest.raises(UserError, match="cannot be read; it is truncated or damaged"):
        load_state(path)
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="is not a training state"):
        load_state(path)


class Malicious:
    """Runs a command when unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "write", [lambda x, p: torch.save({"stage": x}, p), lambda x, p: p.write_bytes(pickle.dumps(x))]
)
def test_a_state_that_would_run_code_is_refused(tmp_path: Path, write) -> None:
    path, witness = tmp_path / "state.pt", tmp_path / "witness"
    write(Malicious(witness), path)
    with pytest.raises(UserError, match="cannot be read"):
        load_state(path)
    assert not witness.exists()
    torch.load(path, weights_only=False) if path.read_bytes()[:2] == b"PK" else pickle.loads(
        path.read_bytes()
    )
    assert witness.exists(), "the file was harmless, so this test showed nothing"


def test_numpy_scalars_are_refused_rather_than_unpickled(tmp_path: Path) -> None:
    """A state holds tensors and plain numbers only."""
    torch.save({"stage": np.float64(1.0)}, tmp_path / "state.pt")
    with pytest.raises(UserError, match="cannot be read"):
        load_state(tmp_path / "state.pt")


def test_weights_say_by_what_they_were_written_and_where_they_come_from(
    model: AtmoRep, tmp_path: Path, folder: Path
) -> None:
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["atmorep_lite"]) == {"format": 1, "version": __version__}
    assert not (folder / "provenance.json").exists()
    save_model(tmp_path / "trained", model, {"history": [{"date": "2026-01-01"}]})
    assert (
        json.loads((tmp_path / "trained/provenance.json").read_text())["history"][0]["date"] == "2026-01-01"
    )
    weights = [(where / "model.safetensors").read_bytes() for where in (folder, tmp_path / "trained")]
    assert weights[0] == weights[1], "no date or place is in the weights"
    modes = {path.stat().st_mode for path in (tmp_path / "trained").iterdir()}
    assert len(modes) == 1, "all files can be read by the same people"


def test_a_newer_format_is_told(folder: Path) -> None:
    path = folder / "model.safetensors"
    about = {"atmorep_lite": json.dumps({"format": 2, "version": "9.1"})}
    save_file(load_file(path), path, about)
    (folder / "config.yaml").write_text("what_nobody_knows_yet: 1")
    with pytest.raises(UserError, match=r"by atmorep_lite 9\.1 in format 2, .* update atmorep_lite"):
        load_model(folder)


def test_a_folder_with_weights_is_complete(
    model: AtmoRep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file cannot be written, a run is not taken for finished."""
    for number, name in enumerate((*checkpoint.FILES, "provenance.json")):

        def write(path: Path, how, name=name) -> None:
            if path.name == name:
                raise OSError("disk full")
            write_atomically(path, how)

        monkeypatch.setattr(checkpoint, "write_atomically", write)
        with pytest.raises(OSError, match="disk full"):
            save_model(tmp_path / str(number), model, {})
        assert not (tmp_path / str(number) / "model.safetensors").exists()
