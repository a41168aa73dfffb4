"""What any learned forecast must beat: persistence, climatology, and a linear regression of seconds.

Each returns a forecast in the layout that :mod:`atmorep_lite.verification` scores: dims
``(time, prediction_timedelta, level, latitude, longitude)``, ``time`` the initial time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from atmorep_lite.errors import UserError
from atmorep_lite.layout import GRID, at_times, forecast_dataset, hours, pieces, same_grid, weather
from atmorep_lite.ridge import PENALTIES, NormalEquations, held_out_loss, solve_path, square_stencil


def persistence(truth: xr.Dataset, times: np.ndarray, leads: Sequence[int]) -> xr.Dataset:
    """Nothing changes: the forecast is the state at the initial time.

    Parameters
    ----------
    truth
        ``[time, level, latitude, longitude]``; variables without time or level are left out.
    times
        Initial times, all in ``truth``.
    leads
        Lead times in hours.

    Raises
    ------
    UserError
        If ``truth`` lacks an initial time.
    """
    state = at_times(weather(truth), times)
    lead = xr.DataArray(hours(leads), dims="prediction_timedelta", name="prediction_timedelta")
    forecast = state.expand_dims(prediction_timedelta=lead)
    return forecast.transpose("time", "prediction_timedelta", "level", *GRID)


def climatology(
    train: xr.Dataset, truth: xr.Dataset, times: np.ndarray, leads: Sequence[int], *, by_month: bool = False
) -> xr.Dataset:
    """The mean of the training record at each grid point, whatever the weather is today.

    Parameters
    ----------
    train
        The record to average, ``[time, level, latitude, longitude]``.
    truth
        Says which fields and levels to forecast.
    times, leads
        Initial times; lead times in hours.
    by_month
        Average each calendar month on its own and use that of the valid time, so that the baseline knows
        the season.  The default is one mean over the whole record: right for records under a year.

    Raises
    ------
    UserError
        If the training record lacks a field, a level or (``by_month``) a month, or is on another grid.
    """
    wanted = weather(truth)
    names = [str(n) for n in wanted.data_vars]
    if lacking := [n for n in names if n not in train]:
        raise UserError(
            f"the training record has no {lacking[0]}; drop it from the truth or add it to the record"
        )
    try:
        record = train[names].sel(level=wanted["level"])
    except KeyError as error:
        raise UserError(
            "the training record lacks a level of the truth; select levels that both have"
        ) from error
    same_grid(record, wanted, "the training record")
    times = np.asarray(times, "datetime64[ns]")
    valid = times[:, None] + hours(leads)
    month = _month(valid)
    months = np.unique(month) if by_month else np.zeros(1, int)
    group = np.searchsorted(months, month) if by_month else np.zeros_like(month)
    of_record = _month(record["time"].values)
    means = []
    for number in months:
        chosen = np.flatnonzero(of_record == number) if by_month else np.arange(record.sizes["time"])
        if not chosen.size:
            raise UserError(
                f"the training record has no month {number}, which the forecasts reach; "
                "use by_month=False or a record that covers the year"
            )
        means.append(_time_mean(record, chosen))
    values = {name: np.stack([m[name] for m in means])[group] for name in names}
    return forecast_dataset(values, wanted, times, leads)


@dataclass(frozen=True)
class RidgeForecast:
    """A fitted linear forecast: departure from persistence = coefficients x stencil of normalised anomalies.

    Attributes
    ----------
    fields, levels, leads
        What it forecasts (and sees), the last in hours.
    latitude, longitude
        The grid it was fitted on, degrees.
    width
        Points across the stencil.
    step
        Hours between the states that it sees.
    mean
        ``[state, channel, latitude, longitude]`` mean over the record of each state it sees, the initial
        state first, then back in time; channel = (field, level) in C order.
    scale
        ``[channel, latitude]`` standard deviation of each row.
    drift
        ``[lead, channel, latitude, longitude]`` mean departure over the record.
    coefficients
        ``[latitude, input, lead * channel]`` on anomalies divided by ``scale``.
    penalty
        ``[latitude, lead]`` as fitted, per sample: 0.01 weighs like 1 % of an input's variance.
    """

    fields: tuple[str, ...]
    levels: tuple[int, ...]
    leads: tuple[int, ...]
    latitude: np.ndarray
    longitude: np.ndarray
    width: int
    step: float
    mean: np.ndarray
    scale: np.ndarray
    drift: np.ndarray
    coefficients: np.ndarray
    penalty: np.ndarray

    def forecast(self, truth: xr.Dataset, times: np.ndarray) -> xr.Dataset:
        """Forecast from each of ``times``; ``truth`` must hold these and the earlier states that it sees.

        Raises
        ------
        UserError
            If ``truth`` lacks a time, a field or a level, or is on another grid.
        """
        times = np.asarray(times, "datetime64[ns]")
        state = _select(truth, self.fields, self.levels)
        same_grid(
            state, xr.Dataset(coords={"latitude": self.latitude, "longitude": self.longitude}), "the truth"
        )
        states, channels, rows, columns = self.mean.shape
        leads = len(self.leads)
        stencil = square_stencil(states * channels, self.width)
        out = np.empty((len(times), leads, channels, rows, columns), np.float32)
        for part in pieces(len(times), self.mean.size * 4):
            earlier = [times[part] - hours(self.step * i) for i in range(states)]
            seen = np.stack([_values(at_times(state, each)) for each in earlier])
            anomaly = ((seen - self.mean[:, None]) / self.scale[:, :, None]).astype(np.float32)
            anomaly = np.concatenate(list(anomaly), axis=1)  # [t, state * channel, y, x]
            for y in range(rows):
                weights = self.coefficients[y].T.astype(np.float32)
                departure = (weights @ stencil.gather(anomaly, y)).reshape(-1, leads, channels, columns)
                departure = departure * self.scale[:, y, None] + self.drift[:, :, y]
                out[part, :, :, y] = seen[0][:, None, :, y] + departure
        by_level = out.reshape(*out.shape[:2], len(self.fields), len(self.levels), rows, columns)
        values = {name: by_level[:, :, i] for i, name in enumerate(self.fields)}
        return forecast_dataset(values, state, times, self.leads)


def fit_ridge(
    train: xr.Dataset,
    fields: Sequence[str],
    levels: Sequence[int],
    leads: Sequence[int],
    *,
    penalty: float | None = None,
    stencil: int = 5,
    states: int = 3,
    max_times: int = 2000,
) -> RidgeForecast:
    """Fit a linear forecast in closed form: one ridge regression per latitude row, lead and target.

    Inputs are ``stencil`` x ``stencil`` points around the target, of every field and level given, at the
    initial time and the steps before it (columns wrap, rows beyond a pole repeat the last).  The target is
    the departure from persistence.  Inputs are anomalies from the mean at each grid point, in standard
    deviations of their row; the mean departure at each point is taken as it is, so the fit needs no
    constant.  Sums are kept in double precision; memory does not grow with the record.

    Parameters
    ----------
    train
        Record ``[time, level, latitude, longitude]`` on a global grid.
    fields, levels, leads
        What to see and to forecast; levels in hPa, leads in hours.
    penalty
        Ridge penalty per sample and unit of normalised variance.  By default chosen for every row and lead
        among 1e-10 ... 1: fitted on the first 80 % of the record, compared on the rest, then fitted to all.
    stencil
        Points across, odd.
    states
        How many states it sees: 1 the initial state alone, 2 also that of one step before, and so on.  They
        tell how the weather was changing, which matters more than a wider stencil.
    max_times
        Initial times used, evenly spread over the record.

    Raises
    ------
    UserError
        If the record lacks something, is too short or not global, or ``stencil`` is even or too wide, or
        ``states`` is below 1, or ``penalty`` not positive.
    """
    if states < 1:
        raise UserError(f"ridge regression cannot see {states} states; choose 1 or more")
    if penalty is not None and penalty <= 0:
        raise UserError(
            f"a ridge penalty of {penalty} is not positive; choose for example 1e-6, or None to try several"
        )
    state = _select(train, fields, levels)
    rows, columns = (state.sizes[name] for name in GRID)
    _check_ring(state["longitude"].values, stencil)
    known = state["time"].values.astype("datetime64[ns]")
    step = float(np.diff(known).min() / np.timedelta64(1, "h")) if known.size > 1 else 0.0
    offsets = np.array([*(-step * np.arange(states)), *leads])
    starts = _starts(known, offsets, max_times)
    mean, scale = _moments(state, starts, offsets)
    seen, wanted = states * len(fields) * len(levels), len(leads) * len(fields) * len(levels)
    inputs = square_stencil(seen, stencil)
    first, last = (NormalEquations(inputs, rows, columns, seen, wanted) for _ in range(2))
    border = int(0.8 * len(starts))
    for part, sums in ((starts[:border], first), (starts[border:], last)):
        for at_offsets in _states(state, part, offsets):
            anomaly = (at_offsets - mean[:, None]) / scale[:, :, None]
            sums.add(
                np.concatenate(list(anomaly[:states]), axis=1),
                np.concatenate(list(anomaly[states:] - anomaly[0]), axis=1),
            )
    coefficients, penalties = _solve_rows(first, last, len(leads), penalty)
    return RidgeForecast(
        fields=tuple(fields),
        levels=tuple(int(x) for x in levels),
        leads=tuple(int(x) for x in leads),
        latitude=state["latitude"].values,
        longitude=state["longitude"].values,
        width=stencil,
        step=step,
        mean=mean[:states],
        scale=scale,
        drift=mean[states:] - mean[0],
        coefficients=coefficients,
        penalty=penalties,
    )


def _solve_rows(
    first: NormalEquations, last: NormalEquations, leads: int, penalty: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients ``[y, input, lead * channel]`` and penalties ``[y, lead]``."""
    coefficients, penalties = [], []
    samples = first.samples + last.samples
    for y in range(first.rows):
        (gram, cross), (gram_last, cross_last) = first.row(y), last.row(y)
        if penalty is None:
            loss = held_out_loss(solve_path(gram, cross, PENALTIES * first.samples), gram_last, cross_last)
            chosen = PENALTIES[loss.reshape(len(PENALTIES), leads, -1).sum(-1).argmin(0)]
        else:
            chosen = np.full(leads, float(penalty))
        everything = (cross + cross_last).reshape(len(cross), leads, -1)
        fits = []
        for lead, weight in enumerate(chosen * samples):
            damped = gram + gram_last + weight * np.eye(len(gram))
            fits.append(np.linalg.solve(damped, everything[:, lead]))
        coefficients.append(np.concatenate(fits, axis=-1))
        penalties.append(chosen)
    return np.stack(coefficients), np.stack(penalties)


def _moments(state: xr.Dataset, starts: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``[offset, channel, y, x]`` over the starts; standard deviation ``[channel, y]`` at offset 0."""
    total: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0
    for at_offsets in _states(state, starts, offsets):
        total = total + at_offsets.sum(1)
        squares = squares + (at_offsets[0] ** 2).sum(0)
    mean = np.asarray(total) / len(starts)
    variance = np.maximum(np.asarray(squares) / len(starts) - mean[0] ** 2, 0.0).mean(-1)
    if not np.isfinite(variance).all():
        raise UserError("the training record has missing values; ridge regression needs complete fields")
    rounding = 1e-13 * (mean[0] ** 2).mean(-1)
    return mean, np.where(variance > rounding, np.sqrt(variance), 1.0)


def _states(state: xr.Dataset, starts: np.ndarray, offsets: np.ndarray) -> Iterator[np.ndarray]:
    """Pieces of the record, float64 ``[offset, t, channel, y, x]``: the states at starts + offsets."""
    each = len(offsets) * len(state.data_vars) * int(np.prod([state.sizes[n] for n in ("level", *GRID)]))
    known = state["time"].values.astype("datetime64[ns]")
    for part in pieces(len(starts), each):
        at = np.searchsorted(known, starts[part] + hours(offsets)[:, None])
        needed, where = np.unique(at, return_inverse=True)
        yield _values(state.isel(time=needed))[where.reshape(at.shape)]


def _check_ring(longitude: np.ndarray, stencil: int) -> None:
    if stencil < 1 or stencil % 2 == 0 or 2 * stencil > longitude.size:
        raise UserError(
            f"a stencil of {stencil} points does not fit; choose an odd number up to half of {longitude.size}"
        )
    if not np.allclose(np.diff(longitude), 360 / longitude.size, atol=1e-3):
        raise UserError(
            "ridge regression needs all longitudes, evenly spaced from 0 to 360; open a global dataset"
        )


def _starts(known: np.ndarray, offsets: np.ndarray, at_most: int) -> np.ndarray:
    """Times of the record from which every offset (hours) is in the record too; evenly thinned."""
    starts = known[np.logical_and.reduce([np.isin(known + o, known) for o in hours(offsets)])]
    if len(starts) < 10:
        raise UserError(
            f"ridge regression found {len(starts)} initial times with all their leads in the training record "
            "and needs 10 at least; use a longer record or shorter leads"
        )
    thinned = np.linspace(0, len(starts) - 1, min(at_most, len(starts)))
    return starts[thinned.round().astype(int)]


def _values(state: xr.Dataset) -> np.ndarray:
    """``[t, channel, y, x]`` float64; channel = (field, level) in C order."""
    per_field = [state[n].transpose("time", "level", *GRID).values for n in state.data_vars]
    return np.concatenate(per_field, axis=1).astype(np.float64)


def _select(dataset: xr.Dataset, fields: Sequence[str], levels: Sequence[int]) -> xr.Dataset:
    if lacking := [n for n in fields if n not in dataset]:
        raise UserError(f"the dataset has no {lacking[0]}; it has {', '.join(map(str, dataset.data_vars))}")
    try:
        return dataset[list(fields)].sel(level=list(levels)).sortby("time")
    except KeyError as error:
        has = ", ".join(map(str, dataset["level"].values))
        raise UserError(f"the dataset lacks a level of {list(levels)}; it has {has}") from error


def _time_mean(record: xr.Dataset, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Mean over the chosen times, ``[level, latitude, longitude]`` float32 each, read piece by piece."""
    means = {}
    for name, variable in record.data_vars.items():
        ordered = variable.transpose("time", "level", *GRID)
        total = np.zeros(ordered.shape[1:])
        for part in pieces(len(chosen), total.size):
            total += ordered.isel(time=chosen[part]).values.sum(0, dtype=np.float64)
        means[str(name)] = (total / len(chosen)).astype(np.float32)
    return means


def _month(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[M]").astype(int) % 12 + 1
