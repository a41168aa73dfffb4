"""Mistakes put into sound data on purpose are found, with their place, and mended where that is clear."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from atmorep_lite import open_sample
from atmorep_lite.data.quality import PLAUSIBLE, examine, refuse, repaired
from atmorep_lite.errors import UserError
from atmorep_lite.fields import FIELDS


@pytest.fixture(scope="module")
def sample() -> xr.Dataset:
    return open_sample().isel(time=slice(0, 12)).load()


def spoilt(sample: xr.Dataset, name: str, value: float) -> xr.Dataset:
    """One value replaced, at the sixth time, second level, third latitude and fourth longitude."""
    changed = sample.copy(deep=True)
    changed[name][5, 1, 2, 3] = value
    return changed


def kinds(dataset: xr.Dataset) -> list[tuple[str, str]]:
    return [(found.kind, found.name) for found in examine(dataset)]


def test_sound_data_have_no_findings(sample: xr.Dataset) -> None:
    assert examine(sample) == []
    assert examine(open_sample("test"), times=3) == []
    refuse([])
    assert set(PLAUSIBLE) <= set(FIELDS)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(np.nan, "not finite"), (-9999.0, "fill values"), (9.97e36, "fill values"), (400.0, "out of range")],
)
def test_a_single_value_is_found_with_its_place(sample: xr.Dataset, value: float, kind: str) -> None:
    (found,) = examine(spoilt(sample, "temperature", value))
    assert (found.kind, found.name, found.repairable) == (kind, "temperature", False)
    place = f"{str(sample.time.values[5])[:16]}, level 700, latitude {sample.latitude.values[2]:g}"
    assert place in found.words and f"1 of the {sample.temperature.size} values" in found.words


def test_missing_and_additional_times(sample: xr.Dataset) -> None:
    (found,) = examine(sample.isel(time=[0, 1, 2, 5, 6, 8, 9, 10]))
    assert found.words == (
        "3 of the 3-hourly times are missing (2 after 2010-01-20T09:00, 1 after 2010-01-20T21:00)"
    )
    between = sample.time.values.copy()
    between[4] += np.timedelta64(20, "m")
    assert [found.kind for found in examine(sample.assign_coords(time=between))].count("missing times") >= 1
    assert kinds(sample.isel(time=slice(0, 12, 4))) == []


@pytest.mark.parametrize(
    ("name", "factor", "offset"), [("temperature", 1.0, -273.15), ("specific_humidity", 1000.0, 0.0)]
)
def test_mixed_up_units_are_mended(sample: xr.Dataset, name: str, factor: float, offset: float) -> None:
    wrong = sample.assign({name: sample[name] * factor + offset})
    (found,) = examine(wrong)
    assert (found.kind, found.name, found.repairable) == ("units", name, True)
    right, rest = repaired(wrong, [found])
    assert not rest and examine(right) == [] and "repaired" in right[name].attrs
    xr.testing.assert_allclose(right[name], sample[name], rtol=1e-3)


def test_pressure_in_hectopascal(sample: xr.Dataset) -> None:
    pressure = (0 * sample["temperature"].isel(level=0, drop=True) + 1013.0).rename("mean_sea_level_pressure")
    (found,) = examine(pressure.to_dataset())
    assert found.factor == 100.0 and "are hPa, not Pa" in found.words


def test_a_map_upside_down_is_turned(sample: xr.Dataset) -> None:
    wrong = sample.isel(latitude=slice(None, None, -1)).assign_coords(latitude=sample.latitude)
    (found,) = examine(wrong)
    assert found.kind == "upside down"
    xr.testing.assert_equal(repaired(wrong, [found])[0].drop_attrs(), sample.drop_attrs())


def test_all_findings_are_told_together(sample: xr.Dataset) -> None:
    wrong = spoilt(spoilt(sample, "temperature", np.nan), "vorticity", 1.0).isel(time=[0, 1, 2, 5, 7])
    found = examine(wrong)
    assert sorted(f.name for f in found) == ["temperature", "time", "vorticity"]
    with pytest.raises(UserError, match=r"mine.*time: .*temperature: .*vorticity: "):
        refuse(found, origin="mine")


def test_only_some_times_are_read(sample: xr.Dataset) -> None:
    hidden = spoilt(sample, "temperature", np.nan)
    assert examine(hidden, times=2) == [] and len(examine(hidden, times=None)) == 1


@pytest.mark.parametrize(
    ("name", "arctic", "antarctic"),
    [
        ("2m_temperature", 272.0, 215.0),
        ("surface_pressure", 101300.0, 69000.0),
        ("temperature", 265.0, 232.0),
    ],
)
def test_poles_are_told_apart_without_a_map_of_the_land(
    sample: xr.Dataset, name: str, arctic: float, antarctic: float
) -> None:
    """July: winter in the south."""
    like = sample["temperature"] if name == "temperature" else sample["temperature"].isel(level=0, drop=True)
    north = (like.latitude + 90) / 180
    field = (antarctic + (arctic - antarctic) * north + 0 * like).transpose(*like.dims).astype(np.float32)
    field = field.where(abs(like.latitude) > 60, 288.0 if "temp" in name else 101300.0).to_dataset(name=name)
    assert examine(field) == []
    turned = field.isel(latitude=slice(None, None, -1)).assign_coords(latitude=field.latitude)
    (found,) = examine(turned)
    assert found.kind == "upside down" and found.repairable
    xr.testing.assert_equal(repaired(turned, [found])[0].drop_attrs(), field.drop_attrs())


def test_everything_wrong_at_once_is_told_with_its_place(sample: xr.Dataset) -> None:
    """Gap, NaN, fill value, hPa for Pa, degrees Celsius for kelvin, swapped latitude."""
    wrong = sample.isel(time=[k for k in range(12) if k != 7]).copy(deep=True)
    wrong["mean_sea_level_pressure"] = 1013.0 + 0 * wrong["temperature"].isel(level=0, drop=True)
    wrong["temperature"] = wrong["temperature"] - 273.15
    wrong["vorticity"][3, 1, 2, 0] = np.nan
    wrong["u_component_of_wind"][10, 0, 0, 5] = -9999.0
    wrong = wrong.isel(latitude=slice(None, None, -1)).assign_coords(latitude=sample.latitude)
    told = {found.name: found for found in examine(wrong)}
    assert "1 after 2010-01-20T21:00" in told["time"].words
    assert told["latitude"].kind == "upside down"
    assert "are hPa, not Pa" in told["mean_sea_level_pressure"].words
    assert "are degrees Celsius, not K" in told["temperature"].words
    assert "2010-01-20T12:00, level 700, latitude" in told["vorticity"].words
    assert "(-9999), first at 2010-01-21T12:00, level 500" in told["u_component_of_wind"].words
    assert len(told) == 6 and sum(found.repairable for found in told.values()) == 3
    assert {found.name for found in examine(wrong, times=None)} == set(told)


def test_a_cold_winter_stratosphere_is_no_mistake(sample: xr.Dataset) -> None:
    """At 50 hPa the Arctic winter is far colder than the Antarctic summer."""
    like = sample[["temperature"]].isel(level=[0]).assign_coords(level=[50])
    field = (225.0 - like.latitude / 4 + 0 * like).transpose(*like.temperature.dims)
    assert examine(field.astype(np.float32)) == []
