"""What a polar-orbiting satellite sees, and what it leaves out.

An instrument sweeps a swath along the ground track.  Meanwhile the Earth turns, so that the next orbit's
swath lies a fixed number of degrees further west, with a gap in between.  The picture is that of a day's
passes in one direction (northward, say), put together: the gaps are the same at all hours.

The track is taken for a great circle: one pass over a neighbourhood takes minutes.  With ``i`` the
inclination of the orbit and ``node`` the longitude where the track crosses the equator northwards, its pole
is ``(sin i sin node, -sin i cos node, cos i)``.  A place at latitude ``phi`` and longitude ``lam`` is
``asin(sin i cos phi sin(node - lam) + cos i sin phi)`` away from the track, positive on its left.
"""

from __future__ import annotations

import numpy as np
import torch

from atmorep_lite.config import MaskingConfig
from atmorep_lite.errors import UserError
from atmorep_lite.masking.tasks import Masks, Scene


def swath(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> Masks:
    """All but the swaths of successive orbits: what lies in the gaps?

    Poleward of some latitude swaths overlap and little is hidden, as in reality.
    """
    node, northward = _random_track(scene, rng, masking)
    orbits = np.arange(-int(180 // masking.swath_spacing), int(180 // masking.swath_spacing) + 1)
    nodes = (node + masking.swath_spacing * orbits)[:, None, None]
    masks = {}
    for f in scene.fields:
        latitude, longitude = _centres(scene, f.name)
        gaps = distance_to_track(latitude[:, None], longitude, nodes, masking.swath_inclination, northward)
        seen = _seen(np.abs(gaps).min(0), masking.swath_width)
        masks[f.name] = torch.from_numpy(~seen).expand(len(f.levels), *f.num_tokens)
    return masks


def lost_swath(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> Masks:
    """What one orbit's swath would have seen: how is a lost pass made up for?"""
    node, northward = _random_track(scene, rng, masking)
    masks = {}
    for f in scene.fields:
        latitude, longitude = _centres(scene, f.name)
        gap = distance_to_track(latitude[:, None], longitude, node, masking.swath_inclination, northward)
        seen = _seen(np.abs(gap), masking.swath_width)
        masks[f.name] = torch.from_numpy(seen).expand(len(f.levels), *f.num_tokens)
    return masks


def distance_to_track(
    latitude: np.ndarray,
    longitude: np.ndarray,
    node: float | np.ndarray,
    inclination: float,
    northward: bool = True,
) -> np.ndarray:
    """How far places are from a ground track.

    Parameters
    ----------
    latitude, longitude
        Of the places, degrees, of shapes that fit together.
    node
        Longitude in degrees where the track crosses the equator, northwards.
    inclination
        Of the orbit, degrees: above 90 it drifts westwards, 98.7 is usual for weather satellites.
    northward
        Look at the half of the orbit that runs north; else at the other half.

    Returns
    -------
    Degrees of arc, positive on the left of the track; 180 for places on the side of the Earth where the
    satellite moves the other way.
    """
    phi, ahead, i = np.deg2rad(latitude), np.deg2rad(node - longitude), np.deg2rad(inclination)
    sine = np.sin(i) * np.cos(phi) * np.sin(ahead) + np.cos(i) * np.sin(phi)
    this_half = (np.cos(ahead) > 0) == northward
    return np.where(this_half, np.rad2deg(np.arcsin(np.clip(sine, -1.0, 1.0))), 180.0)


def track_beside(
    latitude: float, longitude: float, distance: float, inclination: float, northward: bool = True
) -> float:
    """The node of the track that passes a place at a distance: :func:`distance_to_track` solved for it.

    Degrees.  For places too far poleward to be passed so, the node of the track that comes nearest to it.
    """
    phi, i = np.deg2rad(latitude), np.deg2rad(inclination)
    sine = (np.sin(np.deg2rad(distance)) - np.cos(i) * np.sin(phi)) / (np.sin(i) * np.cos(phi))
    ahead = np.rad2deg(np.arcsin(np.clip(sine, -1.0, 1.0)))
    return float(longitude + (ahead if northward else 180.0 - ahead))


def _random_track(scene: Scene, rng: np.random.Generator, masking: MaskingConfig) -> tuple[float, bool]:
    """A track northwards or southwards, one edge of whose swath runs through the neighbourhood."""
    for f in scene.fields:
        if f.num_tokens[1] * f.num_tokens[2] < 2:
            raise UserError(
                f"a satellite's swath needs two tokens or more at a time, but {f.name} has one; choose "
                "smaller tokens or another task"
            )
    latitude, longitude = _centres(scene, scene.fields[0].name)
    east = longitude[0] + (longitude - longitude[0]) % 360.0
    at = rng.uniform(latitude.min(), latitude.max()), rng.uniform(east.min(), east.max())
    side, northward = rng.choice((-0.5, 0.5)), bool(rng.integers(2))
    distance = side * masking.swath_width
    return track_beside(*at, distance, masking.swath_inclination, northward), northward


def _seen(distance: np.ndarray, width: float) -> np.ndarray:
    """Tokens within half a width of the track; the nearest one in any case, and never the farthest one."""
    seen = distance <= width / 2
    seen.flat[distance.argmin()] = True
    seen.flat[distance.size - 1 - distance.ravel()[::-1].argmax()] = False
    return seen


def _centres(scene: Scene, name: str) -> tuple[np.ndarray, np.ndarray]:
    if scene.centres is None:
        raise UserError("a satellite's swath needs to know where the tokens are; give draw_masks the tokens")
    return scene.centres[name]
