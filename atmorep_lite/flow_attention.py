"""Does attention follow the flow?  Arrows from attention, arrows from physics, and numbers that compare them.

A token i of the newest frame shall forecast what will be at its place one frame later.  Without viscosity
that is what the wind will have carried there, so the fluid to ask for lies upstream, at the end of the true
back-trajectory.  What the token attends to in one frame, seen from its own place, is condensed to one arrow,
the centroid of the weights,

    arrow_i = sum over j of  alpha_ij (x_j - x_i),   sum over j of alpha_ij = 1   (j: tokens of that frame),

where differences on the periodic square are the shortest ones (minimum image).  Places are ``(y, x)``, arrows
``[..., token, 2]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from atmorep_lite.attention import attention_weights
from atmorep_lite.attention_maps import arrows
from atmorep_lite.attention_maps.arrows import Agreement, agreement
from atmorep_lite.errors import UserError
from atmorep_lite.flows import SIDE, back_trajectory, elliptic_vortex
from atmorep_lite.tokens import tokenize
from atmorep_lite.zoo import VortexFormer


def token_places(slots: int, *, side: float = SIDE, points: int | None = None) -> Tensor:
    """Centres ``[token, 2]`` of ``slots`` x ``slots`` tokens in C order.

    There are ``points`` grid points a side (default: one per token), the first of them at 0.  A token's
    centre is the mean of its grid points, as the data classes of ``attention_maps`` have it.
    """
    points = points or slots
    if points % slots:
        raise UserError(f"{points} points do not make {slots} tokens of equal size; choose a divisor")
    axis = (torch.arange(points) * (side / points)).unflatten(0, (slots, -1)).mean(1)
    return torch.cartesian_prod(axis, axis)


def shortest(difference: Tensor, *, side: float = SIDE) -> Tensor:
    """:func:`atmorep_lite.attention_maps.arrows.shortest` on the square of the flows."""
    return arrows.shortest(difference, side=side)


def attention_arrows(weights: Tensor, places: Tensor, *, side: float = SIDE) -> Tensor:
    """Centroid of attention from each query: weights ``[..., query, key]`` -> arrows ``[..., query, 2]``.

    Weights are divided by their sum over the keys, so that those of one frame out of several may be given.
    """
    return arrows.centroids(weights, shortest(places[None, :, :] - places[:, None, :], side=side))


def true_arrows(
    frames: Tensor, places: Tensor, *, interval: float, frames_back: int = 1, chunk: int = 16
) -> Tensor:
    """From each place upstream to where the fluid that will be there was ``frames_back`` frames earlier.

    Parameters
    ----------
    frames
        Vorticity ``[batch, y, x]`` at that earlier time.  To forecast t+1, the frame at t is 1 back.
    places
        ``[token, 2]``.
    interval
        Time between frames.

    Returns
    -------
    Tensor
        ``[batch, token, 2]``.
    """
    parts = [
        back_trajectory(part, frames=frames_back, interval=interval, points=places.expand(len(part), -1, 2))
        for part in frames.split(chunk)
    ]
    return torch.cat(parts)


@torch.no_grad()
def newest_attention(
    model: VortexFormer, frames: Tensor, *, silence: Collection[tuple[int, int]] = ()
) -> Tensor:
    """What the tokens of the newest frame attend to, ``[batch, layer, head, query, frame, key]``.

    ``frames`` are ``[batch, 3, y, x]``.  The weights of one query sum to 1 over all keys of all frames.
    Heads to knock out are given in ``silence`` as (layer, head); later layers then see what is left.

    Raises
    ------
    UserError
        If the model's tokens hold several frames, so that attention to a frame does not exist.
    """
    nt, ny, nx = model.config.slots
    if model.config.token_size[0] != 1:
        raise UserError(
            f"tokens of {model.config.token_size} hold {model.config.token_size[0]} frames each; "
            "choose a model whose frames are separate tokens, such as vortices_looking"
        )
    trace: list[tuple[Tensor, Tensor]] = []
    model(frames, silence=silence, trace=trace)
    layers = [attention_weights(q[:, :, -ny * nx :], k) for q, k in trace]
    return torch.stack(layers, 1).unflatten(-1, (nt, ny * nx))


def centroid_of_vorticity(newest: Tensor, places: Tensor, token: int, *, reach: float = math.inf) -> Tensor:
    """A null with nothing learnt: arrows ``[batch, token, 2]`` to the centroid of ``|vorticity|`` around.

    Parameters
    ----------
    newest
        ``[batch, y, x]``.
    token
        Grid points along a side of a token.
    reach
        Standard deviation of a Gaussian that weighs near vorticity more.
    """
    strength = tokenize(newest[:, None].abs(), (1, token, token)).mean(-1).flatten(1)  # [batch, key]
    distance = shortest(places[None] - places[:, None]).norm(dim=-1)
    near = torch.exp(-(distance**2) / (2 * reach**2))
    return attention_arrows(strength[:, None, :] * near, places)


def best_reach(
    newest: Tensor,
    truth: Tensor,
    places: Tensor,
    token: int,
    *,
    least: float,
    reaches: Sequence[float] = (0.3, 0.5, 0.8, 1.2, math.inf),
) -> float:
    """The reach with which :func:`centroid_of_vorticity` agrees best with these; to be used on others."""
    return max(
        reaches,
        key=lambda reach: (
            agreement(
                centroid_of_vorticity(newest, places, token, reach=reach), truth, least=least
            ).correlation
        ),
    )


def with_vortex(frames: Tensor, *, y: float, x: float, radius: float = 0.4, strength: float = 3.0) -> Tensor:
    """The frames ``[..., y, x]`` with one more round vortex, at the same place in all; their means stay."""
    parts = (torch.tensor(value) for value in (y, x, radius, strength, 0.0, 0.0))
    names = ("y", "x", "radius", "strength", "eccentricity", "angle")
    vortex = elliptic_vortex(frames.shape[-1], **dict(zip(names, parts, strict=True)))
    return frames + vortex - vortex.mean()


def frozen(frames: Tensor) -> Tensor:
    """The newest frame three times: nothing moves."""
    return frames[:, -1:].expand_as(frames)


def backwards(frames: Tensor) -> Tensor:
    """The frames in reverse order: all that moves, moves back."""
    return frames.flip(1)


def frozen_flipped(frames: Tensor) -> Tensor:
    """The newest frame three times, its sign changed: nothing moves, every vortex spins the other way."""
    return -frozen(frames)


INTERVENTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it was": lambda frames: frames,
    "newest frame three times": frozen,
    "frames in reverse order": backwards,
    "newest three times, sign flipped": frozen_flipped,
}
"""What is done to the input; arrows are then compared with the unchanged flow of the frame shown last."""


def heads_agreement(
    model: VortexFormer, frames: Tensor, truth: Tensor, *, least: float, frame: int = -1
) -> dict[tuple[int, int], Agreement]:
    """Compare every head's arrows with the true ones ``[batch, token, 2]``, by (layer, head).

    ``frames`` ``[batch, 3, y, x]``; ``frame`` is the one whose keys are looked at, the newest by default.
    """
    _, slots, _ = model.config.slots
    arrows = attention_arrows(
        newest_attention(model, frames)[..., frame, :], token_places(slots, points=model.config.points)
    )
    return {
        (layer, head): agreement(arrows[:, layer, head], truth, least=least)
        for layer in range(arrows.shape[1])
        for head in range(arrows.shape[2])
    }
