"""What a VortexFormer attends to, in the data classes that the explorer reads."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from atmorep_lite.attention_maps import AttentionCapture, CapturedField, CapturedPair
from atmorep_lite.zoo.forecaster import FRAMES
from atmorep_lite.zoo.vortexformer import Trace, VortexFormer, VortexFormerConfig

SIDE = 2 * math.pi


def capture_vortices(model: VortexFormer, frames: Tensor) -> AttentionCapture:
    """Run the model once on ``frames`` ``[3, y, x]`` and keep queries and keys of every layer.

    Queries and keys are kept as turned by the position encoding: their dot products are the model's scores.
    """
    trace: Trace = []
    with torch.inference_mode():
        model(frames[None], trace=trace)
    q, k = (np.stack([layer[i][0].numpy() for layer in trace]) for i in (0, 1))
    field = _captured_field(model.config, frames)
    slope = np.zeros(q.shape[:2], np.float32)
    pair = CapturedPair(field.name, field.name, q, k, slope, "encoder")
    return AttentionCapture(
        {field.name: field}, {(field.name, field.name): pair}, geometry="plane", period=(SIDE, SIDE)
    )


def _captured_field(config: VortexFormerConfig, frames: Tensor) -> CapturedField:
    (tt, ty, tx), slots = config.token_size, config.slots
    time = np.arange(FRAMES, dtype=float).reshape(-1, tt).mean(1) - (FRAMES - 1)
    place = SIDE / config.points * np.arange(config.points)
    return CapturedField(
        name="vorticity",
        level=np.array([0]),
        time=time,
        latitude=place.reshape(-1, ty).mean(1),
        longitude=place.reshape(-1, tx).mean(1),
        token_size=(ty * SIDE / config.points, tx * SIDE / config.points),
        position=np.zeros((math.prod(slots), 1), np.float32),
        values=frames[None, tt - 1 :: tt].numpy().astype(np.float32),
        mask=np.zeros((1, *slots), bool),
        units="",
    )
