"""What values of a field are possible on Earth, and what values of the wrong unit or no value look like."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plausible:
    """Limits that no value in the troposphere or stratosphere exceeds, and of its mean, SI units."""

    low: float
    high: float
    mean_low: float
    mean_high: float


_WIND = Plausible(-250.0, 250.0, -100.0, 100.0)
PLAUSIBLE = {
    "temperature": Plausible(150.0, 345.0, 180.0, 310.0),
    "2m_temperature": Plausible(170.0, 345.0, 200.0, 325.0),
    "sea_surface_temperature": Plausible(255.0, 320.0, 265.0, 310.0),
    "u_component_of_wind": _WIND,
    "v_component_of_wind": _WIND,
    "10m_u_component_of_wind": _WIND,
    "10m_v_component_of_wind": _WIND,
    "specific_humidity": Plausible(-1e-3, 0.05, -1e-6, 0.03),
    "geopotential": Plausible(-1.5e4, 6e5, -5e3, 5.5e5),
    "vorticity": Plausible(-5e-3, 5e-3, -1e-4, 1e-4),
    "divergence": Plausible(-5e-3, 5e-3, -1e-4, 1e-4),
    "vertical_velocity": Plausible(-60.0, 60.0, -1.0, 1.0),
    "mean_sea_level_pressure": Plausible(8.4e4, 1.1e5, 9.6e4, 1.05e5),
    "surface_pressure": Plausible(4e4, 1.1e5, 5e4, 1.05e5),
    "total_precipitation": Plausible(-1e-4, 0.5, -1e-6, 0.05),
}
#: Mistakes of units that are seen in practice: ``x_SI = factor * x + offset``, and what the values are.
MIX_UPS = {
    "temperature": ((1.0, 273.15, "degrees Celsius"),),
    "2m_temperature": ((1.0, 273.15, "degrees Celsius"),),
    "sea_surface_temperature": ((1.0, 273.15, "degrees Celsius"),),
    "mean_sea_level_pressure": ((100.0, 0.0, "hPa"),),
    "surface_pressure": ((100.0, 0.0, "hPa"),),
    "specific_humidity": ((1e-3, 0.0, "g kg-1"),),
}
FILL_VALUES = (9999.0, -9999.0, 999.0, -999.0, 99999.0, -99999.0, 32767.0, -32767.0, -32768.0)
HUGE = 1e12
SEA_ONLY = {"sea_surface_temperature", "sea_ice_cover"}  # missing over land
#: What tells the poles apart: field, by how much more of it there is in the north if that is the south (by
#: how much less if negative), and what is then seen there.  Antarctica is high and land, and in its winter
#: colder than the Arctic at the same time.
POLES = (
    ("geopotential_at_surface", 8000.0, "Antarctica"),
    ("land_sea_mask", 0.5, "Antarctica"),
    ("surface_pressure", -15000.0, "Antarctica"),
    ("2m_temperature", -30.0, "the Antarctic winter"),
    ("temperature", -30.0, "the Antarctic winter"),
)
#: Temperature tells them apart in the lower troposphere only: from this pressure in hPa or model level down.
LOWER_TROPOSPHERE = {None: 500.0, "model": 96.0}
