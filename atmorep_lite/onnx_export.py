"""A VortexFormer as an ONNX file, attention weights included, for runtimes that know no PyTorch.

The file holds one function, here with the shapes of ``VortexFormer.from_pretrained("vortices")``:

==========  =============  =========================  ====================================================
direction   name           shape                      what
==========  =============  =========================  ====================================================
input       ``frames``     ``[3, y, x]``              vorticity at t-2, t-1, t
input       ``hidden``     ``[token]``                1 where no other token may look, else 0
input       ``heads``      ``[layer, head]``          1 for a head that is heard, 0 for a silent one
output      ``forecast``   ``[y, x]``                 vorticity at t+1
output      ``attention``  ``[layer, head, q, k]``    weights; each row sums to 1
==========  =============  =========================  ====================================================

The model was not trained with hidden tokens.  Hiding is therefore done inside attention: the score of a
hidden key is lowered so far that its weight is zero, for all queries but its own, and the weights of the
others grow to sum to 1.  What lies in the token stays as it is.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from atmorep_lite.attention import attention_weights, join_heads, split_heads
from atmorep_lite.errors import UserError
from atmorep_lite.model.layers import layer_norm
from atmorep_lite.zoo.forecaster import FRAMES
from atmorep_lite.zoo.torus_rotary import turn
from atmorep_lite.zoo.vortexformer import VortexFormer

OPSET = 18
"""Version of ONNX's operators; onnxruntime 1.15 and later read it."""
INPUTS, OUTPUTS = ("frames", "hidden", "heads"), ("forecast", "attention")
AWAY = -1e4
"""Added to the score of a hidden key: its weight underflows to zero, and nothing overflows."""


class Written(nn.Module):
    """A VortexFormer with every step written in operations that ONNX has.

    Attention is written out, so that its weights can be an output; the padding of periodic convolutions is a
    concatenation; the filter ``dealias`` is a product with a matrix on either side.

    Parameters
    ----------
    model
        Whose weights are shared, not copied.
    """

    filter: Tensor
    others: Tensor

    def __init__(self, model: VortexFormer) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("filter", filter_matrix(model.config.points), persistent=False)
        self.register_buffer("others", 1 - torch.eye(math.prod(model.config.slots)), persistent=False)

    def forward(self, frames: Tensor, hidden: Tensor, heads: Tensor) -> tuple[Tensor, Tensor]:
        """``frames`` ``[3, y, x]``, ``hidden`` ``[token]``, ``heads`` ``[layer, head]``; see the module."""
        model, config = self.model, self.model.config
        (tt, ty, tx), (nt, ny, nx) = config.token_size, config.slots
        x = frames / config.scale
        features = x.reshape(nt, tt, config.points, config.points)
        if model.stem is not None:
            first, _, second = cast(nn.Sequential, model.stem)
            features = _convolve(second, nn.functional.gelu(_convolve(first, features)))
        channels = features.shape[1]
        boxes = features.reshape(nt, channels, ny, ty, nx, tx).permute(0, 2, 4, 1, 3, 5)
        tokens = model.embed(boxes.reshape(nt, ny * nx, channels * ty * tx)) + model.slot
        tokens = tokens.reshape(1, nt * ny * nx, config.width)
        bias, seen = AWAY * hidden * self.others, []
        for index, layer in enumerate(model.layers):
            tokens, weights = _attend(layer, tokens, cast(Tensor, model.rotation), bias, heads[index])
            seen.append(weights[0])
        said = model.head(layer_norm(tokens[0, -ny * nx :]))
        said = said.reshape(ny, nx, -1, ty, tx).permute(2, 0, 3, 1, 4).reshape(1, -1, ny * ty, nx * tx)
        if model.mix is not None:
            said = _convolve(model.mix, said * features[-1:])
        increment = said[0, 0]
        if config.conserve:
            increment = increment - increment.mean()
        forecast = (x[-1] + increment) * config.scale
        if config.dealias:
            forecast = self.filter @ forecast @ self.filter
        return forecast, torch.stack(seen)


def _attend(layer: Any, x: Tensor, rotation: Tensor, bias: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
    """One layer with its weights ``[1, h, q, k]``; ``bias`` ``[q, k]``, ``heard`` ``[h]``."""
    normed = layer_norm(x)
    q, k = (turn(split_heads(f(normed), layer.heads), rotation) for f in (layer.q, layer.k))
    v = split_heads(layer.v(x if layer.raw_values else normed), layer.heads)
    weights = attention_weights(q, k, bias)
    said = layer.out(join_heads((weights @ v) * heard[:, None, None]))
    return layer.mlp(x + said), weights


def _convolve(convolution: Any, x: Tensor) -> Tensor:
    """A :class:`~atmorep_lite.zoo.periodic.PeriodicConv` with its edges taken from the other side."""
    edge = convolution.size // 2
    if edge:
        x = torch.cat((x[..., -edge:, :], x, x[..., :edge, :]), -2)
        x = torch.cat((x[..., -edge:], x, x[..., :edge]), -1)
    kernel = convolution.weight.unflatten(1, (-1, convolution.size, convolution.size))
    return nn.functional.conv2d(x, kernel, convolution.bias)


def filter_matrix(points: int) -> Tensor:
    """The projection ``[y, y']`` on waves of ``|k| < n / 3``; along both axes it is the solver's filter."""
    largest, place = (points - 1) // 3, torch.arange(points, dtype=torch.float64)
    angle = (place[:, None] - place) * (2 * math.pi / points)
    waves = torch.arange(1, largest + 1)[:, None, None]
    return ((1 + 2 * (waves * angle).cos().sum(0)) / points).float()


def example_inputs(model: VortexFormer, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random inputs of the right shapes: smooth frames, a tenth of the tokens hidden, one head silent."""
    config, generator = model.config, torch.Generator().manual_seed(seed)
    noise = torch.randn(FRAMES, config.points, config.points, generator=generator)
    smooth = filter_matrix(config.points)
    hidden = (torch.rand(math.prod(config.slots), generator=generator) < 0.1).float()
    heads = torch.ones(config.layers, config.heads)
    heads[0, 0] = 0.0
    return smooth @ noise @ smooth, hidden, heads


def export_onnx(model: VortexFormer, path: str | os.PathLike[str], *, tolerance: float = 1e-5) -> Path:
    """Write a model as an ONNX file, after checking that onnxruntime computes what PyTorch does.

    Parameters
    ----------
    model
        The model; its own settings are the file's metadata, with a checksum of its weights.
    path
        File to write; its folder is made.
    tolerance
        Largest difference allowed on random inputs: of the forecast, relative to its largest value, and a
        tenth of that of attention, whose rounding a softmax of large scores magnifies.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        If the packages of the extra ``onnx`` are missing, the model is of another kind, or the file would
        compute something else.
    """
    onnx = _imported("onnx")
    _imported("onnxscript")
    _imported("onnxruntime")
    if not isinstance(model, VortexFormer):
        raise UserError(f"export_onnx writes a VortexFormer; a {type(model).__name__} was given.")
    written = Written(model).eval()
    with torch.no_grad(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # the exporter warns about its own future
        made = Path(folder) / "model.onnx"
        torch.onnx.export(
            written,
            example_inputs(model),
            made,
            dynamo=True,
            opset_version=OPSET,
            input_names=INPUTS,
            output_names=OUTPUTS,
            external_data=False,
            verbose=False,
        )
        proto = onnx.load(made)
    _tidy(proto, model)
    content = proto.SerializeToString(deterministic=True)
    forecast, attention = compare(written, content)
    if max(forecast, attention / 10) > tolerance:
        raise UserError(
            f"onnxruntime and PyTorch differ by {forecast:.1e} in the forecast and by {attention:.1e} in "
            f"attention, where {tolerance:.1e} and ten times that are allowed; install the versions of "
            "constraints.txt, or allow more with tolerance."
        )
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def compare(written: Written, content: bytes, *, seeds: tuple[int, ...] = (1, 2)) -> tuple[float, float]:
    """Largest difference between PyTorch and onnxruntime: of forecasts (relative) and of attention."""
    session = _imported("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = np.zeros(2)
    for seed in seeds:
        given = example_inputs(written.model, seed=seed)
        found = session.run(list(OUTPUTS), dict(zip(INPUTS, (g.numpy() for g in given), strict=True)))
        with torch.no_grad():
            forecast, attention = (t.numpy() for t in written(*given))
        off = np.abs(found[0] - forecast).max() / np.abs(forecast).max(), np.abs(found[1] - attention).max()
        worst = np.maximum(worst, off)
    return float(worst[0]), float(worst[1])


def weights_sum(model: nn.Module) -> str:
    """SHA-256 of a model's weights, in the order and precision in which it holds them."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        buffer = io.BytesIO()
        np.save(buffer, tensor.detach().cpu().numpy())
        digest.update(name.encode() + buffer.getvalue())
    return digest.hexdigest()


def _tidy(proto: Any, model: VortexFormer) -> None:
    """Metadata in; notes of the exporter (files and lines of whoever exports) out."""
    del proto.metadata_props[:]
    proto.producer_name, proto.producer_version, proto.doc_string = "atmorep_lite", "", __doc__ or ""
    proto.graph.name, proto.graph.doc_string = "VortexFormer", ""
    for part in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.graph.value_info[:]
    for tensor in proto.graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    settings = {name: str(value) for name, value in model.config.model_dump().items()}
    for name, value in (settings | {"weights_sha256": weights_sum(model)}).items():
        proto.metadata_props.add(key=name, value=value)


def _imported(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise UserError(f'The package {name} is missing: pip install "atmorep-lite[onnx]".') from error
