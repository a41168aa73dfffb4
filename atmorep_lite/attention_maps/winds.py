"""The wind that an explorer may draw as arrows over its maps: read from a capture, or derived on a plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atmorep_lite.attention_maps.captured import AttentionCapture, CapturedField

EASTWARD, NORTHWARD, SPIN = "u_component_of_wind", "v_component_of_wind", "vorticity"


@dataclass(frozen=True)
class Wind:
    """Wind on the tokens of a field.

    Parameters
    ----------
    field
        The field that lends its levels, times and token centres.
    u, v
        [level, time, latitude, longitude] wind of each token (on a plane: towards x and y), the mean over its
        area at one step; NaN where unknown.
    time
        [time] when that is, as the field's times; by default those.  The wind of a capture is that of each
        slot's last step, later than the field's ``time``, which is the middle of the slot.
    """

    field: CapturedField
    u: np.ndarray
    v: np.ndarray
    time: np.ndarray | None = None


def wind_of(capture: AttentionCapture) -> Wind | None:
    """Wind of a capture, or None where it holds none.

    On the sphere from its two wind components; on a periodic plane that the tokens fill, from its vorticity:
    the wind without divergence and without a mean, (-d psi / dy, d psi / dx) with laplacian(psi) = vorticity.
    NaN where a token was hidden and the model does not predict its field.
    """
    if capture.geometry == "sphere" and {EASTWARD, NORTHWARD} <= set(capture.fields):
        field, other = capture.fields[EASTWARD], capture.fields[NORTHWARD]
        if _same_tokens(field, other):
            u, v = (_token_means(field, part.values) for part in (field, other))
            unknown = np.isnan(u + v)
            u, v = (np.where(unknown, np.nan, part) for part in (u, v))
            return Wind(field, u, v, field.value_time)
    if capture.period is not None and SPIN in capture.fields:
        field = capture.fields[SPIN]
        extent = [
            size * len(c) for size, c in zip(field.token_size, (field.latitude, field.longitude), strict=True)
        ]
        if np.allclose(extent, capture.period, rtol=1e-3) and np.isfinite(field.values).all():
            u, v = _from_vorticity(field.values, capture.period)
            return Wind(field, _token_means(field, u), _token_means(field, v), field.value_time)
    return None


def _from_vorticity(vorticity: np.ndarray, period: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Wind [..., y, x] without divergence, from the vorticity on a doubly periodic box of size (y, x)."""
    tall, wide = vorticity.shape[-2:]
    ky = 2 * np.pi * np.fft.fftfreq(tall, period[0] / tall)[:, None]
    kx = 2 * np.pi * np.fft.rfftfreq(wide, period[1] / wide)
    square = ky**2 + kx**2
    square[0, 0] = 1.0
    psi = -np.fft.rfft2(vorticity) / square
    psi[..., 0, 0] = 0.0
    u, v = np.fft.irfft2(-1j * ky * psi, s=(tall, wide)), np.fft.irfft2(1j * kx * psi, s=(tall, wide))
    return u, v


def _token_means(field: CapturedField, values: np.ndarray) -> np.ndarray:
    """Mean over each token of values on the field's grid."""
    rows, columns = len(field.latitude), len(field.longitude)
    boxes = values.reshape(*values.shape[:2], rows, -1, columns, values.shape[3] // columns)
    return boxes.mean(axis=(3, 5))


def _same_tokens(field: CapturedField, other: CapturedField) -> bool:
    axes = ("level", "time", "latitude", "longitude")
    return field.values.shape == other.values.shape and all(
        np.array_equal(getattr(field, axis), getattr(other, axis)) for axis in axes
    )
