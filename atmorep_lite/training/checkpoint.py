"""Saving and loading: atomically, without unrestricted unpickling.

Two forms.  A *model folder* holds what a user of the model needs (``config.yaml``, ``model.safetensors``,
``normalization.nc``).  A *training state* (``state.pt``) beside it holds what a resumed run needs besides.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import xarray as xr
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from atmorep_lite.config import Config, dump_config, parse_config
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep

FILES = ("config.yaml", "model.safetensors", "normalization.nc")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary name beside ``path``, then rename; a failure leaves ``path`` as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.unfinished")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_model(folder: str | Path, model: AtmoRep, config: Config, normalizer: Normalizer) -> Path:
    """Write a model folder."""
    folder = Path(folder)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(folder / "model.safetensors", lambda path: save_file(weights, path))
    write_atomically(folder / "normalization.nc", lambda path: normalizer.to_dataset().to_netcdf(path))
    write_atomically(folder / "config.yaml", lambda path: path.write_text(dump_config(config)))
    return folder


def load_model(folder: str | Path) -> tuple[AtmoRep, Config, Normalizer]:
    """Read a model folder; the model is in evaluation mode.

    Raises
    ------
    UserError
        If a file is missing, truncated, or belongs to another configuration.
    """
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise UserError(f"{folder} is not a model folder: it lacks {name}")
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    config = parse_config(tree, str(folder / "config.yaml"))
    model = AtmoRep(config.model)
    try:
        weights = load_file(folder / "model.safetensors")
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{folder / 'model.safetensors'} cannot be read ({error}); it is truncated or damaged, copy or train it anew"
        ) from error
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"the weights in {folder} do not fit its config.yaml ({str(error).splitlines()[1].strip()})"
        ) from error
    with xr.open_dataset(folder / "normalization.nc") as statistics:
        normalizer = Normalizer.from_dataset(statistics.load())
    return model.eval(), config, normalizer


def save_state(path: str | Path, state: dict[str, Any]) -> None:
    """Write a training state (tensors, numbers, strings and containers of them)."""
    write_atomically(Path(path), lambda temporary: torch.save(state, temporary))


def load_state(path: str | Path) -> dict[str, Any]:
    """Read a training state.

    Raises
    ------
    UserError
        If it is missing, truncated, or holds anything but plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is nothing to resume: {path} does not exist; start without --resume")
    try:
        state = torch.load(path, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise UserError(
            f"{path} cannot be read; it is truncated or damaged: remove it and start without --resume"
        ) from error
    if not isinstance(state, dict) or "stage" not in state:
        raise UserError(f"{path} is not a training state of atmorep_lite")
    return state
