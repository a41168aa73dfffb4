"""The physical fields: names as in ERA5 and WeatherBench 2, short names, CF standard names, SI units.

:func:`canonical_name` accepts every other spelling in use: ECMWF short names, the names that the published
AtmoRep code uses, those of NCAR's copy of ERA5 (``VAR_2T``), CF standard names where they mean one field
only.  :func:`to_si` converts units where the
conversion is unambiguous.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from atmorep_lite.errors import UserError

#: The pressure levels of ERA5, hPa.
ERA5_LEVELS = (
    1,
    2,
    3,
    5,
    7,
    10,
    20,
    30,
    50,
    70,
    *range(100, 251, 25),
    *range(300, 751, 50),
    *range(775, 1001, 25),
)


@dataclass(frozen=True)
class Field:
    """One physical field.

    Attributes
    ----------
    name
        The canonical name, that of ERA5 in WeatherBench 2.
    short_name, standard_name, units, long_name
        ECMWF's short name, the CF standard name, SI units as in CF, plain words.
    aliases
        Every further spelling that :func:`canonical_name` accepts.
    surface
        Whether the field has no vertical levels.
    """

    name: str
    short_name: str
    standard_name: str
    units: str
    long_name: str
    aliases: tuple[str, ...] = ()
    surface: bool = False


_ALL = (
    Field(
        "vorticity", "vo", "atmosphere_relative_vorticity", "s-1", "relative vorticity",
        ("relative_vorticity", "vorticity_relative"),
    ),
    Field("divergence", "d", "divergence_of_wind", "s-1", "divergence"),
    Field("temperature", "t", "air_temperature", "K", "temperature"),
    Field("specific_humidity", "q", "specific_humidity", "kg kg-1", "specific humidity", ("shum",)),
    Field("geopotential", "z", "geopotential", "m2 s-2", "geopotential"),
    Field(
        "u_component_of_wind", "u", "eastward_wind", "m s-1", "eastward wind",
        ("velocity_u", "u_wind", "uwnd"),
    ),
    Field(
        "v_component_of_wind", "v", "northward_wind", "m s-1", "northward wind",
        ("velocity_v", "v_wind", "vwnd"),
    ),
    Field(
        "vertical_velocity", "w", "lagrangian_tendency_of_air_pressure", "Pa s-1", "vertical velocity",
        ("velocity_z", "omega"),
    ),
    Field("relative_humidity", "r", "relative_humidity", "%", "relative humidity", ("rhum",)),
    Field("geopotential_height", "gh", "geopotential_height", "m", "geopotential height", ("hgt",)),
    Field(
        "specific_cloud_liquid_water_content", "clwc", "mass_fraction_of_cloud_liquid_water_in_air",
        "kg kg-1", "cloud liquid water",
    ),
    Field(
        "specific_cloud_ice_water_content", "ciwc", "mass_fraction_of_cloud_ice_in_air", "kg kg-1",
        "cloud ice",
    ),
    Field(
        "2m_temperature", "2t", "air_temperature", "K", "2 m temperature",
        ("t2m", "t_2m", "2_metre_temperature", "var_2t"), surface=True,
    ),
    Field(
        "2m_dewpoint_temperature", "2d", "dew_point_temperature", "K", "2 m dew point",
        ("d2m", "2_metre_dewpoint_temperature", "var_2d"), surface=True,
    ),
    Field(
        "10m_u_component_of_wind", "10u", "eastward_wind", "m s-1", "10 m eastward wind",
        ("u10", "u_10m", "10_metre_u_wind_component", "var_10u"), surface=True,
    ),
    Field(
        "10m_v_component_of_wind", "10v", "northward_wind", "m s-1", "10 m northward wind",
        ("v10", "v_10m", "10_metre_v_wind_component", "var_10v"), surface=True,
    ),
    Field(
        "mean_sea_level_pressure", "msl", "air_pressure_at_mean_sea_level", "Pa", "mean sea-level pressure",
        ("air_pressure_at_sea_level", "mslp"), surface=True,
    ),
    Field("surface_pressure", "sp", "surface_air_pressure", "Pa", "surface pressure", surface=True),
    Field(
        "total_precipitation", "tp", "lwe_thickness_of_precipitation_amount", "m", "total precipitation",
        ("total_precip",), surface=True,
    ),
    Field(
        "total_column_water_vapour", "tcwv", "atmosphere_mass_content_of_water_vapor", "kg m-2",
        "column water vapour", surface=True,
    ),
    Field("skin_temperature", "skt", "surface_temperature", "K", "skin temperature", surface=True),
    Field(
        "sea_surface_temperature", "sst", "sea_surface_temperature", "K", "sea surface temperature",
        ("sstk",), surface=True,
    ),
    Field(
        "sea_ice_cover", "ci", "sea_ice_area_fraction", "1", "sea ice fraction", ("siconc",), surface=True,
    ),
    Field(
        "geopotential_at_surface", "zs", "surface_geopotential", "m2 s-2", "surface geopotential",
        ("z_surface", "orography"), surface=True,
    ),
    Field(
        "land_sea_mask", "lsm", "land_area_fraction", "1", "land fraction", ("land_binary_mask",),
        surface=True,
    ),
)  # fmt: skip

FIELDS: dict[str, Field] = {field.name: field for field in _ALL}


def _spelling(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.strip()).lower()


def _names() -> dict[str, str]:
    known = {}
    for field in _ALL:
        for alias in (field.name, field.short_name, *field.aliases):
            known[_spelling(alias)] = field.name
    return known


def _standard_names() -> dict[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {}
    for field in _ALL:
        known[field.standard_name] = (*known.get(field.standard_name, ()), field.name)
    return known


_NAMES = _names()
_STANDARD_NAMES = _standard_names()


def canonical_name(name: str) -> str:
    """The canonical name of a field, from any spelling of it; case, spaces and hyphens do not matter.

    Raises
    ------
    UserError
        If no field is called so, with the nearest names that are; or if a CF standard name belongs to several
        fields (``air_temperature`` is the standard name of ``temperature`` and of ``2m_temperature``).

    Examples
    --------
    >>> canonical_name("Z"), canonical_name("velocity_u"), canonical_name("t2m")
    ('geopotential', 'u_component_of_wind', '2m_temperature')
    """
    if not isinstance(name, str):
        raise UserError(f"a field is named by a text such as 'temperature', not by {name!r}")
    spelling = _spelling(name)
    if spelling in _NAMES:
        return _NAMES[spelling]
    meant = _STANDARD_NAMES.get(spelling, ())
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UserError(f"{name!r} is the CF standard name of several fields; say {' or '.join(meant)}")
    nearest = _nearest(spelling)
    hint = f"the nearest names are {', '.join(nearest)}" if nearest else f"known are {', '.join(FIELDS)}"
    raise UserError(f"there is no field called {name!r}; {hint}")


def find_name(name: str, standard_name: str = "", *, surface: bool | None = None) -> str | None:
    """Canonical name of a variable found in a file, or None if it is not one of :data:`FIELDS`.

    The variable's own name counts first; then its CF standard name, where ``surface`` (whether the variable
    lacks a vertical level; None if unknown) decides between fields that share one.
    """
    if _spelling(name) in _NAMES:
        return _NAMES[_spelling(name)]
    for candidate in (standard_name, name):
        meant = _STANDARD_NAMES.get(_spelling(candidate), ())
        if len(meant) > 1 and surface is not None:
            meant = tuple(field for field in meant if FIELDS[field].surface == surface)
        if len(meant) == 1:
            return meant[0]
    return None


def _nearest(spelling: str) -> list[str]:
    close = difflib.get_close_matches(spelling, [*_NAMES, *_STANDARD_NAMES], n=6, cutoff=0.6)
    close += [alias for alias in _NAMES if len(spelling) > 2 and spelling in alias]
    names: list[str] = []
    for spelled in close:
        for name in (_NAMES[spelled],) if spelled in _NAMES else _STANDARD_NAMES[spelled]:
            if name not in names:
                names.append(name)
    return names[:3]


#: (spelling read from a file, SI units of the field) -> x_SI = factor * x + offset.  Only what can mean one
#: thing: metres of geopotential height are not turned into geopotential behind the user's back.
_CONVERSIONS: dict[tuple[str, str], tuple[float, float]] = {
    ("degC", "K"): (1.0, 273.15),
    ("hPa", "Pa"): (100.0, 0.0),
    ("hPa s-1", "Pa s-1"): (100.0, 0.0),
    ("g kg-1", "kg kg-1"): (1e-3, 0.0),
    ("mm", "m"): (1e-3, 0.0),
    ("km", "m"): (1e3, 0.0),
    ("%", "1"): (1e-2, 0.0),
    ("1", "%"): (1e2, 0.0),
    ("1", "kg kg-1"): (1.0, 0.0),
    ("knot", "m s-1"): (1852.0 / 3600.0, 0.0),
}
_UNIT_SPELLINGS = {
    "": "1",
    "-": "1",
    "~": "1",
    "0-1": "1",
    "dimensionless": "1",
    "fraction": "1",
    "percent": "%",
    "kelvin": "K",
    "degk": "K",
    "°c": "degC",
    "c": "degC",
    "celsius": "degC",
    "degc": "degC",
    "deg_c": "degC",
    "degree_celsius": "degC",
    "degrees_celsius": "degC",
    "hectopascal": "hPa",
    "mb": "hPa",
    "mbar": "hPa",
    "millibar": "hPa",
    "millibars": "hPa",
    "pascal": "Pa",
    "pascals": "Pa",
    "gpm": "m",
    "metre": "m",
    "metres": "m",
    "meters": "m",
    "j kg-1": "m2 s-2",
    "knots": "knot",
    "kt": "knot",
    "kts": "knot",
}
_CASE = {"k": "K", "pa": "Pa", "hpa": "hPa"}


def normal_units(units: str) -> str:
    """Units in CF's exponent notation: ``m/s``, ``m s**-1`` and ``m s^-1`` all become ``m s-1``."""
    text = units.strip()
    bare = re.sub(r"[()\[\]\s]", "", text).lower()
    if bare in _UNIT_SPELLINGS:
        return _UNIT_SPELLINGS[bare]
    parts = []
    for i, part in enumerate(re.sub(r"\*\*|\^", "", text).split("/")):
        for unit, exponent in re.findall(r"([A-Za-z%°]+)(-?\d*)", part):
            power = int(exponent or 1) * (-1 if i else 1)
            symbol = _UNIT_SPELLINGS.get(unit.lower(), _CASE.get(unit.lower(), unit))
            parts.append(symbol if power == 1 else f"{symbol}{power}")
    joined = " ".join(parts) or text
    return _UNIT_SPELLINGS.get(joined.lower(), joined)


def to_si(name: str, units: str) -> tuple[float, float]:
    """Factor and offset that turn a field's values from ``units`` to SI: ``x_SI = factor * x + offset``.

    Parameters
    ----------
    name
        A field's name, in any spelling.
    units
        As found in the file, e.g. ``degC``, ``hPa``, ``m s**-1``.

    Raises
    ------
    UserError
        If the conversion is not unambiguous, as from metres of geopotential height to geopotential.

    Examples
    --------
    >>> to_si("t", "degC"), to_si("u", "m s**-1")
    ((1.0, 273.15), (1.0, 0.0))
    """
    field = FIELDS[canonical_name(name)]
    found = normal_units(units)
    if sorted(found.split()) == sorted(normal_units(field.units).split()):
        return 1.0, 0.0
    if (found, field.units) in _CONVERSIONS:
        return _CONVERSIONS[found, field.units]
    advice = "convert it, or correct its units attribute"
    if found == "m" and field.units == "m2 s-2":
        advice = "these look like metres of height: multiply by 9.80665 m s-2, or name it geopotential_height"
    raise UserError(f"{field.name} has units {units!r}, expected {field.units}; {advice}")
