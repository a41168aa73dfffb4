"""A simulated atmosphere in ERA5's names, units and layout.

The simulation is done by JCM (SPEEDY's moist physics on a spectral dynamical core, in JAX).  It is an
optional dependency that lives best in an environment of its own::

    python -m venv simulation && simulation/bin/pip install "atmorep-lite[simulate]"
    simulation/bin/atmorep-lite data simulate year.zarr --start 2001-01-01 --days 365

Everything else in this package reads the result exactly as it reads ERA5.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from atmorep_lite.data.below_ground import with_temperature_below_ground
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS

PRESSURE_FIELDS = (
    "vorticity",
    "divergence",
    "temperature",
    "specific_humidity",
    "geopotential",
    "u_component_of_wind",
    "v_component_of_wind",
)
#: Below the lowest model layer these continue along their gradient in log pressure; the others are held.
EXTRAPOLATED = ("temperature", "geopotential")
STANDARD_GRAVITY = 9.80665  # m s-2


@dataclass(frozen=True)
class SimulationSettings:
    """What to simulate.  ``grid`` is (longitudes, latitudes) of the regular output grid."""

    start: str = "2001-01-01"
    days: float = 10.0
    every_hours: float = 3.0
    spinup_days: float = 90.0
    truncation: int = 31
    levels: tuple[int, ...] = (500, 700, 850)
    grid: tuple[int, int] = (64, 32)
    chunk_days: float = 5.0


def to_pressure_levels(
    values: np.ndarray, log_pressure: np.ndarray, levels: tuple[int, ...], *, extrapolate: bool
) -> np.ndarray:
    """Interpolate linearly in log pressure from model layers to pressure levels.

    Parameters
    ----------
    values, log_pressure
        ``[time, layer, y, x]``, layers from the top down; natural logarithm of pressure in Pa.
    levels
        Target pressures in hPa.
    extrapolate
        Continue the gradient of the outermost two layers beyond them; otherwise hold their value.

    Returns
    -------
    ``[time, level, y, x]``, float32.
    """
    layers = values.shape[1]
    out = np.empty((values.shape[0], len(levels), *values.shape[2:]), np.float32)
    for i, level in enumerate(levels):
        target = np.log(level * 100.0)
        upper = np.clip((log_pressure < target).sum(1) - 1, 0, layers - 2)[:, None]
        p0 = np.take_along_axis(log_pressure, upper, 1)[:, 0]
        p1 = np.take_along_axis(log_pressure, upper + 1, 1)[:, 0]
        weight = (target - p0) / (p1 - p0)
        if not extrapolate:
            weight = np.clip(weight, 0.0, 1.0)
        v0 = np.take_along_axis(values, upper, 1)[:, 0]
        v1 = np.take_along_axis(values, upper + 1, 1)[:, 0]
        out[:, i] = (1.0 - weight) * v0 + weight * v1
    return out


def simulate(
    out: str | Path,
    settings: SimulationSettings = SimulationSettings(),
    *,
    report: Callable[[str], None] = print,
) -> Path:
    """Simulate an atmosphere and write it as a Zarr directory in WeatherBench 2's layout.

    The record begins ``spinup_days`` after a start from rest, so two records whose start dates differ by
    more than a few days share nothing but the climate.  The store is written under a temporary name and
    renamed when complete.

    Raises
    ------
    UserError
        If JCM is not installed, or ``out`` exists.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f"{out} exists already; choose another name or remove it first")
    try:
        model, forcing, grid = _build(settings)
    except ImportError as error:
        raise UserError(
            f"simulating needs the package jcm ({error}); install it in an environment of its own with "
            '`pip install "atmorep-lite[simulate]"`'
        ) from error
    began = time.time()
    report(f"spin-up: {settings.spinup_days:g} days at T{settings.truncation} ...")
    model.run(forcing=forcing, save_interval=settings.spinup_days, total_time=settings.spinup_days)
    report(f"spin-up done in {time.time() - began:.0f} s")

    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    static = _static(grid)
    began, done = time.time(), 0.0
    while done < settings.days - 1e-9:
        length = min(settings.chunk_days, settings.days - done)
        predictions = model.resume(
            forcing=forcing, save_interval=settings.every_hours / 24, total_time=length
        )
        piece = _canonical(predictions.to_xarray(), model, grid, settings)
        piece = with_temperature_below_ground(xr.merge([piece, static]).assign_attrs(_attributes(settings)))
        if done == 0.0:
            piece.to_zarr(unfinished, mode="w", encoding={"time": {"units": "hours since 1900-01-01"}})
        else:
            piece.drop_vars(list(static)).to_zarr(unfinished, append_dim="time")
        done += length
        left = (time.time() - began) / done * (settings.days - done)
        report(f"{done:g} of {settings.days:g} days, {left / 60:.1f} minutes left")
    os.rename(unfinished, out)
    return out


def _build(settings: SimulationSettings) -> tuple[Any, Any, _Grids]:
    import jax
    import jcm
    from dinosaur import horizontal_interpolation, spherical_harmonic
    from hydra import compose, initialize_config_module
    from jcm import runners

    boundary = Path(jcm.__file__).parent / "data" / "bc" / "t63"
    start = np.datetime64(settings.start) - np.timedelta64(round(settings.spinup_days * 24), "h")
    with initialize_config_module("jcm.config", version_base=None):
        config = compose(
            "config",
            overrides=[
                "+configuration=speedy-t31",
                f"grid.spectral_truncation={settings.truncation}",
                f"terrain.file={boundary / 'terrain.nc'}",
                f"forcing.file={boundary / 'forcing.nc'}",
                "run.time_step=20",
                f"run.start_time='{start}'",
            ],
        )
    model = runners.build_model(config)
    forcing = runners.build_forcing(config, model.coords, dycore=model.dycore)
    native = model.coords.horizontal
    target = spherical_harmonic.Grid(
        longitude_nodes=settings.grid[0], latitude_nodes=settings.grid[1], latitude_spacing="equiangular"
    )
    regrid = jax.jit(horizontal_interpolation.ConservativeRegridder(native, target))

    @jax.jit
    def curl_and_divergence(u: Any, v: Any) -> tuple[Any, ...]:
        modal = jax.vmap(lambda a, b: spherical_harmonic.uv_nodal_to_vor_div_modal(native, a, b))(u, v)
        return tuple(jax.vmap(native.to_nodal)(m) for m in modal)

    return model, forcing, _Grids(native, target, regrid, curl_and_divergence, boundary / "terrain.nc")


@dataclass(frozen=True)
class _Grids:
    native: Any
    target: Any
    regrid: Callable
    curl_and_divergence: Callable
    terrain: Path

    def coordinates(self) -> dict[str, np.ndarray]:
        longitude, sin_latitude = self.target.nodal_axes
        return {
            "latitude": np.rad2deg(np.arcsin(sin_latitude))[::-1].round(6),
            "longitude": np.rad2deg(longitude).round(6),
        }

    def onto_target(self, values: np.ndarray) -> np.ndarray:
        """Native [..., longitude, latitude ascending] -> [..., latitude descending, longitude]."""
        return np.swapaxes(np.asarray(self.regrid(values)), -1, -2)[..., ::-1, :].astype(np.float32)


def _canonical(raw: xr.Dataset, model: Any, grid: _Grids, settings: SimulationSettings) -> xr.Dataset:
    if raw.level.values[0] > raw.level.values[-1]:
        raw = raw.isel(level=slice(None, None, -1))
    u, v = np.asarray(raw.u_wind), np.asarray(raw.v_wind)
    vorticity, divergence = (np.asarray(x) for x in grid.curl_and_divergence(u, v))
    on_layers = {
        "vorticity": vorticity,
        "divergence": divergence,
        "temperature": np.asarray(raw.temperature),
        "specific_humidity": np.asarray(raw.specific_humidity),
        "geopotential": np.asarray(raw.geopotential),
        "u_component_of_wind": u,
        "v_component_of_wind": v,
    }
    sigma = np.asarray(model.coords.vertical.centers)
    surface = np.asarray(raw["normalized_surface_pressure"]) * 1e5
    log_pressure = np.log(sigma)[None, :, None, None] + np.log(surface)[:, None]
    variables = {}
    for name in PRESSURE_FIELDS:
        on_levels = to_pressure_levels(
            on_layers[name], log_pressure, settings.levels, extrapolate=name in EXTRAPOLATED
        )
        attrs = {"units": FIELDS[name].units, "standard_name": FIELDS[name].standard_name}
        values = grid.onto_target(on_levels)
        if name == "specific_humidity":
            values = np.maximum(values, 0.0)
        variables[name] = (("time", "level", "latitude", "longitude"), values, attrs)
    times = raw.time.values.astype("datetime64[s]")
    coordinates = {"time": times, "level": np.array(settings.levels, np.int32), **grid.coordinates()}
    return xr.Dataset(variables, coords=coordinates).astype(np.float32, keep_attrs=True)


def _static(grid: _Grids) -> xr.Dataset:
    terrain = xr.open_dataset(grid.terrain)
    native_longitude, native_sin_latitude = grid.native.nodal_axes
    on_native = terrain[["orog", "lsm"]].interp(
        lon=np.rad2deg(native_longitude),
        lat=np.rad2deg(np.arcsin(native_sin_latitude)),
        kwargs={"fill_value": None},
    )
    dims = ("latitude", "longitude")

    def variable(name: str, values: xr.DataArray) -> tuple[tuple[str, str], np.ndarray, dict[str, str]]:
        attrs = {"units": FIELDS[name].units, "standard_name": FIELDS[name].standard_name}
        return dims, grid.onto_target(values.transpose("lon", "lat").values), attrs

    return xr.Dataset(
        {
            "geopotential_at_surface": variable("geopotential_at_surface", on_native.orog * STANDARD_GRAVITY),
            "land_sea_mask": variable("land_sea_mask", on_native.lsm.clip(0, 1)),
        },
        coords=grid.coordinates(),
    )


def _attributes(settings: SimulationSettings) -> dict[str, str]:
    return {
        "title": "Simulated atmosphere in the layout of ERA5 in WeatherBench 2",
        "source": f"JCM (SPEEDY physics, spectral core) at T{settings.truncation}, conservatively regridded",
        "simulated": "true",
        "history": f"spin-up {settings.spinup_days:g} days from rest; record starts {settings.start}",
        "license": "CC0-1.0",
    }
