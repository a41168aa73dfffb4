"""Captures whose attention is known: every token looks where a uniform flow came from, or elsewhere.

Keys and queries are made so that the score of a key falls with its distance from the wanted place:
-sharp |x_key - x_wanted|^2 / 2 of points on a sphere, or on the torus, is a dot product up to a constant.
"""

from __future__ import annotations

import numpy as np

from atmorep_lite.attention_maps import AttentionCapture, CapturedField, CapturedPair, Wind

NAME = "vorticity"
KM = 6371.0


def on_sphere(places: np.ndarray) -> np.ndarray:
    """[..., 2] degrees -> [..., 3] points of length 1."""
    north, east = np.deg2rad(places[..., 0]), np.deg2rad(places[..., 1])
    return np.stack((np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)), -1)


def on_torus(places: np.ndarray, period: tuple[float, float]) -> np.ndarray:
    """[..., 2] -> [..., 4] cosine and sine of both angles."""
    angles = 2 * np.pi * places / np.asarray(period)
    return np.concatenate((np.cos(angles), np.sin(angles)), -1)


def walk(place: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotate points [..., 3] about an axis: Rodrigues' formula."""
    along = (place @ axis)[..., None] * axis * (1 - np.cos(angle))
    return place * np.cos(angle) + np.cross(axis, place) * np.sin(angle) + along


def solid_body(latitude: np.ndarray, longitude: np.ndarray, axis: np.ndarray, speed: float) -> np.ndarray:
    """(u, v) in m/s [latitude, longitude, 2] of a rotation about an axis; ``speed`` at its equator."""
    place = on_sphere(np.stack(np.meshgrid(latitude, longitude, indexing="ij"), -1))
    motion = speed * np.cross(axis, place)
    east = np.stack((-place[..., 1], place[..., 0], np.zeros(place.shape[:2])), -1)
    east /= np.linalg.norm(east, axis=-1, keepdims=True)
    return np.stack(((motion * east).sum(-1), (motion * np.cross(place, east)).sum(-1)), -1)


def sphere_case(
    axis: tuple[float, float, float], speed: float, *, looks: float = 1.0, sharp: float = 60.0
) -> tuple[AttentionCapture, Wind]:
    """One head that looks where the air was (``looks`` = 1), will be (-1), or is (0), on a solid rotation."""
    latitude, longitude = np.linspace(70, -40, 23), 300 + np.arange(24) * 5.0
    hours = np.array([0, 12, 24])
    time = np.datetime64("2001-01-01T12", "ns") + hours * np.timedelta64(1, "h")
    pole = np.asarray(axis, float) / np.linalg.norm(axis)
    grid = np.stack(np.meshgrid(latitude, longitude, indexing="ij"), -1).reshape(-1, 2)
    points = on_sphere(grid)
    rate = speed * 3.6 / KM  # radians an hour
    tokens = len(hours) * len(points)
    # four channels for each time of the keys: the place, and a switch
    q = np.zeros((1, 1, tokens, 3 * len(hours)), np.float32)
    k = np.zeros_like(q)
    for t, asked in enumerate(hours):
        mine = slice(t * len(points), (t + 1) * len(points))
        for s, kept in enumerate(hours):
            channels = slice(3 * s, 3 * s + 3)
            wanted = walk(points, pole, -looks * rate * (asked - kept))
            q[0, 0, mine, channels] = wanted * sharp * np.sqrt(q.shape[-1])
            if s == t:
                k[0, 0, mine, channels] = points
    field = plain_field(latitude, longitude, time, (5.0, 5.0), np.array([500]))
    flow = np.broadcast_to(
        solid_body(latitude, longitude, pole, speed), (1, 3, len(latitude), len(longitude), 2)
    )
    return capture_of(field, q, k), Wind(field, flow[..., 0], flow[..., 1])


def plane_case(
    velocity: tuple[float, float],
    *,
    looks: float = 1.0,
    sharp: float = 12.0,
    period: tuple[float, float] = (6.0, 8.0),
) -> tuple[AttentionCapture, Wind]:
    """The same on a periodic plane; ``velocity`` is (y, x) per frame."""
    y, x = (np.arange(16) + 0.5) * period[0] / 16, (np.arange(20) + 0.5) * period[1] / 20
    time = np.array([-2.0, -1.0, 0.0])
    grid = np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
    tokens = len(time) * len(grid)
    q = np.zeros((1, 1, tokens, 4 * len(time)), np.float32)
    k = np.zeros_like(q)
    for t, asked in enumerate(time):
        mine = slice(t * len(grid), (t + 1) * len(grid))
        for s, kept in enumerate(time):
            channels = slice(4 * s, 4 * s + 4)
            wanted = on_torus(grid - looks * (asked - kept) * np.asarray(velocity), period)
            q[0, 0, mine, channels] = wanted * sharp * np.sqrt(q.shape[-1])
            if s == t:
                k[0, 0, mine, channels] = on_torus(grid, period)
    field = plain_field(y, x, time, (period[0] / 16, period[1] / 20), np.array([0]))
    v, u = (np.full((1, 3, 16, 20), speed) for speed in velocity)
    return capture_of(field, q, k, period), Wind(field, u, v)


def plain_field(
    latitude: np.ndarray, longitude: np.ndarray, time: np.ndarray, size: tuple, level: np.ndarray
) -> CapturedField:
    """A field without values or locality."""
    shape = (len(level), len(time), len(latitude), len(longitude))
    return CapturedField(
        NAME,
        level,
        time,
        latitude,
        longitude,
        size,
        np.zeros((int(np.prod(shape)), 1), np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, bool),
        "",
    )


def capture_of(
    field: CapturedField, q: np.ndarray, k: np.ndarray, period: tuple[float, float] | None = None
) -> AttentionCapture:
    """A capture of one field; on a plane where a period is given."""
    pair = CapturedPair(NAME, NAME, q, k, np.zeros(q.shape[:2], np.float32), "encoder")
    geometry = "sphere" if period is None else "plane"
    return AttentionCapture({NAME: field}, {(NAME, NAME): pair}, geometry, period)
