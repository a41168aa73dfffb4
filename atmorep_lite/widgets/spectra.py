"""How much of a field's variance lies in waves of each length."""

from __future__ import annotations

import numpy as np

from atmorep_lite.verification import area_weights


def ring_spectrum(field: np.ndarray) -> np.ndarray:
    """Variance by wave number 1, 2, ... of a field on a periodic square, ``[..., y, x]`` -> ``[..., wave]``.

    Every wave vector counts for the whole number nearest to its length; waves shorter than one and a half
    times the grid's shortest are left out (``n / 3``, what spectral solvers resolve).  Of vorticity this is
    twice the enstrophy.
    """
    points = field.shape[-1]
    power = np.abs(np.fft.fft2(field)) ** 2 / points**4
    k = np.fft.fftfreq(points, 1 / points)
    ring = np.rint(np.hypot(k[:, None], k)).astype(int).ravel()
    waves = np.arange(1, (points - 1) // 3 + 1)
    return np.stack([power.reshape(*power.shape[:-2], -1)[..., ring == wave].sum(-1) for wave in waves], -1)


def zonal_spectrum(field: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Variance along latitude circles by zonal wave number 1, 2, ..., area-weighted mean over latitudes.

    ``[..., latitude, longitude]`` on whole circles -> ``[..., wave]``, up to half the number of longitudes.
    """
    columns = field.shape[-1]
    power = 2 * np.abs(np.fft.rfft(field)) ** 2 / columns**2
    if columns % 2 == 0:
        power[..., -1] /= 2  # the shortest wave has no second coefficient
    weights = area_weights(latitude).values
    return np.einsum("...yk,y->...k", power[..., 1:], weights) / len(weights)
