"""How fields, units and times are written in figures and tables."""

from __future__ import annotations

import numpy as np
import xarray as xr

from atmorep_lite.fields import FIELDS

#: Field to (factor, units) as drawn, where SI numbers are unwieldy.
DRAWN_UNITS = {
    "vorticity": (1e5, "10⁻⁵ s⁻¹"),
    "divergence": (1e5, "10⁻⁵ s⁻¹"),
    "specific_humidity": (1e3, "g kg⁻¹"),
    "geopotential": (1e-3, "10³ m² s⁻²"),
}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def drawn_units(name: str, data: xr.DataArray) -> tuple[float, str]:
    """Factor from the field's SI units to those that figures show, and the latter: (1e3, "g kg⁻¹")."""
    if name in DRAWN_UNITS:
        return DRAWN_UNITS[name]
    units = str(data.attrs.get("units", FIELDS[name].units if name in FIELDS else "1"))
    return 1.0, " ".join(_power(part) for part in units.split())


def _power(unit: str) -> str:
    """``s-1`` as ``s⁻¹``."""
    letters = unit.rstrip("-0123456789")
    return letters + unit[len(letters) :].translate(_SUPERSCRIPT) if letters else unit


def long_name(name: str) -> str:
    """``u_component_of_wind`` as ``Eastward wind``."""
    words = FIELDS[name].long_name if name in FIELDS else name.replace("_", " ")
    return words[:1].upper() + words[1:]


def moment(time: np.datetime64 | np.ndarray) -> str:
    """A time as ``2010-01-20 03:00 UTC``."""
    return str(np.asarray(time).astype("datetime64[m]")).replace("T", " ") + " UTC"
