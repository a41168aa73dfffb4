"""Where weights come from: data, code, versions, dates; kept in checkpoints and in ``provenance.json``."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from atmorep_lite.config import Config, dump_config
from atmorep_lite.errors import UserError

PACKAGES = ("torch", "numpy", "xarray")
ATTRIBUTES = ("title", "institution", "source", "references", "license", "Conventions", "comment")


def provenance(
    config: Config,
    data: Mapping[str, xr.Dataset],
    *,
    processes: int = 1,
    device: str = "cpu",
    position: Sequence[int] = (0, 0),
    earlier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a run is made of, for ``json``.

    Parameters
    ----------
    config
        Its configuration.
    data
        The datasets behind ``data.train`` and ``data.validation``, as they were opened.
    processes, device
        What computes.
    position
        The stage and step that it begins at.
    earlier
        What this function returned when the run was started or last resumed: its ``history`` gets longer.

    Returns
    -------
    ``config``: fingerprint of the configuration; ``data``: what :func:`describe` says; ``start``:
    fingerprints of the weights that the run began with; ``history``: date, command, versions and numbers of
    processes and threads, for every time that the run was started or resumed.
    """
    entry = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(),
        "from": list(position),
        "processes": processes,
        "threads": torch.get_num_threads(),  # the order of sums, so their last bits, depends on it
        "device": device,
        "code": code_fingerprint(),
        "versions": {"python": platform.python_version()} | versions(),
    }
    return {
        "config": _digest(dump_config(config).encode()),
        "data": {part: describe(dataset, getattr(config.data, part)) for part, dataset in data.items()},
        "start": _start(config) if earlier is None else earlier["start"],
        "history": [*(() if earlier is None else earlier["history"]), entry],
    }


def describe(dataset: xr.Dataset, name: str) -> dict[str, Any]:
    """What identifies a dataset without reading it: name, extent, a few attributes, and a fingerprint."""
    time = dataset.time.values if "time" in dataset.coords else np.array([], "datetime64[s]")
    return {
        "name": name,
        "time": [str(t.astype("datetime64[m]")) for t in (time[:1], time[-1:]) for t in t],
        "sizes": {str(key): int(size) for key, size in dataset.sizes.items()},
        "attributes": {key: str(dataset.attrs[key]) for key in ATTRIBUTES if key in dataset.attrs},
        "fingerprint": fingerprint(dataset),
    }


def fingerprint(dataset: xr.Dataset) -> str:
    """The same for the same variables on the same coordinates; values are not read."""
    parts = [
        json.dumps([sorted(map(str, dataset.data_vars)), sorted(map(str, dataset.sizes.items()))]).encode()
    ]
    for name in ("time", "level", "latitude", "longitude"):
        if name in dataset.coords:
            values = np.ascontiguousarray(dataset[name].values)
            kind = "datetime64[ns]" if values.dtype.kind == "M" else "float64"
            parts.append(name.encode() + values.astype(kind).tobytes())
    return _digest(b"\0".join(parts))


def check_same_data(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other data than the run was started with.

    Raises
    ------
    UserError
        If variables or coordinates of a dataset have changed.
    """
    for part, old in earlier["data"].items():
        new = now["data"].get(part, old)
        if new["fingerprint"] != old["fingerprint"]:
            changed = [key for key in ("time", "sizes") if new[key] != old[key]]
            what = (
                ", ".join(f"{key} was {old[key]} and is {new[key]}" for key in changed) or "its coordinates"
            )
            raise UserError(
                f"the data in {new['name']} have changed since the run was started ({what}); "
                "bring back what they were, or start another run"
            )


def other_code(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """A sentence if versions, code or the number of threads changed since the last start, else None."""
    old, new = earlier["history"][-1], now["history"][-1]
    changed = [
        f"{name} was {old['versions'].get(name)} and is {version}"
        for name, version in new["versions"].items()
        if old["versions"].get(name) != version
    ]
    if (threads := old.get("threads", new["threads"])) != new["threads"]:
        changed.append(f"threads were {threads} and are {new['threads']} (OMP_NUM_THREADS sets their number)")
    if old["code"] != new["code"]:
        changed.append("the code of atmorep_lite is another one")
    if not changed:
        return None
    return f"the run goes on, but perhaps not to the last bit: {'; '.join(changed)}"


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    from atmorep_lite import __version__

    return {"atmorep_lite": __version__} | {name: importlib.metadata.version(name) for name in PACKAGES}


def code_fingerprint() -> str:
    """Of all Python files of this package."""
    package = Path(__file__).parents[2]
    files = sorted(package.rglob("*.py"))
    parts = [f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes() for path in files]
    return _digest(b"\0".join(parts))


def command() -> str | None:
    """The command line, without the folders of this machine; None in a notebook or another program.

    Of ``key=value`` the value stays, since the configuration has it anyway.
    """
    program, arguments = Path(sys.argv[0]), sys.argv[1:]
    if program.parts[-3:] == ("atmorep_lite", "training", "__main__.py"):
        name, arguments = "python -m atmorep_lite.training", arguments[1:]  # "train" was added
    elif program.name == "atmorep-lite":
        name = program.name
    else:
        return None
    return " ".join([name, *(a if "=" in a and a[0] != "-" else _without_folder(a) for a in arguments)])


def _without_folder(argument: str) -> str:
    option, equals, value = argument.rpartition("=")
    return f"{option}{equals}{Path(value).name}" if Path(value).is_absolute() else argument


def _start(config: Config) -> dict[str, str]:
    from atmorep_lite.training.checkpoint import find_pretrained

    start = config.training.start
    names = () if start is None else start.models
    files = {name: find_pretrained(name) / "model.safetensors" for name in names}
    return {name: _digest(path.read_bytes()) for name, path in files.items() if path.is_file()}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
