"""Best tracks: HURDAT2, IBTrACS and detected tracks as one tidy table."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from atmorep_lite.data.tracks import COLUMNS, KNOT, read_tracks
from atmorep_lite.errors import UserError

DATA = Path(os.environ.get("ATMOREP_LITE_SHARED", "nowhere")) / "data"
needs_real = pytest.mark.skipif(not DATA.is_dir(), reason="no data folder under ATMOREP_LITE_SHARED")

HURDAT2 = """AL012021,                ANA,      3,
20210520, 0000,  , EX, 30.3N,  55.5W,  30, 1015,    0,    0,    0,    0
20210520, 0615, L, TS, 31.5N,   1.5E, -99, -999,  100,    0,    0,    0
20210520, 1200,  , TS,  0.5S, 179.9W,  40, 1012,    0,    0,    0,    0
AL022021,               BILL,      1,
20210614, 0600,  , LO, 33.0N,  76.0W,  25, 1012,    0,    0,    0,    0
"""
IBTRACS = """\
SID,SEASON,NUMBER,BASIN,SUBBASIN,NAME,ISO_TIME,NATURE,LAT,LON,WMO_WIND,WMO_PRES,WMO_AGENCY,TRACK_TYPE,\
USA_RECORD,USA_WIND,USA_PRES
 ,Year, , , , , , ,degrees_north,degrees_east,kts,mb, , , ,kts,mb
2020137N10086,2020,01,NI,BB,AMPHAN,2020-05-17 06:00:00,TS,12.0,86.2, , ,newdelhi,main,L,80,972
2020137N10086,2020,01,NI,BB,AMPHAN,2020-05-17 00:00:00,TS,11.5,86.0,55,988,newdelhi,main, ,60, 
2020137N10086,2020,01,NI,BB,AMPHAN,2020-05-17 00:00:00,TS,11.9,86.4,55,988,newdelhi,PROVISIONAL_spur, ,60, 
2020200S10181,2020,02,SP,MM,NAN,2020-07-18 03:00:00,NR,-10.0,-179.5, , , ,main, , , 
"""
DETECTED = """track_id,lon,lat,slp,wind10,time
1207.0,137.25,-15.5,100590.3,9.5,1996-01-03 00:00:00
1207.0,-0.5,-15.25,100156.6,11.2,1996-01-03 06:00:00
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "tracks.txt"
    path.write_text(text)
    return path


def test_hurdat2(tmp_path: Path) -> None:
    table = read_tracks(write(tmp_path, HURDAT2))
    assert tuple(table.columns) == COLUMNS and list(table["storm"]) == ["AL012021"] * 3 + ["AL022021"]
    second = table.iloc[1]
    assert second["time"] == np.datetime64("2021-05-20T06:15") and second["record"] == "L"
    assert np.isnan(second["wind"]) and np.isnan(second["pressure"])
    np.testing.assert_allclose(table["longitude"], [304.5, 1.5, 180.1, 284.0])
    np.testing.assert_allclose(table["latitude"], [30.3, 31.5, -0.5, 33.0])
    assert table["wind"][0] == pytest.approx(15.433, abs=1e-3) and table["pressure"][0] == 101500


def test_ibtracs(tmp_path: Path) -> None:
    """Sorted in time; a spur left out; a storm called NAN is not a number; US values where WMO has none."""
    table = read_tracks(write(tmp_path, IBTRACS))
    assert list(table["name"]) == ["AMPHAN", "AMPHAN", "NAN"]
    assert table["time"].is_monotonic_increasing
    np.testing.assert_allclose(table["wind"], np.array([55, 80, np.nan]) * KNOT)
    np.testing.assert_allclose(table["pressure"], [98800, 97200, np.nan])
    np.testing.assert_allclose(table["longitude"], [86.0, 86.2, 180.5])
    assert list(table["record"]) == ["", "L", ""]


def test_detected(tmp_path: Path) -> None:
    table = read_tracks(write(tmp_path, DETECTED))
    assert set(table["storm"]) == {"1207"} and list(table["longitude"]) == [137.25, 359.5]
    assert table["pressure"][1] == 100156.6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no table of tracks"),
        (HURDAT2.replace("  3,", "  4,"), "line 5: 1 more times of AL012021"),
        (HURDAT2[: HURDAT2.index("20210614")], "1 times before the end of AL022021"),
        (HURDAT2.replace("55.5W", "55.5Q"), "line 2 is damaged"),
        (HURDAT2.replace("30.3N", "93.0N"), "latitude 93"),
        (DETECTED.replace(",lat,", ",y,"), "column lat is missing"),
        (IBTRACS.replace("86.2", "east"), "east"),
    ],
)
def test_bad_files_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_tracks(write(tmp_path, text))
    with pytest.raises(UserError, match="cannot be read"):
        read_tracks(tmp_path / "missing.txt")


@needs_real
def test_real_hurdat2() -> None:
    """Two seasons: 21 storms in 2021 and 16 in 2022, of which Ian was the strongest at 140 kt."""
    (path,) = DATA.glob("hurdat2_*.txt")
    table = read_tracks(path)
    assert table["storm"].nunique() == 37
    assert table.groupby(table["time"].dt.year)["storm"].nunique().to_dict() == {2021: 21, 2022: 16}
    strongest = table.loc[table["wind"].idxmax()]
    assert strongest["name"] == "IAN" and strongest["wind"] == pytest.approx(140 * KNOT)
    assert len(table) == sum(1 for line in path.read_text().splitlines() if line[:1].isdigit())


@needs_real
def test_real_detected_tracks() -> None:
    (path,) = DATA.glob("*tempestextremes.csv")
    table = read_tracks(path)
    assert table["storm"].nunique() == 89 and (table["time"].dt.year == 1996).mean() > 0.9
    steps = table.groupby("storm")["time"].diff().dropna().dt.total_seconds() / 3600
    assert steps.min() == 6
