"""LiveVortices: a trained VortexFormer runs in the reader's browser, on vortices that the reader moves."""

from __future__ import annotations

import gzip
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from atmorep_lite.errors import UserError
from atmorep_lite.widgets.explorer import Between, Content, Explorer, complete, is_number
from atmorep_lite.widgets.packing import Buffer
from atmorep_lite.widgets.page import module_source
from atmorep_lite.widgets.vortex_scenes import SCENES, check_scene, check_vortex, token_at

RUNTIME = Path(__file__).parent / "onnxruntime"
STEPS = 10
"""Forecasts in a row that the page makes."""
TOOLS = ("move", "paint", "hide")
COMPARISONS = ("truth", "error", "hiding")
LISTS = ("vortices", "hidden", "silent")


class LiveVortices(Explorer, module="live_vortices", heading="A network that runs in this page"):
    """A trained VortexFormer in the page: move and paint vortices, hide tokens, see forecast and attention.

    The network runs in the reader's browser by onnxruntime-web, and so does a solver that knows the truth. No
    kernel and no network are needed; the page grows by 7 MB.

    Parameters
    ----------
    model
        A shipped model by its name, or a model folder that also holds ``model.onnx``
        (:func:`atmorep_lite.onnx_export.export_onnx`). Its tokens hold all three frames.
    scenes
        Scenes to start from: dictionaries with ``name``, ``text`` and ``vortices``, each vortex with ``y``,
        ``x`` and ``strength``, and if wanted ``radius``, ``eccentricity`` and ``angle`` (see
        :func:`atmorep_lite.flows.elliptic_vortex`). Six of the package's own if left out.
    title, caption
        Shown above and below the pictures.
    **selected
        Entries of the first view, see ``selected``.

    Attributes
    ----------
    selected : dict
        ``scene`` (a name), ``vortices``, ``step`` (steps ahead, 1 to 10), ``query`` (the token that asks, in
        C order), ``layer``, ``head`` (-1: mean of the layer's heads), ``hidden`` (tokens that no other may
        look at), ``silent`` (heads that are not heard, as [layer, head]), ``compare`` ("truth", "error" or
        "hiding"), ``tool`` ("move", "paint" or "hide"), ``radius`` and ``strength`` of the brush. What is
        painted is not in it.

    Raises
    ------
    UserError
        Where an entry of ``selected`` is set to what is not allowed. What is wrong with the model, the scenes
        or the first view becomes the message of the explorer, its ``fault``.

    Examples
    --------
    >>> live = LiveVortices(scenes=SCENES[:1], step=4)
    >>> live.selected["step"], len(live.selected["vortices"])
    (4, 3)
    """

    wasm = True

    def __init__(
        self,
        model: str | Path = "vortices",
        *,
        scenes: Sequence[Mapping[str, Any]] = SCENES,
        title: str | None = None,
        caption: str | None = None,
        **selected: Any,
    ) -> None:
        def make() -> Content:
            content = _content(model, scenes)
            return replace(content, selected=_completed(content.meta, selected, content.selected))

        super().__init__(make, title=title, caption=caption)

    def allowed(self) -> Mapping[str, tuple[Any, ...] | Between]:
        return _allowed(self.meta)

    def complete(self, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        return _completed(self.meta, wanted, before)


def _allowed(meta: Mapping[str, Any]) -> dict[str, tuple[Any, ...] | Between]:
    return {
        "scene": tuple(scene["name"] for scene in meta["scenes"]),
        "step": tuple(range(1, STEPS + 1)),
        "query": tuple(range(math.prod(meta["tokens"]))),
        "layer": tuple(range(meta["layers"])),
        "head": tuple(range(-1, meta["heads"])),
        "compare": COMPARISONS,
        "tool": TOOLS,
        "radius": Between(0.1, 1.5),
        "strength": Between(-12, 12),
    }


def _completed(
    meta: Mapping[str, Any], wanted: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    allowed = _allowed(meta)
    if unknown := sorted(set(wanted) - {*allowed, *LISTS}):
        raise UserError(f"selected has no entries {unknown}: use some of {(*allowed, *LISTS)}.")
    if "scene" in wanted and "vortices" not in wanted:
        chosen = [scene for scene in meta["scenes"] if scene["name"] == wanted["scene"]]
        wanted = {**wanted, **({"vortices": chosen[0]["vortices"]} if chosen else {})}
    plain = ({k: v for k, v in given.items() if k not in LISTS} for given in (wanted, before))
    merged = complete(allowed, *plain)
    given = {**before, **wanted}
    tokens, layers, heads = (range(n) for n in (math.prod(meta["tokens"]), meta["layers"], meta["heads"]))
    vortices, hidden, silent = (_listed(name, given.get(name, ())) for name in LISTS)
    merged["vortices"] = [check_vortex(vortex) for vortex in vortices]
    merged["hidden"] = [_member("hidden", token, tokens) for token in hidden]
    if any(len(_listed("silent", pair)) != 2 for pair in silent):
        raise UserError(f"The silent heads are {silent!r}: give pairs [layer, head].")
    merged["silent"] = [
        [_member("silent", layer, layers), _member("silent", head, heads)] for layer, head in silent
    ]
    return merged


def _content(model: str | Path, scenes: Sequence[Mapping[str, Any]]) -> Content:
    from atmorep_lite.training.checkpoint import find_pretrained
    from atmorep_lite.zoo.folder import load_settings
    from atmorep_lite.zoo.vortexformer import VortexFormerConfig

    if not isinstance(model, str | os.PathLike):
        raise UserError(f"The model is {model!r}: give a shipped model's name or a model folder.")
    folder = find_pretrained(model)
    network = folder / "model.onnx"
    if not network.is_file():
        raise UserError(f"{folder} holds no model.onnx, which a browser needs; make it with export_onnx.")
    config = load_settings(folder / "config.yaml", VortexFormerConfig)
    _, rows, columns = config.slots
    if config.slots[0] != 1 or rows != columns or config.points & (config.points - 1):
        raise UserError(
            f"The model has {config.slots[0]} token times and {config.points} points a side; the page shows "
            "models whose tokens are squares that hold all frames, on a side that is a power of two."
        )
    if not isinstance(scenes, list | tuple) or not scenes:
        raise UserError(
            f"The scenes are {scenes!r}, that is no scenes: give a list of one or more, each with "
            "name, text and vortices."
        )
    known = [check_scene(scene) for scene in scenes]
    buffer, parts = Buffer(), {}
    worker = classic_script((RUNTIME / "ort.wasm.bundle.min.mjs").read_text(encoding="utf-8"))
    for name, content in {
        "worker": (worker + module_source("live_vortices_worker")).encode(),
        "wasm": (RUNTIME / "ort-wasm-simd-threaded.wasm.gz").read_bytes(),
        "model": gzip.compress(network.read_bytes(), 9, mtime=0),
    }.items():
        parts[name] = {"at": buffer.add(np.frombuffer(content, np.uint8)), "count": len(content)}
    from atmorep_lite.flows.vorticity import INTERVAL, VISCOSITY

    first = known[0]
    meta = {
        "points": config.points,
        "tokens": [rows, columns],
        "layers": config.layers,
        "heads": config.heads,
        "interval": INTERVAL,
        "viscosity": VISCOSITY,
        "steps": STEPS,
        "scenes": known,
        "parts": parts,
    }
    selected = {
        "scene": first["name"],
        "vortices": first["vortices"],
        "step": 1,
        "query": token_at(first["vortices"], rows, columns),
        "layer": 0,
        "head": -1,
        "hidden": [],
        "silent": [],
        "compare": "truth",
        "tool": "move",
        "radius": 0.45,
        "strength": 3.0,
    }
    return Content(meta, selected, buffer.bytes())


def classic_script(module: str) -> str:
    """onnxruntime-web's module as a script that leaves its exports in ``self.ort``.

    Opened from a file, a browser refuses workers that are modules and modules that a worker imports, but not
    a worker that is one plain script.
    """
    body, found = re.subn(
        r"export\s*\{([^}]*)\};?\s*(?://[^\n]*)?\s*$",
        lambda match: f"self.ort={{{','.join(_exported(name) for name in match[1].split(','))}}};",
        module.replace("import.meta.url", "self.location.href"),
    )
    if found != 1:
        raise UserError("The script of onnxruntime-web does not end with its exports; use version 1.30.0.")
    return f"(()=>{{{body}}})();\n"


def _exported(name: str) -> str:
    inside, _, outside = name.partition(" as ")
    return f"{outside or inside}:{inside}"


def _listed(name: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise UserError(
            f"The {name} is {value!r}, where a list (for silent: of pairs [layer, head]) was expected."
        )
    return value


def _member(name: str, value: Any, allowed: range) -> int:
    if not is_number(value) or int(value) != value or int(value) not in allowed:
        raise UserError(f"An entry of {name} is {value!r}: choose whole numbers up to {allowed[-1]}.")
    return int(value)
