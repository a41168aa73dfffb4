"""Model folders of the zoo: ``config.yaml`` and ``model.safetensors``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from atmorep_lite.config import dump_config, first_problem
from atmorep_lite.errors import UserError
from atmorep_lite.training.checkpoint import find_pretrained, write_atomically


def save_folder(folder: str | os.PathLike[str], model: nn.Module, config: Any) -> None:
    """Write the weights and the configuration (a pydantic model)."""
    folder = Path(folder)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(folder / "model.safetensors", lambda path: save_file(weights, path))
    write_atomically(folder / "config.yaml", lambda path: path.write_text(dump_config(config)))


def load_folder(name_or_path: str | os.PathLike[str], model_type: Any, config_type: Any) -> Any:
    """Read a model folder, or a shipped model by its name; the model is in evaluation mode.

    Raises
    ------
    UserError
        If there is no such folder, a file is missing or damaged, or it belongs to another kind of model.
    """
    folder = find_pretrained(name_or_path)
    for name in ("config.yaml", "model.safetensors"):
        if not (folder / name).is_file():
            raise UserError(f"{folder} is not a model folder: it lacks {name}")
    model = model_type(load_settings(folder / "config.yaml", config_type))
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{folder / 'model.safetensors'} cannot be read ({error}); copy it again or train anew"
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"the weights in {folder} do not fit its config.yaml ({str(error).splitlines()[1].strip()})"
        ) from error
    return model.eval()


def load_settings(path: Path, config_type: Any) -> Any:
    """A YAML file as a validated configuration of the given type."""
    try:
        return config_type.model_validate(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        kind = config_type.__name__.removesuffix("Config")
        raise UserError(f"{path} does not describe a {kind}: {first_problem(error)}") from error
