"""What comes back from the model on the stage: prediction, ensemble, error, attention.

Plain functions, cached. A :class:`Question` is one neighbourhood with something hidden; its :class:`Answer`
comes of one forward pass, and everything on the screen comes of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
import xarray as xr

from atmorep_lite.app.hiding import Masks, Stroke, Task, check_field, masks
from atmorep_lite.app.stage import Stage
from atmorep_lite.attention_maps import AttentionCapture, Neighbourhood, as_capture
from atmorep_lite.errors import UserError
from atmorep_lite.model.atmorep import Trace
from atmorep_lite.model.fill import fill_in_time
from atmorep_lite.model.tails import Ensemble
from atmorep_lite.tokens import detokenize, spread_over_token
from atmorep_lite.verification import area_weights

KEPT = 24  # answers, of about 10 MB each for the shipped model


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes
    ----------
    time
        The last state that a forecast sees.
    latitude, longitude
        Centre of the neighbourhood, degrees north and east.
    task, strokes
        What is hidden, see :func:`atmorep_lite.app.hiding.masks`.
    """

    time: str
    latitude: float
    longitude: float
    task: Task = "forecast"
    strokes: tuple[Stroke, ...] = ()


@dataclass(frozen=True, eq=False)
class Answer:
    """What comes back, in normalised units; :meth:`shown` turns a field of it into physical ones."""

    stage: Stage
    question: Question
    cube: Neighbourhood
    predictions: dict[str, Ensemble]
    convolution: dict[str, torch.Tensor] | None
    trace: Trace
    hidden: Masks
    _shown: dict[str, Shown] = field(default_factory=dict)

    @property
    def latitude(self) -> np.ndarray:
        """[y] degrees north of the grid points."""
        return _latitude(self.cube)

    @property
    def longitude(self) -> np.ndarray:
        """[x] degrees east, ascending, past 360 where the neighbourhood lies across it."""
        return _longitude(self.cube)

    @property
    def asks(self) -> bool:
        """Whether anything is hidden that the model predicts."""
        return any(self.hidden[name].any() for name in self.stage.network.predicted)

    def shown(self, name: str) -> Shown:
        """One field in physical units, made when it is first asked for."""
        known = check_field(self.stage, name)
        if known not in self._shown:
            self._shown[known] = _physical(self, known)
        return self._shown[known]

    def capture(self) -> AttentionCapture:
        """What the encoder attended with, in this very forward pass.

        Raises
        ------
        UserError
            If the model sees context tokens, for which the maps have no place.
        """
        model = self.stage.network
        if wider := [f.name for f in model.config.fields if f.context is not None]:
            raise UserError(f"{wider[0]} attends to context tokens outside of the map, which it cannot show")
        return as_capture(model, self.cube, self.predictions, self.trace)


@dataclass(frozen=True)
class Shown:
    """One field of an answer.

    Attributes
    ----------
    truth
        [level, step, y, x] what happened.
    held
        The same without a model: hidden steps held or interpolated in time, or the climatological mean where
        nothing is visible.
    convolution
        The model's grid-scale part alone, without the transformer; None where it has none.
    members
        [member, level, step, y, x] what comes back; equal to the truth where it was visible. None where the
        model does not predict the field.
    hidden
        [level, slot, row, column] True where a token is hidden.
    at_points
        [level, step, y, x] the same at grid points.
    """

    truth: np.ndarray
    held: np.ndarray
    convolution: np.ndarray | None
    members: np.ndarray | None
    hidden: np.ndarray
    at_points: np.ndarray


@lru_cache(maxsize=KEPT)
def answer(stage: Stage, question: Question) -> Answer:
    """Ask the model.

    Raises
    ------
    UserError
        If the time is not in the data, a stroke names what is not there, or everything is hidden.
    """
    cube = stage.cut(question.time, question.latitude, question.longitude)
    hidden = masks(stage, question.task, question.strokes, _latitude(cube), _longitude(cube))
    tokens = {n: replace(t, mask=torch.from_numpy(hidden[n])[None]) for n, t in cube.tokens.items()}
    unseen = {n: t.with_values(t.values.masked_fill(t.mask[..., None], 0.0)) for n, t in tokens.items()}
    trace: Trace = {}
    with torch.inference_mode():
        convolution = guess = None
        if stage.network.grid_skip is not None:
            guess = stage.network.first_guess(unseen, cube.static)
            convolution = {name: first.values for name, first in guess.items()}
        predictions = stage.network(unseen, cube.static, trace=trace, guess=guess)
    return Answer(stage, question, replace(cube, tokens=tokens), predictions, convolution, trace, hidden)


def scores(shown: Shown, latitude: np.ndarray) -> dict[str, np.ndarray]:
    """Errors where the field was hidden: root mean squares with area weights, NaN where nothing was.

    Returns
    -------
    ``model`` (of the ensemble's mean), ``held``, ``convolution`` (if there is one) and ``spread`` (root of
    the mean variance), each [level, step] in physical units.
    """
    found = {"held": _rms(shown.held - shown.truth, shown, latitude)}
    if shown.convolution is not None:
        found["convolution"] = _rms(shown.convolution - shown.truth, shown, latitude)
    if shown.members is not None:
        found["model"] = _rms(shown.members.mean(0, dtype=float) - shown.truth, shown, latitude)
        if len(shown.members) > 1:
            found["spread"] = _rms(shown.members.std(0, ddof=1, dtype=float), shown, latitude)
    return found


def _rms(values: np.ndarray, shown: Shown, latitude: np.ndarray) -> np.ndarray:
    weight = area_weights(latitude).values[:, None] * shown.at_points
    total = weight.sum((-2, -1))
    with np.errstate(invalid="ignore"):
        return np.sqrt(
            (values.astype(float) ** 2 * weight).sum((-2, -1)) / np.where(total > 0, total, np.nan)
        )


def _latitude(cube: Neighbourhood) -> np.ndarray:
    return cube.data.latitude[cube.place.row :][: cube.data.model.extent[1]]


def _longitude(cube: Neighbourhood) -> np.ndarray:
    first, second = cube.data.longitude[:2]
    return first + (second - first) * (cube.place.column + np.arange(cube.data.model.extent[2]))


def _physical(given: Answer, name: str) -> Shown:
    """Put everything there is of a field side by side and undo the normalisation once."""
    f = given.stage.network.config.field(name)
    tokens = given.cube.tokens[name]
    truth = detokenize(tokens.values, f.token_size)
    points = spread_over_token(tokens.mask, f.token_size)
    parts = [truth, fill_in_time(truth, points)[0]]
    if given.convolution is not None:
        parts.append(torch.where(points, detokenize(given.convolution[name], f.token_size), truth))
    before = len(parts)
    if name in given.predictions:
        members = detokenize(given.predictions[name].members[0], f.token_size)
        parts.append(torch.where(points, members, truth))
    values = torch.cat(parts).numpy()
    columns = (given.cube.place.column + np.arange(values.shape[-1])) % len(given.cube.data.longitude)
    coordinates: dict[str, np.ndarray] = {
        "level": np.array(f.levels),
        "time": given.cube.time,
        "latitude": given.latitude,
        "longitude": given.cube.data.longitude[columns],
    }
    template = xr.Dataset({name: (("number", *coordinates), values)}, coords=coordinates)
    here = given.cube.normalizer.at(given.latitude, coordinates["longitude"])
    physical = here.denormalize(template)[name].transpose("number", *coordinates).values.astype(np.float32)
    return Shown(
        truth=physical[0],
        held=physical[1],
        convolution=physical[2] if given.convolution is not None else None,
        members=physical[before:] if name in given.predictions else None,
        hidden=given.hidden[name],
        at_points=points[0].numpy(),
    )
