"""Figures: what is drawn where, what they say, and that no server is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("cartopy", reason="drawing needs the extra plot")
import matplotlib
import shapefile
from cartopy import crs
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from PIL import Image
from shapely.geometry import Point, shape
from shapely.ops import unary_union

from atmorep_lite import plotting
from atmorep_lite.errors import UserError
from atmorep_lite.figures import figure_alt_text, save_figure
from atmorep_lite.plotting import field_scale, forecast_maps, map_field, skill_plot, use_offline_coastlines
from atmorep_lite.verification import area_weights, relative_to_persistence, skill_table
from tests.mocks import mock_forecast, mock_truth

matplotlib.use("Agg")
PHYSICAL = plotting.ASSETS / "shapefiles" / "natural_earth" / "physical"


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Any attempt to reach a server fails the test; cartopy's own cache of downloads is empty."""
    import socket

    import cartopy

    def refuse(*_):
        raise AssertionError("a figure asked a server")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setitem(cartopy.config, "data_dir", tmp_path)
    monkeypatch.setitem(cartopy.config, "pre_existing_data_dir", Path("."))


def one_warm_cell(longitude: list[float], latitude: list[float], at: tuple[float, float]) -> xr.DataArray:
    """A map of zeros with a one in the cell around (longitude, latitude)."""
    values = np.zeros((len(latitude), len(longitude)))
    values[latitude.index(at[1]), longitude.index(at[0])] = 1.0
    return xr.DataArray(
        values,
        dims=("latitude", "longitude"),
        coords={"latitude": latitude, "longitude": longitude},
        name="temperature",
    )


def colour_at(mesh, longitude: float, latitude: float) -> str:
    """Colour of the drawn figure at a point of the earth."""
    canvas = FigureCanvasAgg(mesh.figure)
    canvas.draw()
    x, y = mesh.axes.projection.transform_point(longitude, latitude, crs.PlateCarree())
    column, row = mesh.axes.transData.transform((x, y))
    picture = np.asarray(canvas.buffer_rgba())
    return to_hex(picture[picture.shape[0] - 1 - round(row), round(column), :3] / 255)


WORLD = ([float(x) for x in range(0, 360, 30)], [75.0, 45.0, 15.0, -15.0, -45.0, -75.0])
REGION = ([float(x) for x in range(230, 330, 10)], [60.0, 50.0, 40.0, 30.0])
ACROSS_ZERO = ([340.0, 350.0, 0.0, 10.0, 20.0], [60.0, 50.0, 40.0])


@pytest.mark.parametrize(
    ("grid", "warm", "cold"),
    [
        (WORLD, (210.0, -15.0), (150.0, -15.0)),  # in the Pacific, away from coasts
        (WORLD, (330.0, -45.0), (330.0, 45.0)),
        (WORLD, (180.0, 15.0), (210.0, 15.0)),  # the cell that the edge of the map cuts
        (REGION, (320.0, 40.0), (310.0, 40.0)),
        (ACROSS_ZERO, (340.0, 50.0), (340.0, 60.0)),
    ],
)
def test_values_are_drawn_where_they_belong(grid, warm, cold):
    data = one_warm_cell(*grid, warm)
    viridis = matplotlib.colormaps["viridis"]
    mesh = map_field(data, scale=plotting.Scale(0.0, 1.0, "viridis"))
    for east in (-2.0, 2.0):  # beside the grid lines
        assert colour_at(mesh, warm[0] + east, warm[1] + 2.0) == to_hex(viridis(1.0))
        assert colour_at(mesh, cold[0] + east, cold[1] + 2.0) == to_hex(viridis(0.0))


def test_coastlines_come_from_the_package_and_nothing_is_downloaded(tmp_path):
    mesh = map_field(one_warm_cell(*WORLD, (0.0, 15.0)))
    mesh.axes.coastlines("110m")  # as a reader would write it
    mesh.figure.canvas.draw()
    assert not list(tmp_path.rglob("*.shp"))


def test_a_readers_own_coastlines_are_left_alone(tmp_path):
    import cartopy

    own = tmp_path / "own"
    folder = own / "shapefiles" / "natural_earth" / "physical"
    folder.mkdir(parents=True)
    (folder / "ne_110m_coastline.shp").touch()
    cartopy.config["pre_existing_data_dir"] = own
    use_offline_coastlines()
    assert cartopy.config["pre_existing_data_dir"] == own


def test_missing_coastlines_are_named_and_not_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr(plotting, "ASSETS", tmp_path)
    with pytest.raises(UserError, match="install atmorep-lite again"):
        use_offline_coastlines()


def test_land_is_land():
    land = unary_union(
        [shape(s.__geo_interface__) for s in shapefile.Reader(PHYSICAL / "ne_110m_land").shapes()]
    )
    inland = {
        "Paris": (2, 48),
        "Chukotka, west": (177, 67.5),
        "Chukotka, east": (-176, 66.5),
        "Marie Byrd Land": (-130, -80),
        "South Pole": (0, -89.9),
    }
    at_sea = {"Atlantic": (-30, 0), "Pacific": (180, 0), "North Pole": (0, 89), "Caspian Sea": (50.8, 42)}
    for name, point in inland.items():
        assert land.contains(Point(point)), name
    for name, point in at_sea.items():
        assert not land.contains(Point(point)), name
    latitude = np.arange(-89.5, 90, 1.0)
    row_share = [
        land.intersection(shape({"type": "LineString", "coordinates": [(-180, y), (180, y)]})).length / 360
        for y in latitude
    ]
    share = np.average(row_share, weights=area_weights(latitude))
    assert share == pytest.approx(0.292, abs=0.01)  # the textbook's 29 %


def test_coastlines_have_no_false_lines():
    for line in shapefile.Reader(PHYSICAL / "ne_110m_coastline").shapes():
        points = np.array(line.points)
        assert np.abs(np.diff(points[:, 0])).max() < 15  # none crosses the map
        along_the_edge = (np.abs(points[:, 0]) == 180).astype(int)
        assert (along_the_edge[1:] & along_the_edge[:-1]).sum() == 0
        assert points[:, 1].min() > -86  # none runs along the pole


def test_fields_with_a_sign_have_zero_in_the_middle():
    truth = mock_truth(fields=("temperature", "u_component_of_wind")).isel(time=0, level=0)
    wind = field_scale([truth.u_component_of_wind], "u_component_of_wind")
    assert (wind.low, wind.colours) == (-wind.high, "RdBu_r")
    assert field_scale([truth.temperature], "temperature").colours == "viridis"
    assert field_scale([truth.temperature * 0 + 5], "temperature").high > 5


def test_titles_say_field_level_time_and_simulated():
    truth = mock_truth().temperature.isel(time=1).sel(level=850)
    mesh = map_field(truth, simulated=True)
    assert mesh.axes.get_title("left") == "Temperature at 850 hPa on 2001-01-01 03:00 UTC, simulated"
    assert figure_alt_text(mesh.figure).startswith(
        "Map of Temperature at 850 hPa on 2001-01-01 03:00 UTC, simul"
    )
    assert "simulated" not in map_field(truth).axes.get_title("left")
    assert "simulated" in map_field(truth.assign_attrs(simulated="true")).axes.get_title("left")


def test_small_numbers_are_drawn_in_handy_units():
    truth = mock_truth(fields=("vorticity",)).vorticity.isel(time=0, level=0) * 1e-5
    mesh = map_field(truth)
    np.testing.assert_allclose(np.asarray(mesh.get_array()).ravel(), truth.values.ravel() * 1e5)
    assert mesh.figure.axes[-1].get_xlabel() == "10⁻⁵ s⁻¹"


def test_forecast_maps_show_truth_mean_and_error():
    truth = mock_truth(rows=12, columns=24)
    forecast = mock_forecast(truth, members=4, leads=(3, 6))
    figure = forecast_maps(
        truth, forecast, "temperature", level=850, lead_hours=6, time=forecast.time.values[1]
    )
    maps = figure.axes[:3]
    drawn = [np.asarray(ax.collections[0].get_array()).reshape(12, 24) for ax in maps]
    right = truth.temperature.values[3, 1]
    mean = forecast.temperature.values[1, 1, :, 1].mean(0)
    for found, expected in zip(drawn, (right, mean, mean - right), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    limits = [ax.collections[0].get_clim() for ax in maps]
    assert limits[0] == limits[1]
    assert limits[2][0] == -limits[2][1]
    assert maps[1].get_title("left") == "Forecast, mean of 4 members"
    heading = figure.get_suptitle()
    assert heading == ("Temperature at 850 hPa, simulated  ·  valid 2001-01-01 09:00 UTC, 6 h after "
                       "2001-01-01 03:00 UTC")  # fmt: skip
    rmse = np.sqrt(np.average(((mean - right) ** 2).mean(1), weights=area_weights(truth.latitude)))
    assert f"root mean square of {rmse:.3g} K" in figure_alt_text(figure)
    assert "simulated" in figure_alt_text(figure)


def test_forecast_maps_of_real_data_do_not_say_simulated():
    truth = mock_truth().assign_attrs(simulated="false")
    figure = forecast_maps(truth, mock_forecast(truth), "temperature", level=500, lead_hours=3)
    assert "simulated" not in figure.get_suptitle() + figure_alt_text(figure)


def test_skill_plot_draws_the_ratios():
    truth = mock_truth()
    forecasts = {
        "persistence": mock_forecast(truth, error=2.0),
        "climatology": mock_forecast(truth, error=3.0, seed=7),
        "good": mock_forecast(truth, error=1.0, members=3),
    }
    table = skill_table(forecasts, truth, (3, 6))
    figure = skill_plot(table)
    ratios = relative_to_persistence(table)
    assert [ax.get_title("left") for ax in figure.axes] == [
        "Mean of all fields",
        "Temperature",
        "Eastward wind",
    ]
    for ax, field in zip(figure.axes, ratios.field.unique(), strict=True):
        drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
        for model in ("climatology", "good"):
            expected = ratios[(ratios.field == field) & (ratios.model == model)].ratio
            np.testing.assert_allclose(drawn[model], expected)
    last = ratios[(ratios.field == "mean") & (ratios.lead_hours == 6)].set_index("model").ratio
    assert f"best first: good {last.good:.2f}, persistence 1.00, climatology" in figure_alt_text(figure)
    assert [text.get_text() for text in figure.texts if "simulated" in text.get_text()]
    figure.canvas.draw()


def test_figures_are_written_whole_and_described(tmp_path):
    mesh = map_field(one_warm_cell(*WORLD, (0.0, 15.0)))
    path = save_figure(mesh.figure, tmp_path / "map.png")
    assert Image.open(path).text["Description"] == figure_alt_text(mesh.figure) != ""
    assert [p.name for p in tmp_path.iterdir()] == ["map.png"]
    with pytest.raises(UserError, match="is not a folder"):
        save_figure(mesh.figure, tmp_path / "nowhere" / "map.png")


def test_figures_leave_nothing_open():
    map_field(one_warm_cell(*WORLD, (0.0, 15.0)))
    assert pyplot.get_fignums() == []


def test_bad_input_is_named():
    truth = mock_truth()
    forecast = mock_forecast(truth)
    with pytest.raises(UserError, match="needs the dimensions latitude and longitude"):
        map_field(truth.temperature.isel(time=0))
    with pytest.raises(UserError, match="at least two latitudes"):
        map_field(truth.temperature.isel(time=0, level=0, latitude=[0]))
    with pytest.raises(UserError, match="no finite value"):
        map_field(truth.temperature.isel(time=0, level=0) * np.nan)
    for change in ({"lead_hours": 12}, {"level": 300}, {"time": "1999-01-01"}):
        with pytest.raises(UserError, match="choose what both have"):
            forecast_maps(truth, forecast, "temperature", **({"level": 500, "lead_hours": 3} | change))
    with pytest.raises(UserError, match="choose what both have"):
        forecast_maps(truth, forecast, "humidity", level=500, lead_hours=3)


def test_importing_draws_in_no_plotting_library():
    code = (
        "import sys; from atmorep_lite import baselines, plotting, report, verification\n"
        "print(*[m for m in ('matplotlib', 'cartopy', 'scores') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == ""
