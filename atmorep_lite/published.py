"""Checkpoint folders of the published AtmoRep code: reading them into our form, and writing them.

A published folder holds ``model_id{ID}.json`` (its configuration) and ``AtmoRep_id{ID}.mod`` (its weights, a
pickled state dict, read with torch's restricted unpickler).  What our form has no place for (tensors that the
network never uses, settings of its training scripts) is kept in files of its own, so that the way back gives
the same tensors bit for bit.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from atmorep_lite.config import (
    Config,
    DataConfig,
    MaskingConfig,
    StageConfig,
    TrainingConfig,
    WeightsConfig,
    dump_config,
)
from atmorep_lite.convert import (
    State,
    config_from_published,
    config_to_published,
    weights_from_published,
    weights_to_published,
)
from atmorep_lite.convert_2023 import is_2023, to_2023_names, to_2024_names
from atmorep_lite.errors import UserError
from atmorep_lite.losses import LOSSES
from atmorep_lite.model import AtmoRep
from atmorep_lite.training.checkpoint import find_pretrained, load_model, write_atomically

SETTINGS, LEFTOVER = "published.json", "published_leftover.safetensors"


def from_published(folder: str | os.PathLike[str], out: str | os.PathLike[str]) -> AtmoRep:
    """Turn a published checkpoint folder into a model folder of ours; returns the model.

    Parameters
    ----------
    folder
        With one ``model_id{ID}.json`` and the weights of the same ID, in the names of 2023 or 2024.
    out
        Folder to write.  It has no normalisation: that lives with the published data.  Set
        ``model.normalizer`` before forecasting.

    Raises
    ------
    UserError
        If a file is missing, truncated, holds anything but tensors, or does not fit the other.
    """
    folder, out = Path(folder), Path(out)
    settings, state = _read(folder)
    year = "2023" if is_2023(state) else "2024"
    config = _run_config(settings, year)
    fused = to_2024_names(config.model, state) if year == "2023" else dict(state)
    fused = _with_shared_info_net(fused, len(config.model.fields))
    model = AtmoRep(config.model).eval()
    weights = weights_from_published(config.model, fused)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        problem = str(error).splitlines()[1].strip()
        raise UserError(f"the weights in {folder} do not fit their configuration: {problem}") from error
    model.run_config = config
    back = _in_names_of(year, config, weights_to_published(config.model, weights))
    leftover = {
        name: tensor.contiguous()
        for name, tensor in state.items()
        if name not in back or not torch.equal(back[name], tensor)
    }
    weights = {name: tensor.clone().contiguous() for name, tensor in weights.items()}
    write_atomically(out / "model.safetensors", lambda path: save_file(weights, path))
    write_atomically(out / SETTINGS, lambda path: path.write_text(json.dumps(settings, indent=1)))
    write_atomically(out / LEFTOVER, lambda path: save_file(leftover, path))
    write_atomically(out / "config.yaml", lambda path: path.write_text(dump_config(config)))
    return model


def to_published(
    source: str | os.PathLike[str], out: str | os.PathLike[str], *, model_id: str = "atmorep0"
) -> Path:
    """Write a model folder of ours in the published format; returns the file with the weights.

    Parameters
    ----------
    source
        A model folder whose ``model.published`` is set.
    out
        Folder to write.
    model_id
        The ID of the new files, where the model was not converted from published ones.

    Raises
    ------
    UserError
        If the network has parts that the published code lacks.
    """
    source, out = find_pretrained(source), Path(out)
    model = load_model(source)
    config = model.run_config
    assert config is not None  # load_model sets it
    settings = config_to_published(model.config)
    if (source / SETTINGS).is_file():
        settings = json.loads((source / SETTINGS).read_text())
        model_id = settings.get("wandb_id", model_id)
    state = weights_to_published(model.config, model.state_dict())
    state = _in_names_of(str(model.config.published), config, state)
    if (source / LEFTOVER).is_file():
        state |= load_file(source / LEFTOVER)
    settings = {**settings, "wandb_id": model_id}
    weights = out / f"AtmoRep_id{model_id}.mod"
    write_atomically(weights, lambda path: torch.save({k: v.clone() for k, v in state.items()}, path))
    write_atomically(
        out / f"model_id{model_id}.json", lambda path: path.write_text(json.dumps(settings, indent=1))
    )
    return weights


def _read(folder: Path) -> tuple[dict[str, Any], State]:
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not a folder; give one with model_id{{ID}}.json and AtmoRep_id{{ID}}.mod"
        )
    found = sorted(folder.glob("model_id*.json"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(f"{folder} must hold one model_id{{ID}}.json; it holds {names}")
    model_id = found[0].stem.removeprefix("model_id")
    weights = folder / f"AtmoRep_id{model_id}.mod"
    if not weights.is_file():
        raise UserError(f"{folder} holds {found[0].name} but not its weights, {weights.name}; copy both")
    try:
        settings = json.loads(found[0].read_text())
    except (ValueError, OSError) as error:
        raise UserError(f"{found[0]} is not valid JSON ({error}); copy it again") from error
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or unsafe file
        raise UserError(
            f"{weights} cannot be read: it is truncated, damaged, or holds more than tensors; copy it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise UserError(f"{weights} does not hold a state dict: names and tensors were expected")
    return settings, {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _run_config(settings: dict[str, Any], year: str) -> Config:
    """A run of ours with the published model and, as far as ours has them, the settings of its training."""
    model = config_from_published(settings, year=year)
    entries = settings["fields"]
    rates = next((entry[5] for entry in entries if len(entry) > 5 and len(entry[5]) == 4), None)
    masking = MaskingConfig(forecast=0.0)
    if rates is not None and rates[0] > 0:
        masking = MaskingConfig(
            forecast=0.0, max_rate=rates[0], zero=rates[1], noise=rates[2], coarse=rates[3]
        )
    local = any(len(entry) > 6 and entry[6] not in ("", "global") for entry in entries)
    known = {"crps": "published_crps", "kernel_crps": "published_kernel_crps", "weighted_mse": "mse_ensemble"}
    named = settings.get("losses", ["mse_ensemble", "stats"])
    losses = [known.get(name, name) for name in named]
    batch = int(settings.get("batch_size", settings.get("batch_size_max", 96)))
    steps = int(settings.get("num_epochs", 1)) * int(settings.get("num_samples_per_epoch", batch)) // batch
    training = TrainingConfig(
        stages=(
            StageConfig(
                steps=max(1, steps), batch_size=batch, learning_rate=float(settings.get("lr_max", 1e-4))
            ),
        ),
        loss={name: 1.0 for name in losses if name in LOSSES} or {"mse_ensemble": 1.0, "stats": 1.0},
        weights=WeightsConfig(area="weighted_mse" in named),
        optimizer="adamw",
        weight_decay=float(settings.get("weight_decay", 0.05)),
        clip=1e6,
    )
    data = DataConfig(
        train="era5_model_levels.zarr",
        validation="era5_model_levels.zarr",
        normalization="monthly_local" if local else "monthly_global",
    )
    return Config(data=data, model=model, masking=masking, training=training)


def _with_shared_info_net(state: State, fields: int) -> State:
    """Early single-field checkpoints leave the nets per field at zero and use one shared net."""
    first = state.get("embeds_token_info.0.weight")
    if first is not None and (first.any() or "embed_token_info.weight" not in state):
        return state
    shared = {
        f"embeds_token_info.{i}.{kind}": state[f"embed_token_info.{kind}"]
        for i in range(fields)
        for kind in ("weight", "bias")
        if f"embed_token_info.{kind}" in state
    }
    return {**state, **shared}


def _in_names_of(year: str, config: Config, state: State) -> State:
    return to_2023_names(config.model, state) if year == "2023" else state
