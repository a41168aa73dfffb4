"""Saving and loading: atomically, without unrestricted unpickling.

A *model folder* holds what a user of the model needs: ``config.yaml``, ``model.safetensors``,
``normalization.nc``, and for a trained model ``provenance.json``.  (Checkpoints of a run are in
:mod:`atmorep_lite.training.resume.states`; the training states here are those of the zoo's small models.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from atmorep_lite.config import dump_config, load_config
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep

PRETRAINED = Path(__file__).parents[1] / "pretrained"
FILES = ("config.yaml", "model.safetensors", "normalization.nc")
FORMAT = 1  #: grows when an older atmorep_lite would read a model folder wrongly


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary name, then rename to ``path``; a failure leaves ``path`` as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.unfinished")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def find_pretrained(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a shipped model by its name, else the path itself (``"./demo"`` for your own ``demo``).

    Raises
    ------
    UserError
        If there is neither.
    """
    shipped = sorted(path.name for path in PRETRAINED.glob("*") if path.is_dir())
    if name_or_path in shipped:
        return PRETRAINED / name_or_path
    path = Path(name_or_path)
    if not path.is_dir():
        known = ", ".join(shipped) or "none"
        raise UserError(
            f"there is no model {str(name_or_path)!r}; give a model folder or a shipped one's name ({known})"
        )
    return path


def save_model(
    folder: str | os.PathLike[str], model: AtmoRep, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write a model folder; the weights last, so that a folder which has them is complete.

    Parameters
    ----------
    folder
        Made if it is not there.
    model
        With its configuration and normalisation.
    provenance
        Where the weights come from (:mod:`atmorep_lite.training.resume.provenance`), for ``provenance.json``.

    Raises
    ------
    UserError
        If the model does not know its configuration or normalisation.
    """
    from atmorep_lite import __version__

    folder = Path(folder)
    config, normalizer = model.run_config, model.normalizer
    if config is None or normalizer is None:
        raise UserError(
            "the model has no run_config or normalizer, so nobody could use the saved weights; set both first"
        )
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    about = {"atmorep_lite": json.dumps({"format": FORMAT, "version": __version__})}
    save_normalizer(folder, normalizer)
    write_atomically(folder / "config.yaml", lambda path: path.write_text(dump_config(config)))
    if provenance is not None:
        text = json.dumps(provenance, indent=1) + "\n"
        write_atomically(folder / "provenance.json", lambda path: path.write_text(text))

    def write_weights(path: Path) -> None:
        save_file(weights, path, about)
        path.chmod((folder / "config.yaml").stat().st_mode)  # as other files: the library keeps it private

    write_atomically(folder / "model.safetensors", write_weights)


def save_normalizer(folder: Path, normalizer: Normalizer) -> None:
    """Write ``normalization.nc``."""
    write_atomically(folder / "normalization.nc", lambda path: normalizer.to_dataset().to_netcdf(path))


def load_normalizer(folder: Path) -> Normalizer:
    """Read ``normalization.nc``.

    Raises
    ------
    UserError
        If it is missing or damaged.
    """
    path = folder / "normalization.nc"
    try:
        with xr.open_dataset(path, engine="netcdf4") as statistics:
            return Normalizer.from_dataset(statistics.load())
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read ({error}); copy it again") from error


def load_model(folder: str | os.PathLike[str]) -> AtmoRep:
    """Read a model folder; the model is in evaluation mode.

    Raises
    ------
    UserError
        If a file is missing, truncated, or belongs to another configuration or a newer atmorep_lite.
    """
    folder = Path(folder)
    converted = (folder / "published.json").is_file()  # published models come without their normalisation
    for name in FILES:
        if not (folder / name).is_file() and not (converted and name == "normalization.nc"):
            raise UserError(f"{folder} is not a model folder: it lacks {name}")
    try:
        _check_format(folder)
        weights = load_file(folder / "model.safetensors")
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{folder / 'model.safetensors'} cannot be read ({error}); copy it again or train anew"
        ) from error
    config = load_config(folder / "config.yaml")
    model = AtmoRep(config.model)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"the weights in {folder} do not fit its config.yaml ({str(error).splitlines()[1].strip()})"
        ) from error
    model.run_config = config
    if (folder / "normalization.nc").is_file():
        model.normalizer = load_normalizer(folder)
    return model.eval()


def _check_format(folder: Path) -> None:
    """Tell when a newer atmorep_lite has written the weights in a form that this one does not know."""
    from atmorep_lite import __version__

    with safe_open(folder / "model.safetensors", "pt") as file:
        written = json.loads((file.metadata() or {}).get("atmorep_lite", "{}"))
    if written.get("format", FORMAT) > FORMAT:
        raise UserError(
            f"{folder} was written by atmorep_lite {written.get('version')} in format {written['format']}, "
            f"this is {__version__}, which knows formats up to {FORMAT}; update atmorep_lite"
        )


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
