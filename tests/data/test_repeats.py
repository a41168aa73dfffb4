"""Times given more than once."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from atmorep_lite.data.canonical import canonical
from atmorep_lite.data.quality import FOUND
from atmorep_lite.errors import UserError
from tests.data.synthetic import make_atmosphere

ATMOSPHERE = make_atmosphere()


def test_equal_copies_are_kept_once_and_told() -> None:
    twice = ATMOSPHERE.isel(time=[3, 0, 1, 1, 2, 3, 4, 5, 1]).copy(deep=True)
    twice["temperature"][dict(time=[2, 3, 8], level=0, latitude=0)] = np.nan  # NaN equals NaN here
    found = canonical([twice])
    xr.testing.assert_equal(found.drop_vars("temperature"), ATMOSPHERE.drop_vars("temperature"))
    times = "2 times (2001-01-01T06:00, 2001-01-01T12:00)"
    assert found.attrs["repaired"].startswith(f"{times} occurred more than once with equal values")


def test_different_copies_are_refused_or_left_out() -> None:
    twice = ATMOSPHERE.isel(time=[0, 1, 1, 2, 3, 3, 4, 5]).copy(deep=True)
    twice["2m_temperature"][2, 0, 0] += 1
    with pytest.raises(UserError, match=r"2m_temperature: 1 time \(2001-01-01T06:00\) occur"):
        canonical([twice])
    found = canonical([twice.chunk(time=1)], leave_out=True)
    xr.testing.assert_equal(found.load(), ATMOSPHERE.isel(time=[0, 2, 3, 4, 5]))
    assert "2001-01-01T12:00" in found.attrs["repaired"]
    ((kind, name, words),) = json.loads(found.attrs[FOUND])
    assert (kind, name) == ("repeated times", "2m_temperature") and "2001-01-01T06:00" in words


def test_times_in_any_order_are_sorted() -> None:
    found = canonical([ATMOSPHERE.isel(time=[5, 0, 2, 1, 4, 3])])
    xr.testing.assert_equal(found, ATMOSPHERE)
    assert "repaired" not in found.attrs
