"""A capture made by formula: attention with a known structure, fields that look like weather.

Keys carry Fourier features of place, level and time; a query carries the features of the place it looks
for, so that q.k is a smooth bump around that place. The heads look: around themselves, upstream and back in
time, along their latitude, and widely; couplings look upstream, and more where the other field varies.
"""

from __future__ import annotations

import numpy as np

from atmorep_lite.attention_maps import AttentionCapture, CapturedField, CapturedPair

NAMES = {
    "u_component_of_wind": "m s-1",
    "v_component_of_wind": "m s-1",
    "vorticity": "s-1",
    "temperature": "K",
    "specific_humidity": "kg kg-1",
}
LEVEL = np.array([500.0, 850.0])
TIME = np.datetime64("2001-01-05T00", "ns") + np.arange(3) * np.timedelta64(12, "h")
STEP = 5.625
LATITUDE = 78.75 - 2 * STEP * np.arange(8)
LONGITUDE = 284.0625 + 2 * STEP * np.arange(16)  # to 452.8: the map crosses the meridian of Greenwich
LAYERS, HEADS, CHANNELS = 4, 4, 16


def positions() -> np.ndarray:
    """[token, 5] scaled position: level, time, latitude, longitude (two components)."""
    level, time, lat, lon = np.meshgrid(
        LEVEL / 1000, np.arange(3.0), LATITUDE / 90, np.deg2rad(LONGITUDE), indexing="ij"
    )
    parts = [level, time, lat, np.cos(lon), np.sin(lon)]
    return np.stack([part.ravel() for part in parts], axis=-1).astype(np.float32)


def weather() -> dict[str, np.ndarray]:
    """Values [level, time, latitude, longitude] from a stream function of a jet and three waves."""
    lat = np.deg2rad(LATITUDE[0] + STEP / 2 - STEP * np.arange(16))
    lon = np.deg2rad(LONGITUDE[0] - STEP / 2 + STEP * np.arange(32))
    level, hours, phi, lam = np.meshgrid([500.0, 850.0], [0.0, 12.0, 24.0], lat, lon, indexing="ij")
    strength = np.where(level < 600, 1.0, 0.55)
    wave = sum(
        a
        * np.exp(-(((phi - np.deg2rad(p)) / 0.35) ** 2))
        * np.cos(m * lam - w * hours + s + 0.4 * (level > 600))
        for a, p, m, w, s in ((1.0, 48, 5, 0.04, 0.3), (0.6, 62, 3, 0.02, 1.1), (0.45, 25, 7, 0.06, 2.0))
    )
    psi = strength * 1.6e7 * (-np.tanh((phi - np.deg2rad(45)) / 0.3) + 0.55 * wave)
    radius = 6.371e6
    cosine = np.maximum(np.cos(phi), 0.1)
    psi_lat = np.gradient(psi, lat, axis=2)
    psi_lon = np.gradient(psi, lon, axis=3)
    u, v = -psi_lat / radius, psi_lon / (radius * cosine)
    vorticity = (np.gradient(v, lon, axis=3) - np.gradient(u * cosine, lat, axis=2)) / (radius * cosine)
    warmth = np.where(level < 600, 265.0, 293.0)
    temperature = warmth - 34 * np.sin(phi) ** 2 + 4 * np.roll(wave, 2, axis=3)
    humidity = (
        np.where(level < 600, 2.2e-3, 9e-3) * np.exp((temperature - warmth) / 14) * (1 + 0.35 * np.tanh(wave))
    )
    return dict(zip(NAMES, (u, v, vorticity, temperature, humidity), strict=True))


def features(place: np.ndarray) -> np.ndarray:
    """[..., 16] Fourier features of place [..., (level, time, latitude, longitude)] in tokens."""
    level, time, row, column = np.moveaxis(place, -1, 0)
    angles = [column * f for f in (0.2, 0.4, 0.8)] + [row * f for f in (0.4, 0.8)]
    angles += [time * 0.9, level * 1.2, column * 0.3 + row * 0.3]
    return np.stack([f(angle) for angle in angles for f in (np.cos, np.sin)], axis=-1)


def make_capture(*, seed: int = 0, uncoupled: tuple[tuple[str, str], ...] = ()) -> AttentionCapture:
    """Two levels, three times, 8 x 16 tokens; five fields; four layers, four self heads, a coupling head."""
    rng = np.random.default_rng(seed)
    values, position = weather(), positions()
    shape = (2, 3, 8, 16)
    place = np.stack(np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij"), -1).reshape(
        -1, 4
    )
    mask = np.zeros(shape, dtype=bool)
    mask[:, 2] = True  # a forecast: the newest slot is hidden
    mask[0, 1, 2:4, 5:9] = True
    fields = {
        name: CapturedField(
            name, LEVEL, TIME, LATITUDE, LONGITUDE, (2 * STEP, 2 * STEP), position, values[name], mask, units
        )
        for name, units in NAMES.items()
    }
    pairs = {}
    wind = values["u_component_of_wind"].reshape(2, 3, 8, 2, 16, 2).mean(axis=(3, 5)).reshape(-1)
    for query in NAMES:
        for key in NAMES:
            if (query, key) in uncoupled:
                continue
            heads = HEADS if query == key else 1
            q = np.zeros((LAYERS, heads, len(place), CHANNELS), dtype=np.float32)
            k = np.zeros_like(q)
            token = values[key].reshape(2, 3, 8, 2, 16, 2).std(axis=(3, 5)).reshape(-1)
            token = (token - token.mean()) / token.std()
            for layer in range(LAYERS):
                for head in range(heads):
                    kind = head if query == key else 1
                    target = place.copy()
                    if kind == 1:  # upstream, one slot back
                        target[:, 3] -= wind * 0.1 * (0.5 + 0.5 * layer)
                        target[:, 1] -= 1
                    gain = np.array([0.8, 0.75, 0.7, 0.3][kind] * (0.55 + 0.2 * layer))
                    weight = np.ones(CHANNELS)
                    if kind == 2:  # along the latitude
                        weight[[0, 1, 2, 3, 4, 5, 14, 15]] = 0.1
                    noise = rng.normal(size=(2, len(place), CHANNELS)) * 0.1
                    q[layer, head] = gain * 2 * (features(target) * weight + noise[0])
                    k[layer, head] = (
                        2 * (features(place) + noise[1]) * (1 + 0.18 * np.clip(token, -1, 2)[:, None])
                    )
            slope = np.full((LAYERS, heads), 0.6) if query == key else np.zeros((LAYERS, heads))
            pairs[query, key] = CapturedPair(query, key, q, k, slope, "encoder")
    return AttentionCapture(fields, pairs)
