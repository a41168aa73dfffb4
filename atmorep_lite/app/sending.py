"""An answer as what the page draws: a description that JSON can hold, and one buffer of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import yaml

from atmorep_lite.app.compute import Answer, Shown, scores
from atmorep_lite.labels import drawn_units, long_name, moment
from atmorep_lite.widgets.packing import SIGNED, Buffer

MOST_TIMES = 400  # that a slider offers


def as_sent(given: Answer, name: str, number: int) -> tuple[dict[str, Any], bytes]:
    """Description and numbers of one field of an answer.

    Parameters
    ----------
    given, name
        Answer and field.
    number
        Of the answer; stands at the head of the buffer too, so that the page draws what belongs together.

    Returns
    -------
    dict, bytes
        Numbers named ``at`` are offsets into the buffer, of float32 in the field's drawn units.
    """
    stage, shown = given.stage, given.shown(name)
    f = stage.network.config.field(name)
    _, ty, tx = f.token_size
    variable = stage.dataset[name] if name in stage.dataset else next(iter(stage.dataset.data_vars.values()))
    factor, units = drawn_units(name, variable) if name in stage.dataset else (1.0, "")
    buffer = Buffer()
    buffer.add(np.array([number], np.int32))
    arrays = {
        "truth": shown.truth,
        "held": shown.held,
        "convolution": shown.convolution,
        "members": shown.members,
    }
    at = {key: buffer.add((a * factor).astype(np.float32)) for key, a in arrays.items() if a is not None}
    at["hidden"] = buffer.add(shown.hidden.astype(np.uint8))
    latitude, longitude = given.latitude.reshape(-1, ty).mean(1), given.longitude.reshape(-1, tx).mean(1)
    ranges, errors, signed = _ranges(shown, factor)
    times = stage.times[np.unique(np.linspace(0, len(stage.times) - 1, MOST_TIMES).round().astype(int))]
    return {
        "number": number,
        "name": name,
        "label": long_name(name),
        "units": units,
        "level": [int(level) for level in f.levels],
        "hours": [float(hour) for hour in stage.hours],
        "valid": [moment(time) for time in given.cube.time],
        "shape": list(shown.hidden.shape),
        "steps": f.token_size[0],
        "grid": [len(given.latitude), len(given.longitude)],
        "latitude": latitude.tolist(),
        "longitude": longitude.tolist(),
        "token": [
            ty * abs(float(given.latitude[1] - given.latitude[0])),
            tx * float(given.longitude[1] - given.longitude[0]),
        ],
        "range": ranges,
        "error": errors,
        "signed": signed,
        "members": 0 if shown.members is None else len(shown.members),
        "at": at,
        "scores": _plain(scores(shown, given.latitude), factor),
        "task": given.question.task,
        "asks": given.asks,
        "painted": len(given.question.strokes),
        "fields": [{"value": one, "label": long_name(one)} for one in stage.network.config.names],
        "times": [str(time)[:16] for time in times],
        "time": given.question.time[:16],
        "simulated": stage.simulated,
    }, buffer.bytes()


def as_scene(state: dict[str, Any]) -> str:
    """What is on the stage as YAML, to be pasted into a file of scenes."""
    scene = {key: value for key, value in state.items() if value not in (None, [], ())}
    return yaml.safe_dump([scene], sort_keys=False, allow_unicode=True, width=110)


def _ranges(shown: Shown, factor: float) -> tuple[list[list[float]], list[float], bool]:
    """By level, least and greatest true value and the error that fills the colours; whether it is signed."""
    ranges, errors = [], []
    for level, truth in enumerate(shown.truth * factor):
        low, high = float(truth.min()), float(truth.max())
        ranges.append([low, high if high > low else low + 1.0])
        guess = shown.held[level] if shown.members is None else shown.members[:, level].mean(0)
        off = np.abs(guess * factor - truth)[shown.at_points[level]]
        largest = float(np.quantile(off, 0.995)) if off.size else 0.0
        errors.append(largest if largest > 0 else 0.1 * (ranges[-1][1] - ranges[-1][0]))
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    return ranges, errors, bool(low < 0 < high and min(-low, high) > SIGNED * max(-low, high))


def _plain(found: dict[str, np.ndarray], factor: float) -> dict[str, list[list[float | None]]]:
    """Scores as JSON can hold them: None where nothing was hidden."""
    return {
        name: [[None if np.isnan(v) else float(v) * factor for v in row] for row in table]
        for name, table in found.items()
    }
