"""Ways of hiding: each is a task that a model can be given.

A task is a function ``(scene, rng, masking) -> masks`` for one sample.  ``scene`` says which token grids
there are, ``rng`` is the sample's own generator, ``masking`` holds the settings.  It returns, by field, a
boolean mask ``[level, token_time, token_lat, token_lon]``, True where the model may not look.

Fields may cut the same neighbourhood into tokens of different sizes.  Tasks in time hide the same hours of
all fields.  Tasks in space hide the same region: a token belongs to it if its centre does.

Every task hides a token of a predicted field and leaves a token visible, for any generator, or refuses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atmorep_lite.config import FieldConfig, MaskingConfig
from atmorep_lite.errors import UserError

Masks = dict[str, Tensor]


@dataclass(frozen=True)
class Scene:
    """One neighbourhood, seen from afar.

    Attributes
    ----------
    fields
        The fields and their token grids.
    centres
        By field, where its tokens are: latitudes ``[token_lat]`` and longitudes ``[token_lon]`` in degrees.
        Only satellites ask for them.
    """

    fields: tuple[FieldConfig, ...]
    centres: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None


def hide_slots(shape: Sequence[int], slots: Iterable[int]) -> Tensor:
    """Hide all tokens of the given time slots (negative counts from the end).

    ``shape`` is ``[..., token_time, token_lat, token_lon]``, and so is the mask's.
    """
    slots = list(slots)
    count = shape[-3]
    for slot in slots:
        if not -count <= slot < count:
            raise UserError(f"time slot {slot} does not exist; there are {count} slots, 0 to {count - 1}")
    mask = torch.zeros(tuple(shape), dtype=torch.bool)
    mask[..., slots, :, :] = True
    return mask


def hide_future(shape: Sequence[int], slots: int) -> Tensor:
    """Hide the last ``slots`` time slots."""
    if not 0 < slots < shape[-3]:
        raise UserError(
            f"a forecast of {slots} token slots needs more than {slots} slots, but there are {shape[-3]}"
        )
    return hide_slots(shape, range(shape[-3] - slots, shape[-3]))


def hide_at_random(shape: Sequence[int], max_rate: float, rng: np.random.Generator) -> Tensor:
    """BERT-style: hide a fraction from U(0, ``max_rate``), drawn anew for each of the leading axes.

    At least one token is hidden, and one stays visible where there are two or more.  ``shape`` is
    ``[..., token_time, token_lat, token_lon]``, and so is the mask's.
    """
    lead, count = tuple(shape[:-3]), math.prod(shape[-3:])
    hidden = np.ceil(rng.random(lead) * max_rate * count).clip(1, max(1, count - 1)).astype(int)
    lots = rng.random((*lead, count))
    last_drawn = np.take_along_axis(np.sort(lots, -1), hidden[..., None] - 1, -1)
    return torch.from_numpy(lots <= last_drawn).view(tuple(shape))


def forecast_masks(fields: Iterable[FieldConfig], batch: int, slots: int) -> Masks:
    """A forecast's masks for a whole batch: ``slots`` token slots of the first field, in all fields.

    Raises
    ------
    UserError
        If these steps are not a whole number of slots of every field, or nothing would stay visible.
    """
    fields = tuple(fields)
    steps = _steps(fields, slots, "forecast")
    return {
        f.name: hide_future((batch, len(f.levels), *f.num_tokens), steps // f.token_size[0]) for f in fields
    }


def random(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> Masks:
    """Tokens at random, independently by field and level; with some probability one whole field as well."""
    several = sum(math.prod(f.num_tokens) > 1 for f in scene.fields)
    if not several:
        raise UserError("hiding at random needs a field of two tokens or more; choose smaller tokens")
    if several == 1 and masking.whole_field > 0:
        raise UserError("masking.whole_field needs two fields of two tokens or more; set it to 0")
    masks = {f.name: hide_at_random(_shape(f), masking.max_rate, rng) for f in scene.fields}
    if rng.random() < masking.whole_field:
        masks[scene.fields[rng.integers(len(scene.fields))].name].fill_(True)
    return masks


def forecast(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> Masks:
    """The last slots: what comes next?"""
    masks = forecast_masks(scene.fields, 1, masking.forecast_slots)
    return {name: mask[0] for name, mask in masks.items()}


def hindcast(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> Masks:
    """The first slots: what was before?"""
    steps = _steps(scene.fields, masking.hindcast_slots, "hindcast")
    if steps >= scene.fields[0].extent[0]:
        raise UserError(
            f"a hindcast of {steps} time steps leaves nothing of {scene.fields[0].extent[0]} to see; "
            "lower masking.hindcast_slots"
        )
    return _hide_steps(scene, 0, steps)


def interpolation(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> Masks:
    """Slots in between, at a random time: what happened meanwhile?  Before and after, all is visible."""
    steps = _steps(scene.fields, masking.interpolation_slots, "interpolation")
    unit = math.lcm(*(f.token_size[0] for f in scene.fields))
    total = scene.fields[0].extent[0]
    starts = range(unit, total - steps - unit + 1, unit)
    if not starts:
        raise UserError(
            f"interpolation over {steps} of {total} time steps needs {unit} visible ones before and after; "
            "lower masking.interpolation_slots or choose another task"
        )
    return _hide_steps(scene, starts[rng.integers(len(starts))], steps)


def level(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> Masks:
    """Whole levels, the same in all fields that have them: what is above and below?"""
    every = {level for f in scene.fields for level in f.levels}
    choice = sorted({level for f in _predicted(scene) for level in f.levels})
    count = masking.hidden_levels
    if count > len(choice) or count >= len(every):
        raise UserError(
            f"hiding {count} level(s) needs more than {count}, but the fields have {len(every)}, of which "
            f"{len(choice)} are predicted; lower masking.hidden_levels or choose another task"
        )
    hidden = set(rng.choice(choice, count, replace=False).tolist())
    masks = {}
    for f in scene.fields:
        chosen = torch.tensor([level in hidden for level in f.levels])
        masks[f.name] = chosen[:, None, None, None].expand(_shape(f))
    return masks


def field(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> Masks:
    """One predicted field at all times: what do the others tell about it?"""
    predicted = _predicted(scene)
    if len(scene.fields) < 2 or not predicted:
        raise UserError("hiding a whole field needs a second one to look at; choose another task")
    name = predicted[rng.integers(len(predicted))].name
    return {f.name: torch.full(_shape(f), f.name == name) for f in scene.fields}


def box(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> Masks:
    """What lies in a random box of space and time: how does the hole close?"""
    return _on_all_levels(scene, _random_box(scene, rng, masking))


def crop(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> Masks:
    """All but what lies in a random box of space and time: what surrounds it?"""
    inside = _random_box(scene, rng, masking)
    return _on_all_levels(scene, {name: ~mask for name, mask in inside.items()})


def _random_box(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> Masks:
    """Which tokens' centres lie in a box: ``[token_time, token_lat, token_lon]``.

    Its sides are whole grid points, at least as long as the largest token and at least that much shorter
    than the neighbourhood.  So each token grid has a centre inside (centres are one token apart) and one
    outside.  A direction too short for that is not cut.
    """
    starts, sides = [], []
    extent = scene.fields[0].extent
    for axis, size in enumerate(extent):
        token = max(f.token_size[axis] for f in scene.fields)
        side = size
        if size >= 2 * token:
            side = int(np.clip(round(size * rng.uniform(*masking.box_sides)), token, size - token))
        sides.append(side)
        starts.append(int(rng.integers(size - side + 1)))
    if tuple(sides) == extent:
        raise UserError(
            "a box needs a direction in which every field has two tokens or more; choose smaller tokens or "
            "another task"
        )
    masks = {}
    for f in scene.fields:
        t, y, x = (
            _in_interval(count, size, start, side)
            for count, size, start, side in zip(f.num_tokens, f.token_size, starts, sides, strict=True)
        )
        masks[f.name] = torch.from_numpy(t[:, None, None] & y[:, None] & x)
    return masks


def _in_interval(count: int, size: int, start: int, length: int) -> np.ndarray:
    """Which centres of ``count`` tokens of ``size`` points lie in ``[start, start + length)``."""
    centre = (np.arange(count) + 0.5) * size
    return (start <= centre) & (centre < start + length)


def _on_all_levels(scene: Scene, masks: Masks) -> Masks:
    """The same ``[token_time, token_lat, token_lon]`` on all levels."""
    return {f.name: masks[f.name].expand(_shape(f)) for f in scene.fields}


def _shape(f: FieldConfig) -> tuple[int, int, int, int]:
    return (len(f.levels), *f.num_tokens)


def _predicted(scene: Scene) -> list[FieldConfig]:
    return [f for f in scene.fields if f.loss_weight > 0]


def _hide_steps(scene: Scene, first: int, steps: int) -> Masks:
    """Hide time steps ``first`` to ``first + steps - 1``, whole slots of every field."""
    return {
        f.name: hide_slots(_shape(f), range(first // f.token_size[0], (first + steps) // f.token_size[0]))
        for f in scene.fields
    }


def _steps(fields: tuple[FieldConfig, ...], slots: int, task: str) -> int:
    """Length of ``slots`` token slots of the first field in time steps: whole slots of every field."""
    steps = slots * fields[0].token_size[0]
    article = "an" if task[0] in "aeiou" else "a"
    for f in fields:
        if steps % f.token_size[0]:
            raise UserError(
                f"{article} {task} of {steps} time steps is not a whole number of tokens of {f.name} "
                f"({f.token_size[0]} steps each); choose another masking.{task}_slots"
            )
    return steps
