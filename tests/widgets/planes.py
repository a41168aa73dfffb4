"""A capture on a periodic plane, made by formula: each token looks at the place that it came from.

Keys carry the first two Fourier features of their place on the torus, a query those of the place a given
displacement upstream, so that q.k is greatest there: the peak of every map is known.
"""

from __future__ import annotations

import numpy as np

from atmorep_lite.attention_maps import AttentionCapture, CapturedField, CapturedPair

TOKENS, FRAMES, LAYERS, HEADS, GRID = 16, 3, 2, 2, 32
BOX = 2 * np.pi
STEP = BOX / TOKENS
TIME = np.array([-2.0, -1.0, 0.0])
# Where the newest frame finds its peak in each frame, per head: (rows up, columns right) in tokens.
UPSTREAM = {0: {-2: (2, -6), -1: (1, -3), 0: (0, 0)}, 1: {-2: (-4, 2), -1: (-2, 1), 0: (0, 0)}}
SHARP = (2.0, 4.0)  # per layer
FRAME_GAIN = {-2: -0.6, -1: 0.4, 0: 0.0}  # the frame before holds most


def peak_place(head: int, frame: int, row: int, column: int) -> tuple[int, int]:
    """Row and column where the newest frame's query at (row, column) finds its peak in a frame."""
    up, right = UPSTREAM[head][frame]
    return (row + up) % TOKENS, (column + right) % TOKENS


def _features(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """[..., 8] features whose dot product falls with the distance on the torus."""
    angles = [m * 2 * np.pi * place / TOKENS for m in (1, 2) for place in (row, column)]
    return np.stack([f(angle) for angle in angles for f in (np.cos, np.sin)], axis=-1)


def vorticity() -> np.ndarray:
    """[level, frame, y, x] an elongated positive vortex low on the left, a negative one high on the right."""
    place = (np.arange(GRID) + 0.5) * BOX / GRID
    y, x = np.meshgrid(place, place, indexing="ij")

    def blob(centre: tuple[float, float], size: tuple[float, float]) -> np.ndarray:
        dy, dx = (np.abs(a - c) for a, c in zip((y, x), centre, strict=True))
        dy, dx = np.minimum(dy, BOX - dy), np.minimum(dx, BOX - dx)
        return np.exp(-((dy / size[0]) ** 2) - (dx / size[1]) ** 2)

    frames = [
        3 * blob((1.2, 1.4 + 0.3 * f), (0.4, 0.8)) - 2 * blob((5.0, 4.6), (0.7, 0.5)) for f in range(FRAMES)
    ]
    return np.stack(frames)[None].astype(np.float32)


def plane_capture() -> AttentionCapture:
    """One field, one level, 3 frames of 16 x 16 tokens, 2 layers, 2 heads; displacements as in `UPSTREAM`."""
    centres = (np.arange(TOKENS) + 0.5) * STEP
    frame, row, column = (
        a.ravel() for a in np.meshgrid(TIME, np.arange(TOKENS), np.arange(TOKENS), indexing="ij")
    )
    tokens = len(frame)
    field = CapturedField(
        name="vorticity",
        level=np.array([0]),
        time=TIME,
        latitude=centres,
        longitude=centres,
        token_size=(STEP, STEP),
        position=np.zeros((tokens, 1), np.float32),
        values=vorticity(),
        mask=np.zeros((1, FRAMES, TOKENS, TOKENS), bool),
        units="",
    )
    q = np.zeros((LAYERS, HEADS, tokens, 8 * FRAMES), np.float32)
    k = np.zeros_like(q)
    for head in range(HEADS):
        for i, time in enumerate(TIME):  # eight channels for each frame of keys
            part = slice(8 * i, 8 * i + 8)
            up, right = UPSTREAM[head][int(time)]
            for layer in range(LAYERS):
                gain = SHARP[layer] * (1 + 0.3 * FRAME_GAIN[int(time)])
                q[layer, head, :, part] = gain * _features(row + up, column + right)
                k[layer, head, frame == time, part] = 2 * _features(row, column)[frame == time]
    pair = CapturedPair("vorticity", "vorticity", q, k, np.zeros((LAYERS, HEADS), np.float32), "encoder")
    return AttentionCapture({"vorticity": field}, {("vorticity", "vorticity"): pair}, "plane", (BOX, BOX))
