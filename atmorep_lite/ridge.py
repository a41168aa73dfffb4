"""Linear regression on a stencil, one closed-form fit per latitude row: the linear algebra behind a baseline.

A row of the grid is a ring.  So in the normal equations of one row, the product of two inputs, summed over
all longitudes, depends only on the distance between their columns.  It is enough to know the *lagged
products* of all channels,

    R[y, c, j, c', d] = sum over t, x of  a[t, y, x, c] * a[t, y + j, x + d, c'],

for the few lags d that fit into the stencil; a Fourier transform along the ring turns them into one small
matrix product per wavenumber.  The Gram matrix of a 5x5 stencil is then gathered from R without ever
building the inputs, which saves a factor of some tens in arithmetic and nearly all memory.

Axes in names: t time, k wavenumber, y latitude row, x longitude, c channel (field and level), m target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PENALTIES = 10.0 ** np.arange(-10.0, 0.5)


@dataclass(frozen=True)
class Stencil:
    """Which inputs a point sees: for each, a channel and an offset in rows and columns.

    ``channel``, ``row``, ``column``: ``[input]`` integers.  Rows beyond a pole repeat the last row;
    columns wrap.
    """

    channel: np.ndarray
    row: np.ndarray
    column: np.ndarray

    @property
    def reach(self) -> int:
        """Largest offset in rows or columns."""
        return int(max(np.abs(self.row).max(), np.abs(self.column).max()))

    def rows_at(self, y: int, rows: int) -> np.ndarray:
        """Grid row of every input for targets in row ``y``, ``[input]``."""
        return np.clip(y + self.row, 0, rows - 1)

    def gather(self, a: np.ndarray, y: int) -> np.ndarray:
        """Inputs of row ``y`` from ``a [t, channel, y, x]``, as ``[t, input, x]``."""
        rows, columns = a.shape[-2:]
        x = (np.arange(columns) + self.column[:, None]) % columns
        return a[:, self.channel[:, None], self.rows_at(y, rows)[:, None], x]


def square_stencil(channels: int, width: int) -> Stencil:
    """``width`` x ``width`` points around the target, of every channel."""
    half = width // 2
    offsets = np.arange(-half, half + 1)
    return Stencil(*(g.ravel() for g in np.meshgrid(np.arange(channels), offsets, offsets, indexing="ij")))


class NormalEquations:
    """Sums over time that the fits of all rows need; add pieces of the record with :meth:`add`.

    Attributes
    ----------
    samples
        Number of (time, longitude) pairs summed for each row.
    gram
        ``[y, c, row lag 0..2*reach, c', column lag -2*reach..2*reach]``: lagged products of the inputs.
    cross
        ``[y, row lag -reach..reach, c, m, column lag -reach..reach]``: of the inputs at y + row lag with the
        targets at y.
    """

    def __init__(self, stencil: Stencil, rows: int, columns: int, channels: int, targets: int) -> None:
        self.stencil, self.rows, self.columns = stencil, rows, columns
        reach = stencil.reach
        self.samples = 0
        self.gram = np.zeros((rows, channels, 2 * reach + 1, channels, 4 * reach + 1))
        self.cross = np.zeros((rows, 2 * reach + 1, channels, targets, 2 * reach + 1))

    def add(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        """Add times: ``inputs [t, c, y, x]`` and ``targets [t, m, y, x]``, both float64."""
        reach = self.stencil.reach
        a, d = _along_ring(inputs), _along_ring(targets)
        wide, narrow = np.arange(-2 * reach, 2 * reach + 1), np.arange(-reach, reach + 1)
        channels, count = inputs.shape[1], targets.shape[1]
        for y in range(self.rows):
            south = min(2 * reach + 1, self.rows - y)
            products = _lagged(a[:, y], a[:, y : y + south], wide, self.columns)
            self.gram[y, :, :south] += products.reshape(len(wide), channels, south, channels).transpose(
                1, 2, 3, 0
            )
            low, high = max(y - reach, 0), min(y + reach + 1, self.rows)
            products = _lagged(a[:, low:high], d[:, y], -narrow, self.columns)
            products = products.reshape(len(narrow), high - low, channels, count)
            self.cross[y, low - y + reach : high - y + reach] += products.transpose(1, 2, 3, 0)
        self.samples += inputs.shape[0] * self.columns

    def row(self, y: int) -> tuple[np.ndarray, np.ndarray]:
        """Gram matrix ``[input, input]`` and right-hand sides ``[input, m]`` of the targets in row ``y``."""
        s, reach = self.stencil, self.stencil.reach
        rows = s.rows_at(y, self.rows)
        i, j = np.meshgrid(np.arange(rows.size), np.arange(rows.size), indexing="ij")
        swap = rows[i] > rows[j]  # only pairs with the second row at or south of the first are stored
        i, j = np.where(swap, j, i), np.where(swap, i, j)
        lag = s.column[j] - s.column[i] + 2 * reach
        gram = self.gram[rows[i], s.channel[i], rows[j] - rows[i], s.channel[j], lag]
        return gram, self.cross[y, rows - y + reach, s.channel, :, s.column + reach]


def _along_ring(a: np.ndarray) -> np.ndarray:
    """``[t, c, y, x]`` to Fourier coefficients ``[k, y, t, c]``."""
    return np.ascontiguousarray(np.fft.rfft(a, axis=-1).transpose(3, 2, 0, 1))


def _lagged(a: np.ndarray, b: np.ndarray, lags: np.ndarray, columns: int) -> np.ndarray:
    """Sum over t and x of a(x) b(x + lag), ``[lag, a's columns, b's columns]``.

    ``a``, ``b``: Fourier coefficients ``[k, (y), t, c]``; the columns are (y, c) in C order.
    """
    left, right = (v.swapaxes(1, 2).reshape(*v.shape[::2], -1) if v.ndim == 4 else v for v in (a, b))
    spectrum = left.conj().swapaxes(1, 2) @ right  # [k, a, b]
    k = np.arange(len(spectrum))
    twice = np.where((k == 0) | (2 * k == columns), 1.0, 2.0) / columns
    angle = 2 * np.pi * np.outer(lags, k) / columns
    flat = spectrum.reshape(len(k), -1)
    products = (twice * np.cos(angle)) @ flat.real - (twice * np.sin(angle)) @ flat.imag
    return products.reshape(len(lags), *spectrum.shape[1:])


def solve_path(gram: np.ndarray, cross: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Ridge coefficients ``[penalty, input, m]`` for each of ``penalties``, added to the diagonal."""
    values, vectors = np.linalg.eigh(gram)
    projected = vectors.T @ cross
    values = np.maximum(values, 0.0)
    return np.stack([vectors @ (projected / (values + p)[:, None]) for p in penalties])


def held_out_loss(coefficients: np.ndarray, gram: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Sum of squared errors on the samples of (gram, cross), less that of zeros, ``[penalty, m]``."""
    fitted = np.einsum("pim,pim->pm", coefficients, gram @ coefficients)
    return fitted - 2 * np.einsum("pim,im->pm", coefficients, cross)
