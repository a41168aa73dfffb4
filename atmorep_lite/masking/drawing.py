"""From the keys of a batch's samples to its masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from atmorep_lite.config import TASKS, FieldConfig, MaskingConfig
from atmorep_lite.masking import swaths, tasks
from atmorep_lite.masking.keys import Key, Purpose, generator
from atmorep_lite.masking.tasks import Masks, Scene
from atmorep_lite.tokens import FieldTokens

Task = Callable[[Scene, np.random.Generator, MaskingConfig], Masks]

#: Every way of hiding, by the name that a configuration uses.
STRATEGIES: dict[str, Task] = {
    name: getattr(swaths if name.endswith("swath") else tasks, name) for name in TASKS
}


def draw_masks(
    fields: Iterable[FieldConfig],
    keys: Sequence[Key],
    masking: MaskingConfig,
    *,
    tokens: Mapping[str, FieldTokens] | None = None,
    forecast: float | None = None,
) -> tuple[Masks, list[str]]:
    """What is hidden from each sample of a batch, a pure function of the sample's key (and place).

    Each sample draws its task, so that a batch holds different ones, and then what the task hides.

    Parameters
    ----------
    fields
        The model's fields.
    keys
        Of the samples.
    tokens
        The batch's tokens, whose ``info`` says where they are; needed for satellites' swaths only.
    forecast
        Probability of a forecast instead of the one that ``masking`` gives.

    Returns
    -------
    masks, drawn
        By field, ``[batch, level, token_time, token_lat, token_lon]``, True = hidden; the name of each
        sample's task.

    Raises
    ------
    UserError
        If the token grids are too small for a task.
    """
    fields = tuple(fields)
    shares = masking.shares(forecast)
    names, bounds = list(shares), np.cumsum(list(shares.values()))[:-1]
    where = [None] * len(keys) if tokens is None else token_centres(tokens)
    masks: list[Masks] = []
    drawn = []
    for key, centres in zip(keys, where, strict=True):
        rng = generator(key, Purpose.MASK)
        drawn.append(names[np.searchsorted(bounds, rng.random(), side="right")])
        masks.append(STRATEGIES[drawn[-1]](Scene(fields, centres), rng, masking))
    return {f.name: torch.stack([mask[f.name] for mask in masks]) for f in fields}, drawn


def token_centres(tokens: Mapping[str, FieldTokens]) -> list[dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Where each sample's tokens are, as :class:`~atmorep_lite.masking.tasks.Scene` wants it.

    At the point that the model is told too, next to the middle where a side has an even number of points.
    """
    places = {name: field.info[:, 0, 0, :, :, 4:6].double().numpy() for name, field in tokens.items()}
    count = len(next(iter(places.values())))
    return [
        {name: (90.0 - at[b, :, 0, 0], at[b, 0, :, 1]) for name, at in places.items()} for b in range(count)
    ]


def check_masking(
    fields: Iterable[FieldConfig], masking: MaskingConfig, *, forecast: float | None = None
) -> None:
    """Try each task once, so that a run does not begin that one of them would end.

    Raises
    ------
    UserError
        If the token grids are too small for a task.
    """
    fields = tuple(fields)
    nowhere = {f.name: (np.zeros(f.num_tokens[1]), np.arange(f.num_tokens[2], dtype=float)) for f in fields}
    for name in masking.shares(forecast):
        STRATEGIES[name](Scene(fields, nowhere), generator(Key(0, 0, 0), Purpose.MASK), masking)
