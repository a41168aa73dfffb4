"""Published checkpoint folders, there and back: golden networks, and folders made wrong on purpose."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from atmorep_lite.cli import app
from atmorep_lite.convert import config_from_published, config_to_published, weights_to_published
from atmorep_lite.convert_2023 import to_2023_names, to_2024_names
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep
from atmorep_lite.published import from_published, to_published
from tests.tiny import coupled_fields, random_tokens, tiny_model

FOLDER = Path(os.environ.get("ATMOREP_LITE_SHARED", "nowhere")) / "golden"
FILES = sorted(FOLDER.glob("golden_*field*.npz"))
needs_golden = pytest.mark.skipif(not FILES, reason="no golden/golden_*field*.npz under ATMOREP_LITE_SHARED")


def write_folder(folder: Path, settings: dict, state: dict, model_id: str = "abcd1234") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"model_id{model_id}.json").write_text(json.dumps({**settings, "wandb_id": model_id}))
    torch.save(state, folder / f"AtmoRep_id{model_id}.mod")
    return folder


def tiny_published(year: str = "2024", **changes: object) -> AtmoRep:
    torch.manual_seed(0)
    config = tiny_model(*coupled_fields(), decoder_layers=2, published=year, predict="field", **changes)
    return AtmoRep(config).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tiny_published()
    state = weights_to_published(model.config, model.state_dict())
    return write_folder(tmp_path / "theirs", config_to_published(model.config), state)


@needs_golden
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_golden_folder_there_and_back_is_bit_equal(file: Path, tmp_path: Path) -> None:
    z = np.load(file, allow_pickle=False)
    settings = json.loads(str(z["config_json"]))
    state = {k.removeprefix("param/"): torch.from_numpy(z[k]) for k in z.files if k.startswith("param/")}
    theirs = write_folder(tmp_path / "theirs", settings, state)
    from_published(theirs, tmp_path / "ours")
    back = to_published(tmp_path / "ours", tmp_path / "back")
    again = torch.load(back, weights_only=True)
    assert set(again) == set(state)
    assert all(torch.equal(again[name], state[name]) for name in state)
    assert back.name == "AtmoRep_idabcd1234.mod"
    settings_again = json.loads((tmp_path / "back" / "model_idabcd1234.json").read_text())
    assert settings_again == {**settings, "wandb_id": "abcd1234"}


def test_the_loaded_model_computes_the_same(folder: Path, tmp_path: Path) -> None:
    from_published(folder, tmp_path / "ours")
    model, original = AtmoRep.from_pretrained(tmp_path / "ours"), tiny_published()
    tokens = random_tokens(original.config)
    ours, theirs = model(tokens), original(tokens)
    assert all(torch.equal(ours[name].members, theirs[name].members) for name in theirs)


def test_settings_of_the_training_come_along(folder: Path, tmp_path: Path) -> None:
    path = folder / "model_idabcd1234.json"
    more = {"losses": ["mse_ensemble", "stats"], "batch_size": 4, "num_epochs": 3, "num_samples_per_epoch": 8}
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))
    run = from_published(folder, tmp_path / "ours").run_config
    assert run is not None
    assert (run.training.stages[0].steps, run.training.stages[0].batch_size) == (6, 4)
    assert run.training.loss == {"mse_ensemble": 1.0, "stats": 1.0}
    assert (run.masking.max_rate, run.masking.zero) == (0.5, 0.9)


@pytest.mark.parametrize("year", ["2023", "2024"])
def test_configuration_there_and_back(year: str) -> None:
    config = tiny_published(year).config
    assert config_from_published(config_to_published(config), year=year) == config


def test_heads_of_2023_are_stacked_as_documented() -> None:
    """By hand, for one layer: q, k, v of head 0, then head 1, ...; coupling queries; keys above values."""
    model = tiny_published("2023")
    config = model.config
    fused = weights_to_published(config, model.state_dict())
    old = to_2023_names(config, fused)
    assert not any("proj_heads" in name or ".ln_" in name for name in old)
    d = config.fields[0].embed_dim // config.heads
    matrix = fused["encoders.0.heads.1.proj_heads.weight"]
    for h in range(config.heads):
        for j, kind in enumerate(("qs", "ks", "vs")):
            rows = matrix[(3 * h + j) * d : (3 * h + j + 1) * d]
            assert torch.equal(old[f"encoders.0.heads.1.heads_self.{h}.proj_{kind}.weight"], rows)
    queries = fused["encoders.0.heads.0.proj_heads_other.0.weight"]
    for j in range(len(config.fields[0].coupled_to)):
        coupling = f"encoders.0.heads.0.heads_coupling.{j}"
        assert torch.equal(old[f"{coupling}.proj_qs.weight"], queries[j * d : (j + 1) * d])
        keys_values = fused[f"encoders.0.heads.0.proj_heads_other.{j + 1}.weight"]
        assert torch.equal(old[f"{coupling}.proj_ks.weight"], keys_values[:d])
        assert torch.equal(old[f"{coupling}.proj_vs.weight"], keys_values[d:])
    back = to_2024_names(config, old)
    assert set(back) == set(fused) and all(torch.equal(back[name], fused[name]) for name in fused)


def test_folder_of_2023_there_and_back(tmp_path: Path) -> None:
    model = tiny_published("2023")
    state = to_2023_names(model.config, weights_to_published(model.config, model.state_dict()))
    theirs = write_folder(tmp_path / "theirs", config_to_published(model.config), state)
    loaded = from_published(theirs, tmp_path / "ours")
    assert loaded.config.published == "2023"
    tokens = random_tokens(model.config)
    for name, ensemble in model(tokens).items():
        assert torch.equal(loaded(tokens)[name].members, ensemble.members)
    again = torch.load(to_published(tmp_path / "ours", tmp_path / "back"), weights_only=True)
    assert set(again) == set(state) and all(torch.equal(again[name], state[name]) for name in state)


def test_a_shared_net_of_token_information_serves_every_field(tmp_path: Path) -> None:
    model = tiny_published()
    state = weights_to_published(model.config, model.state_dict())
    shared = {"embed_token_info.weight": torch.randn(16, 8), "embed_token_info.bias": torch.randn(16)}
    theirs = write_folder(tmp_path / "theirs", config_to_published(model.config), state | shared)
    loaded = from_published(theirs, tmp_path / "ours")
    for embedding in loaded.embeddings.values():
        assert torch.equal(embedding.info.weight, shared["embed_token_info.weight"])
    again = torch.load(to_published(tmp_path / "ours", tmp_path / "back"), weights_only=True)
    assert all(torch.equal(again[name], tensor) for name, tensor in (state | shared).items())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "AtmoRep_idabcd1234.mod").unlink(), "AtmoRep_idabcd1234.mod"),
        (lambda f: (f / "model_idabcd1234.json").unlink(), "one model_id"),
        (lambda f: (f / "model_idabcd1234.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "model_idabcd1234.json").write_text('{"fields": []}'), "fields_prediction"),
        (lambda f: (f / "AtmoRep_idabcd1234.mod").write_bytes(b"PK\x03\x04 torn"), "truncated"),
        (lambda f: (f / "AtmoRep_idabcd1234.mod").write_bytes(pickle.dumps(os.getcwd)), "more than tensors"),
        (lambda f: torch.save([1], f / "AtmoRep_idabcd1234.mod"), "state dict"),
    ],
    ids=[
        "no weights",
        "no settings",
        "torn settings",
        "poor settings",
        "torn weights",
        "a function",
        "a list",
    ],
)
def test_wrong_folders_are_refused_by_name(folder: Path, tmp_path: Path, spoil, message: str) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=message):
        from_published(folder, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop": "encoders.0.heads.1.proj_out.weight"}, "encoders.0.heads.1.proj_out.weight"),
        ({"shape": "tails.0.tail_nets.0.1.weight"}, "tails|stack"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, change: dict, message: str
) -> None:
    path = folder / "AtmoRep_idabcd1234.mod"
    state = torch.load(path, weights_only=True)
    if "drop" in change:
        del state[change["drop"]]
    else:
        state = {n: t[:-1] if ".tail_nets." in n and n.endswith(".1.weight") else t for n, t in state.items()}
    torch.save(state, path)
    with pytest.raises(UserError, match=message):
        from_published(folder, tmp_path / "ours")


def test_a_model_that_the_published_code_cannot_hold_is_refused() -> None:
    with pytest.raises(UserError, match="locality"):
        config_to_published(tiny_model(locality=1.0))
    with pytest.raises(UserError, match=r"coupling_num_heads_per_field"):
        config_from_published(
            {**config_to_published(tiny_published().config), "coupling_num_heads_per_field": 2}
        )


def test_command_line(folder: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    there = runner.invoke(app, ["convert", str(folder), str(tmp_path / "ours")])
    assert there.exit_code == 0 and "weights" in there.output
    back = runner.invoke(app, ["convert", str(tmp_path / "ours"), str(tmp_path / "back"), "--to-published"])
    assert back.exit_code == 0 and (tmp_path / "back" / "AtmoRep_idabcd1234.mod").is_file()
