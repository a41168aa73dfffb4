"""Compiled libraries that get on with each other: a process that has used them ends without a crash."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

READ_AND_DRAW = """
import matplotlib
matplotlib.use("agg")
import atmorep_lite as ar
sample = ar.open_sample()
import eccodes
from atmorep_lite.data.info import first_map
first_map(sample).canvas.draw()
"""


def test_reading_grib_and_drawing_maps_in_one_process() -> None:
    if (
        find_spec("eccodes") is None or find_spec("cartopy") is None
    ):  # not imported: it is their order that counts
        pytest.skip("eccodes or cartopy is not installed")
    ended = subprocess.run([sys.executable, "-c", READ_AND_DRAW], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-500:]
