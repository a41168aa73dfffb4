"""Scores on the held-out record while a model trains: forecasts of a few neighbourhoods, cheap to repeat.

The same neighbourhoods are used every time.  They are drawn by area, so that all their points count alike.
Errors are measured in normalised units: with statistics per level (``normalization: global`` or ``anomaly``)
every ratio here is that of errors in physical units too.  The scores of the whole record in physical units,
for a finished model, are those of :mod:`atmorep_lite.verification`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from atmorep_lite.config import Config, StageConfig
from atmorep_lite.data.loader import on_tensors
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.losses import fourier_coefficients, taper
from atmorep_lite.masking import Key, Purpose, forecast_masks, generator
from atmorep_lite.model import AtmoRep
from atmorep_lite.model.atmorep import Trace
from atmorep_lite.tokens import detokenize
from atmorep_lite.training.step import hide
from atmorep_lite.training.watch.attention_snapshot import write_snapshot

#: Waves shorter than so many grid spacings are small scales.
SHORT_WAVE = 4.0


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of one field at one batch of places, in normalised units.

    Attributes
    ----------
    members
        ``[member, batch, level, lead, latitude, longitude]``.
    truth
        ``[batch, level, lead, latitude, longitude]``.
    initial
        ``[batch, level, 1, latitude, longitude]``: the last state that the model saw.
    mean
        Of the same shape as ``initial``: the climatological mean; None where it is not known.
    """

    members: Tensor
    truth: Tensor
    initial: Tensor
    mean: Tensor | None


@torch.no_grad()
def validate(
    model: AtmoRep,
    data: Neighbourhoods,
    config: Config,
    stage: StageConfig,
    *,
    folder: Path | None = None,
    name: str = "snapshot",
    samples: int | None = None,
    at_once: int = 8,
    climate: Mapping[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """Forecast a few neighbourhoods of the held-out record and score the forecasts.

    Parameters
    ----------
    model
        A model in training; it is put into evaluation mode meanwhile.  In the stages ``grid_skip`` and
        ``regression`` its first guess is scored, otherwise the ensemble.
    data
        The held-out record.
    folder
        Receives ``<name>.csv`` and ``<name>.png``: what the encoder attends with in the first neighbourhood
        (:func:`~atmorep_lite.training.watch.attention_snapshot.write_snapshot`); None writes nothing.
    samples, at_once
        Number of neighbourhoods, and how many of them in one batch.  By default two batches of the stage,
        at least 4 and at most 32 neighbourhoods.
    climate
        Normalised climatological mean ``[level, latitude, longitude]`` of every field
        (:func:`climate_of`).  By default zero where the normalisation makes it that, and no scores against
        climatology with a mean per level only (``normalization: global``).

    Returns
    -------
    Scores by name, ``<score>/<field>/<lead>h``:

    ``rmse_over_persistence``, ``rmse_over_climatology``
        RMSE of the ensemble mean over that of the state at the initial time and of the climatological mean;
        roots taken last, mean over levels.  Below 1 is skill.  ``mean`` stands for the mean over fields.
    ``spread_over_error``
        ``sqrt(mean variance of the members) * sqrt((n+1)/n) / rmse``, 1 for a reliable ensemble (Fortin et
        al. 2014, doi:10.1175/JHM-D-14-0008.1); for ensembles only.
    ``small_scale_power``
        Power of the single members in waves shorter than 4 grid spacings over that of the truth; below 1
        where forecasts are too smooth.

    Empty where the model has no step to forecast from.
    """
    samples = min(max(2 * stage.batch_size, 4), 32) if samples is None else samples
    slots = config.masking.forecast_slots
    steps = model.config.extent[0]
    known = steps - slots * model.config.fields[0].token_size[0]
    if known < 1:
        return {}
    if climate is None and "global" not in config.data.normalization:
        climate = {
            f.name: np.zeros((len(f.levels), len(data.latitude), len(data.longitude)), np.float32)
            for f in model.config.fields
        }
    spacing = float((data.time[1] - data.time[0]) / np.timedelta64(1, "h"))
    sums = {name: Sums() for name in model.predicted}
    trace: Trace | None = {} if stage.part not in ("grid_skip", "regression") and folder is not None else None
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        for number, places in enumerate(_places(data, config, samples, at_once)):
            batch = on_tensors(data.batch(places), lambda x: x.to(device))
            masks = forecast_masks(model.config.fields, len(places), slots)
            hidden = hide(batch.tokens, {k: m.to(device) for k, m in masks.items()})
            if stage.part in ("grid_skip", "regression"):
                guess = model.first_guess(hidden, batch.static)
                members = {n: guess[n].values[:, None] for n in model.predicted}
            else:
                first = trace if number == 0 else None
                members = {n: e.members for n, e in model(hidden, batch.static, trace=first).items()}
            for field in model.predicted:
                size = model.config.field(field).token_size
                whole = detokenize(members[field].float(), size).transpose(0, 1)
                truth = detokenize(batch.tokens[field].values, size)
                mean = None if climate is None else _cut(climate[field], data, places).to(truth)
                sums[field].add(
                    Forecasts(
                        whole[..., known:, :, :], truth[:, :, known:], truth[:, :, known - 1 : known], mean
                    )
                )
            if trace and folder is not None:
                write_snapshot(folder, name, model, data, places[0], hidden, trace)
                trace = None
    finally:
        model.train(was_training)
    leads = {step: f"{spacing * (step + 1):g}h" for step in shown_leads(steps - known)}
    return named_scores(sums, leads)


def shown_leads(count: int) -> list[int]:
    """Of ``count`` forecast steps the last, and before it those at powers of two: 8 -> 0, 1, 3, 7."""
    return sorted({2**k - 1 for k in range(count.bit_length()) if 2**k <= count} | {count - 1})


class Sums:
    """Sums of squares over batches, ``[level, lead]`` each; scores are made of them at the end."""

    def __init__(self) -> None:
        self.members = 0
        self._sums: dict[str, Tensor] = {}

    def add(self, forecasts: Forecasts) -> None:
        """Take in the forecasts of one batch."""
        members, truth = forecasts.members.double(), forecasts.truth.double()
        self.members = len(members)
        parts = {
            "model": (members.mean(0) - truth).square(),
            "persistence": (forecasts.initial - truth).square(),
            "power": torch.stack([short_wave_power(m) for m in members]).mean(0),
            "true_power": short_wave_power(truth),
        }
        if forecasts.mean is not None:
            parts["climatology"] = (forecasts.mean - truth).square()
        if self.members > 1:
            parts["variance"] = members.var(0)
        for name, squares in parts.items():
            total = squares.sum((0, 3, 4)).cpu()
            self._sums[name] = self._sums[name] + total if name in self._sums else total

    def scores(self) -> dict[str, Tensor]:
        """The scores that :func:`validate` names, ``[lead]`` each, means over levels."""
        s = self._sums
        found = {"rmse_over_persistence": (s["model"] / s["persistence"]).sqrt()}
        if "climatology" in s:
            found["rmse_over_climatology"] = (s["model"] / s["climatology"]).sqrt()
        if "variance" in s:
            inflation = (self.members + 1) / self.members
            found["spread_over_error"] = (s["variance"] * inflation / s["model"]).sqrt()
        found["small_scale_power"] = s["power"] / s["true_power"]
        return {name: ratio.mean(0) for name, ratio in found.items()}


def short_wave_power(maps: Tensor) -> Tensor:
    """Squares of the tapered maps' Fourier coefficients ``[..., ky, kx]``, 0 but for the short waves.

    Short are waves with fewer than :data:`SHORT_WAVE` points from crest to crest, in any direction.
    """
    rows, columns = maps.shape[-2:]
    coefficients = fourier_coefficients(maps * taper(rows, columns).to(maps))
    ky = torch.fft.fftfreq(rows, dtype=torch.float64)[:, None]
    kx = torch.fft.rfftfreq(columns, dtype=torch.float64)
    short = torch.hypot(ky, kx) > 1 / SHORT_WAVE
    return coefficients.square().sum(-1) * short.to(maps)


def named_scores(sums: Mapping[str, Sums], leads: Mapping[int, str]) -> dict[str, float]:
    """Scores of all fields under the names that :func:`validate` returns; those not finite are left out."""
    named: dict[str, float] = {}
    for field, total in sums.items():
        for score, values in total.scores().items():
            named |= {f"{score}/{field}/{label}": float(values[step]) for step, label in leads.items()}
    for score in ("rmse_over_persistence", "rmse_over_climatology"):
        for label in leads.values():
            each = [
                named[f"{score}/{field}/{label}"] for field in sums if f"{score}/{field}/{label}" in named
            ]
            if each:
                named[f"{score}/mean/{label}"] = float(np.mean(each))
    return {name: value for name, value in named.items() if np.isfinite(value)}


def climate_of(data: Neighbourhoods, most: int = 60) -> dict[str, np.ndarray]:
    """Mean of every normalised field ``[level, latitude, longitude]`` over at most ``most`` times.

    With 60 independent states the error of the mean adds 1/120 to the RMSE of climatology.
    """
    sound = np.flatnonzero(data.sound)
    times = sound[np.unique(np.linspace(0, len(sound) - 1, most).astype(int))]
    rows, columns = len(data.latitude), np.arange(len(data.longitude))
    means = {}
    for f in data.model.fields:
        state = np.empty((len(f.levels), 1, rows, len(columns)), np.float32)
        total = np.zeros((len(f.levels), rows, len(columns)))
        for time in times:
            total += data.fields[f.name].cut(int(time), 1, 0, rows, columns, out=state)[:, 0]
        means[f.name] = (total / len(times)).astype(np.float32)
    return means


def _places(data: Neighbourhoods, config: Config, samples: int, at_once: int) -> Iterator[list[Place]]:
    """Places of the validation record, the same ones every time."""
    for first in range(0, samples, at_once):
        count = min(at_once, samples - first)
        keys = [Key(config.training.seed, 0, first + n) for n in range(count)]
        yield [data.draw(1, generator(key, Purpose.PLACE))[0] for key in keys]


def _cut(maps: np.ndarray, data: Neighbourhoods, places: list[Place]) -> Tensor:
    """``[level, latitude, longitude]`` of the grid -> ``[batch, level, 1, latitude, longitude]``."""
    _, height, width = data.model.extent
    cut = [
        maps[:, p.row : p.row + height][..., np.arange(p.column, p.column + width) % len(data.longitude)]
        for p in places
    ]
    return torch.from_numpy(np.stack(cut)[:, :, None])
