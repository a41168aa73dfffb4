"""Attention that is known to look upstream is found there, and what looks elsewhere is not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from atmorep_lite.attention_maps import (
    AttentionCapture,
    attention_maps,
    bias_only,
    displacement,
    map_arrows,
    uniform,
    upstream_arrows,
    wind_of,
)
from atmorep_lite.attention_maps.geometry import follow, ways
from atmorep_lite.attention_maps.weights import joint_index
from atmorep_lite.attention_maps.winds import Wind
from atmorep_lite.errors import UserError
from atmorep_lite.flow_attention import attention_arrows, token_places
from atmorep_lite.zoo import VortexFormer
from atmorep_lite.zoo.looking import INTERVAL, SLOTS, TEST, looking_trajectories
from tests.attention_maps.advection import (
    KM,
    NAME,
    capture_of,
    on_sphere,
    plain_field,
    plane_case,
    sphere_case,
    walk,
)
from tests.widgets.planes import BOX, STEP, plane_capture

AXES = {
    "westerly": ((0, 0, 1), 20.0),
    "easterly": ((0, 0, -1), 35.0),
    "over the pole": ((1, -0.5, 0.2), 25.0),
    "tilted": ((0.5, 0.5, 0.7), 45.0),
}
WINDS = [(0.5, 0.0), (0.0, -0.9), (-0.7, 0.7), (0.4, 1.2)]


def row(found):
    """Every measure of the only head, by lag."""
    return found.isel(pair=0, layer=0, head=0)


def inner(capture, margin=5):
    """Queries of every time that lie far from the edges of the region."""
    _, slots, rows, columns = capture.fields[NAME].mask.shape
    inside = np.zeros((slots, rows, columns), bool)
    inside[:, margin:-margin, margin:-margin] = True
    return np.flatnonzero(inside).tolist()


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize(("excess", "steps"), [(False, 1), (True, 1), (True, 8)])
def test_upstream_on_the_sphere_is_found(name: str, excess: bool, steps: int) -> None:
    capture, wind = sphere_case(*AXES[name])
    null = uniform(capture) if excess else None
    found = row(displacement(capture, wind, against=null, queries=inner(capture), steps=steps))
    assert found.lag.values.tolist() == [12.0, 24.0]
    assert (found["count"] > 100).all() and (found.moving > 0.95).all()
    assert (found.angle < 15).all(), found.angle.values
    assert found.length.sel(lag=12).item() == pytest.approx(1, abs=0.15)
    assert (found.distance < 0.35 * found.still_distance).all()
    assert (found.random_distance > found.still_distance).all() and (found.random_angle == 90).all()


@pytest.mark.parametrize("name", AXES)
def test_downstream_on_the_sphere_is_found_wrong(name: str) -> None:
    capture, wind = sphere_case(*AXES[name], looks=-1.0)
    found = row(displacement(capture, wind, queries=inner(capture)))
    assert (found.angle > 165).all() and (found.correlation < -0.9).all()
    assert (found.distance > found.random_distance).all()


@pytest.mark.parametrize("velocity", WINDS)
def test_upstream_and_downstream_on_the_plane(velocity: tuple[float, float]) -> None:
    for looks, turned in ((1.0, False), (-1.0, True)):
        capture, wind = plane_case(velocity, looks=looks)
        found = row(displacement(capture, wind))
        assert found.lag.values.tolist() == [1.0, 2.0]
        near = 180 - found.angle if turned else found.angle
        assert (near < 15).all(), near.values
        assert (np.sign(found.length) == looks).all() and (found["count"] > 300).all()
        assert (found.distance < found.still_distance).all() == (not turned)


@pytest.mark.parametrize("case", [lambda: sphere_case(*AXES["westerly"], looks=0.0),
                                  lambda: plane_case((0.6, -0.6), looks=0.0)])  # fmt: skip
def test_looking_at_oneself_is_no_displacement(case) -> None:
    capture, wind = case()
    queries = inner(capture, 4)
    for null in (None, uniform(capture)):
        found = row(displacement(capture, wind, queries=queries, against=null))
        assert (found.moving < 0.05).all() and (abs(found.length) < 0.05).all()
        np.testing.assert_allclose(found.distance, found.still_distance, rtol=0.05)


def test_what_equals_the_null_has_no_arrow() -> None:
    capture, wind = sphere_case(*AXES["westerly"])
    flat = uniform(capture)
    found = row(displacement(flat, wind, against=bias_only(flat)))
    assert (found["count"] == 0).all() and found.angle.isnull().all()


def test_excess_mends_the_edge_of_the_region() -> None:
    """A faint look upstream on a flat ground: plain centroids are drawn to the middle of the region."""
    capture, wind = sphere_case(*AXES["westerly"], sharp=25.0)
    pair = capture.pairs[NAME, NAME]
    faint = replace(capture, pairs={(NAME, NAME): replace(pair, q=pair.q / 8)})
    queries = [t * 23 * 24 + 10 * 24 + 5 for t in (1, 2)]  # near the western edge, where westerlies come from
    plain, mended = (
        row(displacement(faint, wind, against=null, queries=queries)) for null in (None, uniform(faint))
    )
    assert (plain.angle > 120).all() and (mended.angle < 60).all()


def test_arrows_are_those_of_the_loop() -> None:
    capture, wind = sphere_case(*AXES["tilted"], sharp=5.0)
    query = 2 * 23 * 24 + 9 * 24 + 13
    found = upstream_arrows(capture, NAME, NAME, wind, queries=[query])
    weights = attention_maps(capture, queries=[query])[f"{NAME}/{NAME}"]["attention"][0, 0, 0]
    here = on_sphere(np.array([weights.query_latitude.item(), weights.query_longitude.item()]))
    east = np.array([-here[1], here[0], 0]) / math.hypot(here[0], here[1])
    north = np.cross(here, east)
    times = capture.fields[NAME].time
    for t in (0, 1):
        sums, total = np.zeros(2), 0.0
        for key in range(weights.size):
            if weights.key_time.values[key] != times[t]:
                continue
            there = on_sphere(np.array([weights.key_latitude.values[key], weights.key_longitude.values[key]]))
            away = np.array([there @ north, there @ east])
            flat = np.linalg.norm(away)
            angle = math.atan2(flat, there @ here)
            sums += float(weights[key]) * (away / flat * KM * angle if flat else 0)
            total += float(weights[key])
        arrow = found.isel(layer=0, head=0, query=0, key_time=t)
        expected = sums / total
        np.testing.assert_allclose([arrow.attention_north, arrow.attention_east], expected, rtol=1e-6)
        hours = 12.0 * (2 - t)
        u, v = (part[0, 2, 9, 13] for part in (wind.u, wind.v))
        true = np.array([-v, -u]) * 3.6 * hours
        np.testing.assert_allclose([arrow.truth_north, arrow.truth_east], true, rtol=1e-9)
        cosine = expected @ true / np.linalg.norm(expected) / np.linalg.norm(true)
        assert arrow.angle.item() == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-6)
        assert arrow.distance.item() == pytest.approx(np.linalg.norm(expected - true), rel=1e-6)
        assert arrow.lag.item() == hours
    last = found.isel(key_time=2)
    assert last.lag.item() == 0 and last.angle.isnull().all() and last.attention_north.isnull().all()


def test_ways_end_where_the_rotation_came_from() -> None:
    """Against the exact rotation: many pieces come eight times nearer than the straight way."""
    axis, speed = AXES["tilted"]
    capture, wind = sphere_case(axis, speed)
    queries = inner(capture, 8)[-30:]
    straight, pieces = (
        upstream_arrows(capture, NAME, NAME, wind, queries=queries, steps=n).isel(key_time=1) for n in (1, 24)
    )
    pole = np.asarray(axis) / np.linalg.norm(axis)
    field = capture.fields[NAME]
    grid = np.stack(np.meshgrid(field.latitude, field.longitude, indexing="ij"), -1).reshape(-1, 2)
    exact = walk(on_sphere(grid[np.array(queries) % len(grid)]), pole, -speed * 3.6 * 12 / KM)
    off = [
        np.degrees(
            np.arccos((exact * on_sphere(np.stack((a.truth_latitude, a.truth_longitude), -1))).sum(-1))
        )
        for a in (straight, pieces)
    ]
    assert off[1].max() < 0.2 and 1 < off[0].max() < 2, "degrees; the way is 17 degrees long at most"


def test_ways_there_and_back() -> None:
    rng = np.random.default_rng(0)
    start = np.stack((rng.uniform(-89, 89, 200), rng.uniform(0, 720, 200)), -1)
    end = np.stack((rng.uniform(-89, 89, 200), rng.uniform(-360, 360, 200)), -1)
    sphere, _ = sphere_case(*AXES["westerly"])
    way = ways(sphere, start, end)
    points = on_sphere(start), on_sphere(end)
    angle = np.arctan2(np.linalg.norm(np.cross(*points), axis=-1), (points[0] * points[1]).sum(-1))
    np.testing.assert_allclose(np.linalg.norm(way, axis=-1), KM * angle, rtol=1e-9)
    np.testing.assert_allclose(on_sphere(follow(sphere, start, way)), points[1], atol=1e-9)
    np.testing.assert_allclose(ways(sphere, start, start), 0, atol=1e-6)
    plane, _ = plane_case((0.5, 0.0))
    start, end = rng.uniform(0, 1, (2, 50, 2)) * plane.period
    way = ways(plane, start, end)
    for s, e, w in zip(start, end, way, strict=True):
        images = [e + np.array([i * plane.period[0], j * plane.period[1]]) - s for i in (-1, 0, 1)
                  for j in (-1, 0, 1)]  # fmt: skip
        np.testing.assert_allclose(w, min(images, key=np.linalg.norm))
    np.testing.assert_allclose(follow(plane, start, way), end)


def test_arrows_on_the_plane_are_those_of_flow_attention() -> None:
    capture = plane_capture()
    wind = Wind(capture.fields["vorticity"], *np.ones((2, 1, 3, 16, 16)))
    newest = list(range(2 * 256, 3 * 256))
    found = upstream_arrows(capture, "vorticity", "vorticity", wind, queries=newest, ahead=1.0, interval=0.5)
    weights = attention_maps(capture, queries=newest)["vorticity/vorticity"]["attention"]
    places = token_places(16, side=BOX)
    for frame in range(3):
        part = torch.from_numpy(weights.values[..., 256 * frame : 256 * (frame + 1)]).float()
        expected = attention_arrows(part, places, side=BOX)
        for i, name in enumerate(("attention_dy", "attention_dx")):
            np.testing.assert_allclose(found[name].isel(key_time=frame), expected[..., i], atol=2e-5)
    assert found.lag[0].values.tolist() == [3.0, 2.0, 1.0]
    np.testing.assert_allclose(found.truth_dx[0], [-1.5, -1.0, -0.5])
    ended = found.truth_x.isel(query=0, key_time=2).item()
    assert ended == pytest.approx((STEP / 2 - 0.5) % BOX)


def test_any_map_can_be_held_against_the_wind() -> None:
    """A head's own row, as a map, gives the head's arrow; hidden keys are left out."""
    capture, wind = sphere_case(*AXES["tilted"])
    query = 2 * 23 * 24 + 9 * 24 + 13
    row_of_head = attention_maps(capture, queries=[query])[f"{NAME}/{NAME}"]["attention"][0, 0, 0].values
    values = xr.DataArray(row_of_head, dims="key", coords=joint_index("key", capture.fields))
    found = map_arrows(capture, values, field=NAME, query=query, wind=wind, steps=3)
    expected = upstream_arrows(capture, NAME, NAME, wind, queries=[query], steps=3)
    xr.testing.assert_allclose(found, expected.isel(layer=0, head=0, query=0, drop=True))
    assert (found.angle[:2] < 15).all()
    field = capture.fields[NAME]
    hidden = values.where((values.key_time == field.time[1]).values)
    some = map_arrows(capture, hidden, field=NAME, query=query, wind=wind, steps=3)
    assert some.angle.isnull().values.tolist() == [True, False, True]
    assert some.angle[1] == found.angle[1]
    with pytest.raises(UserError, match="one row"):
        map_arrows(capture, values[:5], field=NAME, query=query, wind=wind)
    with pytest.raises(UserError, match="not a field"):
        map_arrows(capture, values, field="humidity", query=query, wind=wind)


def test_a_trained_head_is_found_upstream() -> None:
    """The shipped model for looking: the wind is that of its own capture, from the vorticity."""
    model = VortexFormer.from_pretrained("vortices_looking")
    newest = range(2 * SLOTS**2, 3 * SLOTS**2)
    for frames in looking_trajectories(2, frames=3, seed=TEST):
        capture = model.capture(frames)
        found = displacement(
            capture,
            ahead=1.0,
            interval=INTERVAL,
            steps=4,
            queries=newest,
            least=BOX / SLOTS,
            against=uniform(capture),
        ).isel(pair=0)
        head = found.sel(lag=1, layer=1, head=0)
        assert head.angle < 12 and head.correlation > 0.95 and head["count"] > 20
        assert head.distance < 0.3 * head.still_distance and head.other_angle > 50
        assert (found.sel(lag=1, layer=0, head=0).angle > 90).all()


def test_the_null_of_random_directions() -> None:
    """Against drawn directions; and a direction shared by all is told by ``other_angle``."""
    from atmorep_lite.attention_maps.displacement_table import compare

    generator = torch.Generator().manual_seed(0)
    true = torch.randn(4000, 2, generator=generator, dtype=torch.float64)
    seen = 0.7 * torch.randn(4000, 2, generator=generator, dtype=torch.float64)
    found = compare(seen, true)
    assert abs(found["angle"] - 90) < 3 * found["random_angle_error"]
    assert found["distance"] == pytest.approx(found["random_distance"], rel=0.02)
    turned = torch.atan2(seen[:, 0], seen[:, 1]) - torch.atan2(true[:, 0], true[:, 1])
    far = seen.norm(dim=-1) >= true.norm(dim=-1) / 4
    drawn = torch.rad2deg(torch.atan2(turned.sin(), turned.cos()).abs())[far]
    assert found["random_angle_error"] == pytest.approx(float(drawn.std()) / len(drawn) ** 0.5, rel=0.05)
    assert found["still_distance"] == pytest.approx(float(true.norm(dim=-1).mean()))
    west = torch.tensor([0.0, 1.0], dtype=torch.float64) + 0.2 * true
    shared = compare(west.roll(7, 0), west)
    assert shared["angle"] < 20 and abs(shared["other_angle"] - shared["angle"]) < 1


def test_mistakes_are_explained() -> None:
    capture, wind = sphere_case(*AXES["westerly"])
    with pytest.raises(UserError, match="tells no wind"):
        displacement(capture)
    with pytest.raises(UserError, match="does not attend"):
        upstream_arrows(capture, NAME, "temperature", wind)
    with pytest.raises(UserError, match="token"):
        upstream_arrows(capture, NAME, NAME, wind, queries=[10**6])
    with pytest.raises(UserError, match="no token is chosen"):
        displacement(capture, wind, queries=[])
    with pytest.raises(UserError, match="head 99 does not exist"):
        displacement(capture, wind, heads=[99])
    with pytest.raises(UserError, match="0 steps"):
        displacement(capture, wind, steps=0)
    whole = attention_maps(capture, queries=[3])[f"{NAME}/{NAME}"]["attention"][0, 0]
    with pytest.raises(UserError, match="one row"):
        map_arrows(capture, whole.rename(key_level="key_field"), field=NAME, query=3, wind=wind)


@pytest.mark.parametrize("change", ["latitude", "longitude", "level", "geometry"])
def test_a_null_of_other_tokens_is_refused(change: str) -> None:
    capture, wind = sphere_case(*AXES["westerly"])
    field = capture.fields[NAME]
    if change == "geometry":
        other = AttentionCapture(capture.fields, capture.pairs, "plane")
    else:
        moved = replace(field, **{change: getattr(field, change) + 5})
        other = replace(capture, fields={NAME: moved})
    with pytest.raises(UserError, match=change):
        displacement(capture, wind, against=uniform(other), queries=[0])
    later = replace(field, time=field.time + np.timedelta64(24, "h"))
    displacement(capture, wind, against=uniform(replace(capture, fields={NAME: later})), queries=[1200])


def blind(field, geometry="sphere", period=None) -> AttentionCapture:
    """A capture whose weights are all equal."""
    zeros = np.zeros((1, 1, field.mask.size, 1), np.float32)
    return replace(capture_of(field, zeros, zeros), geometry=geometry, period=period)


def test_the_wind_is_that_of_the_level() -> None:
    latitude, longitude = np.linspace(20, -20, 5), np.arange(6) * 5.0
    time = np.datetime64("2001-01-01", "ns") + np.array([0, 6]) * np.timedelta64(1, "h")
    field = plain_field(latitude, longitude, time, (10.0, 5.0), np.array([500, 850]))
    u = np.broadcast_to(np.array([30.0, -4.0])[:, None, None, None], field.mask.shape)
    wind = Wind(field, u, 0 * u)
    queries = [np.ravel_multi_index((level, 1, 2, 3), field.mask.shape) for level in (0, 1)]
    found = upstream_arrows(blind(field), NAME, NAME, wind, queries=[int(q) for q in queries])
    np.testing.assert_allclose(found.truth_east[:, 0], [-30 * 3.6 * 6, 4 * 3.6 * 6])


def test_the_wind_of_a_way_is_that_of_each_piece_of_time() -> None:
    """100 in the newest frame, then 10 and 1; stamped 0.6 frames later, each counts for another time."""
    time, place = np.array([-2.0, -1.0, 0.0]), np.arange(4.0)
    field = plain_field(place, place, time, (1.0, 1.0), np.array([0]))
    u = np.broadcast_to(np.array([1.0, 10.0, 100.0])[:, None, None], field.mask.shape)
    query = int(np.ravel_multi_index((0, 2, 1, 1), field.mask.shape))
    for stamps, expected in ((None, [-110, -55]), (time + 0.6, [-11, -10])):
        wind = Wind(field, u, 0 * u, stamps)
        ways_back = upstream_arrows(blind(field, "plane"), NAME, NAME, wind, queries=[query], steps=2)
        np.testing.assert_allclose(ways_back.truth_dx[0, :2], expected)


def test_the_wind_of_a_box_of_two_sides() -> None:
    """psi = cos(2 pi y) + cos(pi x) in a box of 1 x 2: u = -d psi / dy, v = d psi / dx."""
    y, x = (np.arange(16) + 0.5) / 16, (np.arange(16) + 0.5) / 8
    field = plain_field(y, x, np.array([0.0]), (1 / 16, 1 / 8), np.array([0]))
    north, east = np.meshgrid(y, x, indexing="ij")
    spin = -((2 * np.pi) ** 2) * np.cos(2 * np.pi * north) - np.pi**2 * np.cos(np.pi * east)
    wind = wind_of(blind(replace(field, values=spin[None, None]), "plane", (1.0, 2.0)))
    np.testing.assert_allclose(wind.u[0, 0], 2 * np.pi * np.sin(2 * np.pi * north), atol=1e-9)
    np.testing.assert_allclose(wind.v[0, 0], -np.pi * np.sin(np.pi * east), atol=1e-9)
