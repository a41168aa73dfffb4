"""Names and units of the physical fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmorep_lite.errors import UserError
from atmorep_lite.fields import _NAMES, FIELDS, canonical_name, find_name, normal_units, to_si

# Written out by hand from the documents named, not from the table under test.
ECMWF_SHORT = {
    "t": "temperature", "z": "geopotential", "u": "u_component_of_wind", "v": "v_component_of_wind",
    "w": "vertical_velocity", "q": "specific_humidity", "vo": "vorticity", "d": "divergence",
    "2t": "2m_temperature", "10u": "10m_u_component_of_wind", "msl": "mean_sea_level_pressure",
    "tp": "total_precipitation", "sp": "surface_pressure", "lsm": "land_sea_mask",
}  # fmt: skip
CFGRIB = {"t2m": "2m_temperature", "u10": "10m_u_component_of_wind", "v10": "10m_v_component_of_wind"}
PUBLISHED_ATMOREP = {
    "velocity_u": "u_component_of_wind", "velocity_v": "v_component_of_wind",
    "velocity_z": "vertical_velocity", "orography": "geopotential_at_surface",
    "total_precip": "total_precipitation", "vorticity": "vorticity", "divergence": "divergence",
    "temperature": "temperature", "specific_humidity": "specific_humidity",
}  # fmt: skip
CF = {
    "atmosphere_relative_vorticity": "vorticity",
    "geopotential": "geopotential",
    "lagrangian_tendency_of_air_pressure": "vertical_velocity",
    "surface_air_pressure": "surface_pressure",
}


@pytest.mark.parametrize(("name", "canonical"), (ECMWF_SHORT | CFGRIB | PUBLISHED_ATMOREP | CF).items())
def test_other_names_are_understood(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


@given(st.sampled_from(sorted(_NAMES)), st.data())
def test_case_spaces_and_hyphens_do_not_matter(name: str, data: st.DataObject) -> None:
    changed = "".join(
        data.draw(st.sampled_from([c.upper(), c, "-", " "] if c == "_" else [c.upper(), c])) for c in name
    )
    assert canonical_name(f" {changed} ") == canonical_name(name)


def test_every_spelling_means_one_field() -> None:
    spellings = [s.lower() for f in FIELDS.values() for s in {f.name, f.short_name, *f.aliases}]
    assert len(spellings) == len(set(spellings))


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'temprature'.*temperature"):
        canonical_name("temprature")
    with pytest.raises(UserError, match=r"'wind'.*_component_of_wind"):
        canonical_name("wind")
    with pytest.raises(UserError, match=r"no field called 'xyzzy'; known are vorticity"):
        canonical_name("xyzzy")
    with pytest.raises(UserError, match="not by 500"):
        canonical_name(500)  # type: ignore[arg-type]


def test_standard_name_of_two_fields_is_refused_unless_the_level_decides() -> None:
    with pytest.raises(UserError, match="temperature or 2m_temperature"):
        canonical_name("air_temperature")
    assert find_name("var11", "air_temperature", surface=True) == "2m_temperature"
    assert find_name("var11", "air_temperature", surface=False) == "temperature"
    assert find_name("var11", "air_temperature") is None
    assert find_name("var11", "") is None


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("m s**-1", "m s-1"), ("m/s", "m s-1"), ("m s^-1", "m s-1"), ("m**2 s**-2", "m2 s-2"),
        ("m2/s2", "m2 s-2"),
        ("kg/kg", "kg kg-1"), ("Kelvin", "K"), ("degrees_Celsius", "degC"), ("°C", "degC"), ("mbar", "hPa"),
        ("(0 - 1)", "1"), ("", "1"), ("1/s", "s-1"), ("Pa/s", "Pa s-1"), ("J kg**-1", "m2 s-2"), ("K", "K"),
    ],
)  # fmt: skip
def test_units_are_read_in_every_notation(written: str, normal: str) -> None:
    assert normal_units(written) == normal


@pytest.mark.parametrize(
    ("name", "units", "value", "si"),
    [
        ("temperature", "degC", 15.0, 288.15),
        ("msl", "hPa", 1013.25, 101325.0),
        ("q", "g/kg", 7.0, 0.007),
        ("tp", "mm", 3.0, 0.003),
        ("u", "knots", 100.0, 51.4444),
        ("lsm", "%", 30.0, 0.3),
        ("vo", "s**-1", 1e-5, 1e-5),
    ],
)
def test_conversion_to_si(name: str, units: str, value: float, si: float) -> None:
    factor, offset = to_si(name, units)
    assert factor * value + offset == pytest.approx(si, rel=1e-5)


def test_height_is_not_turned_into_geopotential() -> None:
    with pytest.raises(UserError, match=r"geopotential has units 'gpm'.*9\.80665"):
        to_si("z", "gpm")
    with pytest.raises(UserError, match=r"temperature has units 'furlong', expected K"):
        to_si("t", "furlong")
