"""What a model of the field itself is shown in place of hidden tokens.

A token that is merely missing tells the network nothing, and one set to 0 tells it where to work.  BERT
therefore spoils the selected tokens in several ways and leaves some as they are: the network cannot know
which tokens to trust.  A model of departures never reads what hidden tokens hold: nothing is spoilt for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from atmorep_lite.config import MaskingConfig, Triple


def distort(
    values: Tensor,
    mask: Tensor,
    token_size: Triple,
    masking: MaskingConfig,
    rngs: Sequence[np.random.Generator],
) -> Tensor:
    """BERT's mixture for the selected tokens of one field: zeros, noise, coarser tokens, unchanged ones.

    Each selected token is, independently, set to zero with probability ``zero``, then mixed with noise of
    standard deviation 0.1 with probability ``noise``, then shown at a coarser resolution with probability
    ``coarse`` (:func:`coarsen`; one factor per sample, uniform between 1 and ``coarse_factor``).

    Parameters
    ----------
    values
        ``[batch, level, token_time, token_lat, token_lon, channel]``, normalised.  Left as it is.
    mask
        The selected tokens, without the channel axis.
    rngs
        A generator for each sample.

    Returns
    -------
    What stands in place of ``values[mask]``: ``[token, channel]``.
    """
    out = values[mask]
    counts = mask.flatten(1).sum(1).tolist()
    lots = np.concatenate([rng.random((n, 4), np.float32) for n, rng in zip(counts, rngs, strict=True)])
    to_zero, to_noise, to_coarse, share = torch.from_numpy(lots).unbind(1)
    out[to_zero < masking.zero] = 0.0

    noised = to_noise < masking.noise
    per_sample = [int(part.sum()) for part in noised.split(counts)]
    noise = np.concatenate(
        [rng.standard_normal((n, out.shape[1]), np.float32) for n, rng in zip(per_sample, rngs, strict=True)]
    )
    out[noised] = (1.0 - share[noised, None]) * out[noised] + 0.1 * torch.from_numpy(noise)

    factors = torch.tensor([rng.uniform(1.0, masking.coarse_factor) for rng in rngs])
    coarsened = to_coarse < masking.coarse
    if coarsened.any():
        factor = factors.repeat_interleave(torch.tensor(counts))[coarsened]
        out[coarsened] = coarsen(out[coarsened], token_size, factor)
    return out


def coarsen(tokens: Tensor, token_size: Triple, factor: Tensor) -> Tensor:
    """Show tokens at a resolution lower by ``factor`` in latitude and longitude.

    A side of ``n`` points is cut into ``floor(n / factor)`` equal cells.  Each cell takes the mean over what
    it covers, and each point the mean over the cells that it lies in.  Means are kept.

    Parameters
    ----------
    tokens
        ``[token, channel]``.
    factor
        ``[token]``, 1 or more.
    """
    tt, ty, tx = token_size
    rows, columns = (
        torch.stack([averaging(n, int(n / f)) for f in factor.tolist()]).to(tokens.dtype) for n in (ty, tx)
    )
    return torch.einsum("nyj,ntjk,nxk->ntyx", rows, tokens.view(-1, tt, ty, tx), columns).flatten(1)


def averaging(points: int, cells: int) -> Tensor:
    """The matrix ``[points, points]`` that averages over ``cells`` equal cells, and back.

    With ``overlap[c, p]`` the part of point ``p`` inside cell ``c``: ``overlap^T overlap cells / points``.
    """
    cells = max(1, cells)
    edges = torch.arange(cells + 1, dtype=torch.float64) * points / cells
    point = torch.arange(points, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], point + 1) - torch.maximum(edges[:-1, None], point)
    overlap = overlap.clamp(min=0.0)
    return overlap.T @ overlap * cells / points


def corrupt_as_published(
    values: Tensor, token_size: Triple, masking: MaskingConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """The published BERT masking of one field and level, draw for draw.

    A fraction U(0, ``max_rate``) of each sample's tokens is selected.  Of these, independently, 90 % are set
    to zero, 20 % mixed with noise of a tenth of the values' spread, 5 % coarsened (in the published code:
    smoothed by interpolating up and down again).  The rest of the selected tokens stays as it is but is
    predicted too. Noise comes from torch's global generator.

    Parameters
    ----------
    values
        ``[batch, token_time, token_lat, token_lon, channel]`` of one level, normalised.  Left as it is.

    Returns
    -------
    corrupted, mask
        Of the shape of ``values``, and without the channel axis.
    """
    batch, count = values.shape[0], int(np.prod(values.shape[1:4]))
    flat = values.reshape(batch, count, -1)
    rates = rng.random(batch) * masking.max_rate
    chosen = [rng.permutation(count)[: int(np.ceil(count * rate))] for rate in rates]
    picked = torch.from_numpy(np.concatenate([b * count + tokens for b, tokens in enumerate(chosen)]))
    out = flat.reshape(batch * count, -1).clone()
    deviation = out.std(0)
    zeroed, noised, coarsened = (
        torch.from_numpy(rng.random(len(picked)) < p) for p in (masking.zero, masking.noise, masking.coarse)
    )
    out[picked[zeroed]] = 0.0
    at = picked[noised]
    noise = torch.randn(len(at), out.shape[1])
    share = torch.from_numpy(rng.random(len(at), dtype=np.float32))[:, None]
    out[at] = (1.0 - share) * out[at] + 0.1 * deviation * noise
    if masking.coarse > 0 and coarsened.any():
        at = picked[coarsened]
        finer = 2.0 - rng.random()
        tt, ty, tx = token_size
        tokens = out[at].view(-1, 1, tt, ty, tx)
        stretched = F.interpolate(tokens, size=(tt, int(ty * finer), int(tx * finer)), mode="trilinear")
        out[at] = F.interpolate(stretched, size=(tt, ty, tx), mode="trilinear").flatten(1)
    mask = torch.zeros(batch * count, dtype=torch.bool)
    mask[picked] = True
    return out.view_as(values), mask.view(values.shape[:4])
