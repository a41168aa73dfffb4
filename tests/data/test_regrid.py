"""Area-conservative regridding: constants, conservation, analytic fields, a brute-force integral, holes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmorep_lite.data.archive.regrid import (
    latitude_bounds,
    latitude_weights,
    longitude_bounds,
    longitude_weights,
    regrid,
    target_grid,
)
from atmorep_lite.errors import UserError


def weights(latitude: np.ndarray, longitude: np.ndarray, resolution: float) -> tuple[np.ndarray, np.ndarray]:
    to_latitude, to_longitude = target_grid(resolution)
    return (
        latitude_weights(latitude_bounds(latitude), latitude_bounds(to_latitude)),
        longitude_weights(longitude_bounds(longitude), longitude_bounds(to_longitude)),
    )


def areas(latitude: np.ndarray) -> np.ndarray:
    """Share of the sphere of each row."""
    return abs(np.diff(np.sin(np.deg2rad(latitude_bounds(latitude))))) / 2


GRIDS = {
    "poles": (np.linspace(90, -90, 181), np.arange(360.0)),
    "ascending, no poles": (np.linspace(-87.1875, 87.1875, 32), np.arange(64) * 5.625),
    "Gaussian": (np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(64)[0])), np.arange(128) * 2.8125),
    "from -180": (np.linspace(90, -90, 73), -180 + 2.5 * np.arange(144)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_constants_stay_and_integrals_are_kept(name: str) -> None:
    latitude, longitude = GRIDS[name]
    rows, columns = weights(latitude, longitude, 7.5)
    np.testing.assert_allclose(rows.sum(1), 1.0)
    np.testing.assert_allclose(columns.sum(1), 1.0)
    constant = np.full((2, len(latitude), len(longitude)), 287.5, np.float32)
    np.testing.assert_allclose(regrid(constant, rows, columns), 287.5, rtol=1e-6)
    values = np.random.default_rng(0).standard_normal((2, len(latitude), len(longitude))).astype(np.float32)
    coarse = regrid(values, rows, columns)
    before = np.einsum("kyx,y->k", values.astype(float), areas(latitude)) / len(longitude)
    after = np.einsum("kyx,y->k", coarse.astype(float), areas(target_grid(7.5)[0])) / coarse.shape[-1]
    np.testing.assert_allclose(after, before, atol=1e-7)


def test_only_what_lies_near_a_pole_reaches_it() -> None:
    south, north = latitude_bounds(GRIDS["Gaussian"][0])[[0, -1]]
    assert (south, north) == (-90, 90)
    for spacing in (0.1, 0.25, 10.0):  # the row at the pole was left out, in single precision, too
        latitude = np.arange(90 - spacing, 60, -spacing).astype(np.float32)
        found = latitude_bounds(latitude)[[0, -1]]
        np.testing.assert_allclose(found, [90 - spacing / 2, latitude[-1] - spacing / 2], atol=1e-4)


def test_an_analytic_field() -> None:
    """Cell means of sin(y) cos(x): the integrals over y of sin y cos y and over x of cos x are known."""
    latitude, longitude = GRIDS["poles"]
    values = np.sin(np.deg2rad(latitude))[:, None] * np.cos(np.deg2rad(longitude))
    to_latitude, to_longitude = target_grid(10.0)
    y, x = (np.deg2rad(bounds(axis)) for bounds, axis in
            ((latitude_bounds, to_latitude), (longitude_bounds, to_longitude)))  # fmt: skip
    exact = (np.sin(y[1:]) + np.sin(y[:-1]))[:, None] / 2 * np.diff(np.sin(x)) / np.diff(x)
    np.testing.assert_allclose(regrid(values, *weights(latitude, longitude, 10.0)), exact, atol=2e-4)


@settings(max_examples=6, deadline=None)
@given(
    rows=st.integers(4, 30),
    columns=st.integers(4, 40),
    steps=st.sampled_from([2, 3, 4, 5]),
    seed=st.integers(0, 99),
)
def test_against_a_sum_over_tiny_cells(rows: int, columns: int, steps: int, seed: int) -> None:
    latitude = np.linspace(90 - 90 / rows, -90 + 90 / rows, rows)
    longitude = np.arange(columns) * 360 / columns
    values = np.random.default_rng(seed).standard_normal((rows, columns))
    found = regrid(values, *weights(latitude, longitude, 180 / steps))
    fine_y, fine_x = np.linspace(90, -90, 3601)[:-1] - 0.025, np.arange(0, 360, 0.05) + 0.025
    row = np.minimum(((90 - fine_y) / (180 / rows)).astype(int), rows - 1)
    column = np.floor((fine_x + 180 / columns) / (360 / columns)).astype(int) % columns
    size = 180 / steps
    to_row = np.floor((90 - fine_y + size / 2) / size).astype(int)
    to_column = np.floor((fine_x + size / 2) / size).astype(int) % (2 * steps)
    tall = np.zeros((steps + 1, rows))
    np.add.at(tall, (to_row, row), np.cos(np.deg2rad(fine_y)))
    wide = np.zeros((2 * steps, columns))
    np.add.at(wide, (to_column, column), 1.0)
    brute = (tall / tall.sum(1, keepdims=True)) @ values @ (wide / wide.sum(1, keepdims=True)).T
    np.testing.assert_allclose(found, brute, atol=6e-3)


def test_holes() -> None:
    """A cell takes the mean of what is there, and is a hole itself when most of it is missing."""
    rows = columns = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    values = np.arange(16.0).reshape(4, 4)
    values[0, 0] = np.nan  # one of four
    values[:2, 2:] = np.nan  # all of four
    values[2:, 2] = np.nan  # half
    values[2:, 0], values[3, 1] = np.nan, np.nan  # three of four
    found = regrid(values, rows, columns)
    np.testing.assert_allclose(found, [[(1 + 4 + 5) / 3, np.nan], [np.nan, (11 + 15) / 2]], rtol=1e-6)


@pytest.mark.parametrize("resolution", [7.0, 0.0, -1.0, 180.0])
def test_grids_that_do_not_close(resolution: float) -> None:
    with pytest.raises(UserError, match="whole number of steps"):
        target_grid(resolution)
