"""Which sample of a step is to blame: the loss of each is computed again, alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from torch import Tensor

from atmorep_lite.config import Triple
from atmorep_lite.data.sampling import Neighbourhoods, Place
from atmorep_lite.masking import Key
from atmorep_lite.tokens import detokenize
from atmorep_lite.training.guard import Trouble
from atmorep_lite.training.processes import ALONE, Processes


@dataclass(frozen=True)
class Culprit:
    """The sample of a step that is to blame, with the most extreme value in it.

    ``loss`` is that of the sample alone (``others``: the median of the batch's other samples), or the norm of
    its gradient, as ``measured`` says; ``worst_field`` has the largest loss.  ``value`` is in standard
    deviations.
    """

    sample: int
    measured: str
    loss: float
    others: float
    worst_field: str
    first: str
    last: str
    north: tuple[float, float]
    east: tuple[float, float]
    field: str
    value: float
    level: int
    time: str
    latitude: float
    longitude: float

    def __str__(self) -> str:
        if not np.isfinite(self.others):
            return f"the {self.measured} of every sample alone is {self.loss}, so the weights are at fault"
        if np.isfinite(self.loss) and self.loss < 2 * self.others:
            alone = f"no sample stands out; the largest {self.measured} alone, {self.loss:.3g}, has"
        else:
            alone = f"alone, the {self.measured} is {self.loss:.3g} (others: {self.others:.3g}) of"
        level = f"{self.level} hPa" if self.level else "the surface"
        return (
            f"{alone} sample {self.sample} ({self.first} to {self.last}, {self.north[1]:g} to "
            f"{self.north[0]:g} degrees north, {self.east[0]:g} to {self.east[1]:g} degrees east), whose "
            f"{self.worst_field} is worst predicted and whose most extreme value is {self.value:.4g} "
            f"standard deviations of {self.field} at {self.time}, {self.latitude:g} degrees north, "
            f"{self.longitude:g} degrees east, {level}"
        )


def blame(
    trouble: Trouble,
    keys: Sequence[Key],
    measure: Callable[[Key], tuple[Tensor, dict[str, float]]],
    place_of: Callable[[Key], Place],
    data: Neighbourhoods,
    *,
    processes: Processes = ALONE,
    parameters: Sequence[Tensor] = (),
) -> Culprit:
    """Find the sample by which a step went wrong: each one's loss is computed again, alone.

    To be called by all processes alike, before the update.

    Parameters
    ----------
    keys
        Of the whole batch; each process measures its contiguous share.
    measure
        Loss of one sample alone: total, with a graph if it is to be differentiated, and per field.
    place_of
        Where a sample lies.
    parameters
        What is learnt: given, a gradient norm that is too large is traced by the gradients of single samples.
        Leave it out where weights are spread over processes.
    """
    by_gradient = processes.any(trouble.what == "gradient norm" and len(parameters) > 0)
    share = len(keys) // processes.count
    own = range(processes.rank * share, (processes.rank + 1) * share)
    fields = data.model.names
    table = torch.zeros(len(keys), 1 + len(fields), dtype=torch.float64, device=processes.device)
    devices = [processes.device] if processes.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.set_grad_enabled(by_gradient):
        for n in own:
            loss, per_field = measure(keys[n])
            table[n, 0] = _gradient_norm(loss, parameters) if by_gradient else float(loss.detach())
            table[n, 1:] = torch.tensor([per_field.get(name, 0.0) for name in fields])
    processes.sum(table)
    ranked = table.nan_to_num(nan=torch.inf)
    n = int(ranked[:, 0].argmax())
    others = [value for i, value in enumerate(ranked[:, 0].tolist()) if i != n]
    place = place_of(keys[n])
    field, value, level, (step, row, column) = _most_extreme(data, place)
    _, height, width = data.model.extent
    columns = (place.column + np.arange(width)) % len(data.longitude)
    steps = (place.step, place.step + data.model.extent[0] - 1)
    return Culprit(
        sample=keys[n].sample,
        measured="gradient norm" if by_gradient else "loss",
        loss=float(table[n, 0]),
        others=median(others) if others else 0.0,
        worst_field=fields[int(ranked[n, 1:].argmax())],
        first=_date(data.time[steps[0]]),
        last=_date(data.time[steps[1]]),
        north=(float(data.latitude[place.row + height - 1]), float(data.latitude[place.row])),
        east=(float(data.longitude[columns[0]]), float(data.longitude[columns[-1]])),
        field=field,
        value=value,
        level=level,
        time=_date(data.time[place.step + step]),
        latitude=float(data.latitude[place.row + row]),
        longitude=float(data.longitude[columns[column]]),
    )


def _gradient_norm(loss: Tensor, parameters: Sequence[Tensor]) -> float:
    if not loss.requires_grad:  # nothing was hidden
        return 0.0
    gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    return float(torch.nn.utils.get_total_norm([g for g in gradients if g is not None]))


def _most_extreme(data: Neighbourhoods, place: Place) -> tuple[str, float, int, Triple]:
    """Field, value, level and place in the neighbourhood (time, row, column) of the most extreme value."""
    tokens = data.batch([place]).tokens
    found = []
    for f in data.model.fields:
        grid = detokenize(tokens[f.name].values, f.token_size)[0]
        size = grid.abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
        level, *where = np.unravel_index(int(size.argmax()), grid.shape)
        index = (int(where[0]), int(where[1]), int(where[2]))
        found.append((float(size.max()), f.name, float(grid[(int(level), *index)]), f.levels[level], index))
    _, name, value, hpa, index = max(found, key=lambda each: each[0])
    return name, value, hpa, index


def _date(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, unit="m"))
