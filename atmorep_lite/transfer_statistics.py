"""Statistics of a run that starts from trained models: what is carried over, and what is measured.

Carried, the data look to the network as its training data did, and a warmer climate looks warm.  Measured
anew, means are 0 and deviations 1 again, so that the network begins in familiar numbers where a grid, a
region or a time step is another, but a given number stands for another physical value than it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from torch import Tensor

from atmorep_lite.config import Config, ModelConfig
from atmorep_lite.data.normalisation import Normalizer
from atmorep_lite.data.sampling import load_field
from atmorep_lite.data.timing import known_time_step, time_step
from atmorep_lite.errors import UserError
from atmorep_lite.model import AtmoRep

REFIT = "set training.start.statistics: refit"


def complete_statistics(known: Normalizer | None, dataset: xr.Dataset, config: Config) -> Normalizer:
    """Statistics of every field and level of the model: the known ones, the others measured on ``dataset``.

    Parameters
    ----------
    known
        Those of the models that a run starts from, at some of whose grid points the data must be if they are
        per grid point.

    Raises
    ------
    UserError
        If the data have another time step or lie on other points, or a field has statistics of another kind.
    """
    if known is not None:
        known = _on_grid(known, dataset)
    parts: list[Normalizer] = []
    for f in config.model.fields:
        have = known_levels(known, f.name)
        lack = tuple(level for level in f.levels if level not in have)
        if known is not None and have:
            parts.append(_of_levels(known, f.name, [level for level in f.levels if level in have]))
        if not lack:
            continue
        fresh = Normalizer.fit(
            load_field(dataset, f.model_copy(update={"levels": lack})), config.data.normalization
        )
        if known is not None and have:
            for a, b in ((known.mean, fresh.mean), (known.std, fresh.std)):
                if set(a[f.name].dims) != set(b[f.name].dims):
                    raise UserError(
                        f"the model to start from has statistics of {f.name} with the axes "
                        f"{', '.join(map(str, a[f.name].dims))}, but data.normalization is "
                        f"{config.data.normalization}; choose its kind for the new levels, or {REFIT}"
                    )
        parts.append(fresh)
    return merge_normalizers(parts)


def check_prepared(known: Normalizer, found: Normalizer, model: ModelConfig) -> None:
    """Refuse a prepared store that was normalised otherwise than the models that a run starts from.

    Raises
    ------
    UserError
        It names the field.
    """
    for f in model.fields:
        both = [level for level in f.levels if level in known_levels(known, f.name)]
        if not both:
            continue
        a, b = (_of_levels(statistics, f.name, both) for statistics in (known, found))
        for ours, theirs in ((a.mean[f.name], b.mean[f.name]), (a.std[f.name], b.std[f.name])):
            if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-4, atol=1e-12):
                raise UserError(
                    f"the prepared store has other statistics of {f.name} than the model to start from; "
                    f"prepare it with --statistics of that model's training store, or {REFIT}"
                )


def known_levels(statistics: Normalizer | None, name: str) -> tuple[int, ...]:
    """Levels of a field that statistics know, (0,) of a surface field; none if they lack the field."""
    if statistics is None or name not in statistics.mean:
        return ()
    mean = statistics.mean[name]
    if "level" not in mean.dims:
        return (0,)
    there = mean.notnull().any([dim for dim in mean.dims if dim != "level"])
    return tuple(int(level) for level in mean["level"].values[there.values])


def fill_departures(model: AtmoRep, measured: Mapping[str, Tensor]) -> None:
    """Put typical departures where the model's are still those of a new one, which are all 1."""
    for name, table in measured.items():
        ours = model.departure_scale[name].data
        unknown = (ours == 1.0).all(1)
        ours[unknown] = table[unknown].to(ours)


def merge_normalizers(parts: Sequence[Normalizer]) -> Normalizer:
    """One normaliser with the statistics of all fields and levels.

    Raises
    ------
    UserError
        If they are per grid point of different grids, or of data with different time steps.
    """
    for axis in ("latitude", "longitude"):
        grids = [p.mean[axis].values for p in parts if axis in p.mean.dims]
        if any(len(grid) != len(grids[0]) or (abs(grid - grids[0]) > 1e-3).any() for grid in grids[1:]):
            raise UserError(
                f"fields were normalised on different grids of {axis}; train them on the same one"
            )
    known = {step for p in parts if (step := known_time_step(p)) is not None}
    if len(known) > 1:
        raise UserError(
            f"the models were trained on time steps of {' and '.join(f'{h:g} h' for h in sorted(known))}; "
            "couple models of one time step"
        )
    reference = next((p.mean for p in parts if "latitude" in p.mean.dims), None)

    def aligned(statistics: xr.Dataset) -> xr.Dataset:
        if reference is None or "latitude" not in statistics.dims:
            return statistics
        return statistics.assign_coords({axis: reference[axis] for axis in ("latitude", "longitude")})

    mean, std = (
        xr.merge([aligned(getattr(p, kind)) for p in parts], join="outer", compat="no_conflicts")
        for kind in ("mean", "std")
    )
    steps = {key: value for p in parts for key, value in p.mean.attrs.items() if known_time_step(p)}
    return Normalizer(mean.assign_attrs(steps), std)


def _of_levels(statistics: Normalizer, name: str, levels: Sequence[int]) -> Normalizer:
    """One field on some of its levels."""
    mean, std = (
        part[[name]].sel(level=list(levels)) if "level" in part[name].dims else part[[name]]
        for part in (statistics.mean, statistics.std)
    )
    return Normalizer(mean, std)


def _on_grid(known: Normalizer, dataset: xr.Dataset) -> Normalizer:
    trained = known_time_step(known)
    found = time_step(dataset["time"].values) if dataset.sizes["time"] > 1 else trained
    if trained is not None and found is not None and abs(trained - found) > 1e-6:
        raise UserError(
            f"the model to start from was trained on a time step of {trained:g} h, and these data have one "
            f"of {found:g} h, at which its weights mean something else; use data of its step, or {REFIT} to "
            "let it learn the new one"
        )
    try:
        return known.at(dataset["latitude"].values, dataset["longitude"].values)
    except KeyError as error:
        raise UserError(
            "the model to start from has its statistics per grid point, and the data lie on other points; "
            f"use data on its grid or a part of it, or {REFIT}"
        ) from error
