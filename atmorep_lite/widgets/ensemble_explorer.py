"""EnsembleExplorer: what each loss does to an ensemble, and what a real forecast's ensemble is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from scipy.special import ndtri

from atmorep_lite.errors import UserError
from atmorep_lite.widgets.ensemble_forecast import pack_forecast
from atmorep_lite.widgets.explorer import Between, Content, Explorer, is_number

PUBLISHED = "mse_ensemble + stats"
LOSSES = (
    "mse",
    "mse_ensemble",
    "stats",
    PUBLISHED,
    "stats_area",
    "gaussian_likelihood",
    "gaussian_crps",
    "crps",
    "fair_crps",
    "published_crps",
    "published_kernel_crps",
)
"""Losses of single values of :mod:`atmorep_lite.losses`, and the sum that trains the published model."""
TRUTHS = 256
MOST_MEMBERS = 32
REACH = 4.0
Truths = Literal["bell", "two peaks", "skewed", "one value"]


def truth_table(form: Truths) -> np.ndarray:
    """Values ``[truth]`` with a mean of 0 and a standard deviation of 1: quantiles of a distribution.

    ``"bell"``: a Gaussian.  ``"two peaks"``: two Gaussians of equal weight, apart by 6 of their standard
    deviations.  ``"skewed"``: exponential, as rain nearly is.  ``"one value"``: 0 alone.
    """
    level = (np.arange(TRUTHS) + 0.5) / TRUTHS
    if form == "one value":
        return np.zeros(1)
    if form == "bell":
        values = ndtri(level)
    elif form == "skewed":
        values = -np.log1p(-level)
    else:
        half = ndtri(level[1::2] - 0.5 / TRUTHS)
        values = np.sort(np.concatenate([half - 3.0, half + 3.0]))
    values = values - values.mean()
    return values / values.std()


class EnsembleExplorer(Explorer, module="ensemble_explorer", heading="What a loss does to an ensemble"):
    """An ensemble on a line against many truths: drag its members, choose a loss, let them descend.

    One situation is shown, as a network meets it again and again: the same input, so the same members, but
    each time another truth.  All values are in standard deviations of the field.

    Parameters
    ----------
    members
        How many members to draw (2 to 32), or the members themselves, numbers between -4 and 4.
    bias, spread
        Mean of the members less that of the truths, and their standard deviation (with n - 1).  Members that
        were given are moved to these; left out, drawn ones have 0 and 0.5, given ones stay where they are.
    seed
        Of the drawing.
    truths
        How the truths are distributed: "bell", "two peaks", "skewed", or "one value".
    error
        Standard deviation of the truths, 0.02 to 1.2: what cannot be forecast.
    loss
        One of :data:`LOSSES`.
    axis
        What the curves of the losses run along: "spread" or "bias".
    title, caption
        Shown above and below.

    Attributes
    ----------
    selected : dict
        ``members`` (numbers), ``truths``, ``error``, ``loss``, ``axis``, ``seed``; of a real forecast
        ``lead``, in hours.

    Examples
    --------
    >>> explorer = EnsembleExplorer(8, spread=0.2, error=0.5, loss="crps")
    >>> round(explorer.spread_skill(), 2)
    0.42
    >>> explorer.selected = {"members": [-0.5, 0.0, 0.5]}
    >>> explorer.rank_shares().shape
    (4,)
    """

    def __init__(
        self,
        members: int | Sequence[float] = 8,
        *,
        bias: float | None = None,
        spread: float | None = None,
        seed: int = 1,
        truths: Truths = "bell",
        error: float = 0.5,
        loss: str = "stats",
        axis: Literal["spread", "bias"] = "spread",
        title: str | None = None,
        caption: str | None = None,
    ) -> None:
        def make() -> Content:
            first = {"truths": truths, "error": error, "loss": loss, "axis": axis, "seed": seed}
            given = placed(members, bias, spread, seed)
            meta = {
                "losses": list(LOSSES),
                "truths": {form: truth_table(form).tolist() for form in _FORMS},
            }
            return Content(meta, self.complete({"members": given, **first}, {}))

        super().__init__(make, title=title, caption=caption)

    @classmethod
    def of_forecast(
        cls,
        prediction: xr.Dataset,
        truth: xr.Dataset,
        *,
        field: str,
        level: int,
        leads_hours: Sequence[float] | None = None,
        title: str | None = None,
        caption: str | None = None,
    ) -> EnsembleExplorer:
        """Spread and error of a real ensemble forecast: maps, rank histogram and spread-skill ratio per lead.

        Parameters
        ----------
        prediction
            An ensemble forecast, ``[time, prediction_timedelta, number, level, latitude, longitude]``, as
            :func:`atmorep_lite.applications.forecast.forecast` makes it.
        truth
            ``[time, level, latitude, longitude]``, in the same units.
        field, level
            What to look at; the level in hPa (0 for fields without levels).
        leads_hours
            Lead times; all of the forecast where left out.
        title, caption
            Shown above and below; say "simulated" here where the atmosphere is.
        """
        explorer = cls.__new__(cls)
        Explorer.__init__(
            explorer,
            lambda: pack_forecast(prediction, truth, field=field, level=level, leads_hours=leads_hours),
            title=title or "Spread and error of an ensemble forecast",
            caption=caption,
        )
        return explorer

    def truths(self) -> np.ndarray:
        """The truths that the page shows, ``[truth]``."""
        return self.selected["error"] * truth_table(self.selected["truths"])

    def losses(self) -> dict[str, float]:
        """Every loss of the ensemble, mean over the truths, by name."""
        import torch

        from atmorep_lite import losses

        truths = torch.from_numpy(self.truths())
        members = torch.tensor(self.selected["members"], dtype=torch.float64)[:, None].expand(-1, len(truths))
        parts = {
            name: float(losses.LOSSES[name](members, truths)) for name in LOSSES if name in losses.LOSSES
        }
        return {name: parts.get(name, parts["mse_ensemble"] + parts["stats"]) for name in LOSSES}

    def rank_shares(self) -> np.ndarray:
        """How often the truth has rank 1, 2, ... among the members, ``[rank]``; ties shared equally."""
        members = np.asarray(self.selected["members"])
        shares = np.zeros(len(members) + 1)
        truths = self.truths()
        for truth in truths:
            below, equal = int((members < truth).sum()), int((members == truth).sum())
            shares[below : below + equal + 1] += 1 / (equal + 1) / len(truths)
        return shares

    def spread_skill(self) -> float:
        """Spread over error of the mean, with the factor sqrt((n + 1) / n): 1 where they belong together."""
        members = np.asarray(self.selected["members"])
        error = np.sqrt(np.mean((members.mean() - self.truths()) ** 2))
        spread = members.std(ddof=1) * np.sqrt((len(members) + 1) / len(members))
        return float(spread / error) if error > 0 else float("nan")

    def allowed(self) -> Mapping[str, tuple[Any, ...] | Between]:
        """What the entries of ``selected`` may be, but for the members."""
        if "leads" in self.meta:
            return {"lead": tuple(self.meta["leads"])}
        return {
            "truths": _FORMS,
            "error": Between(0.02, 1.2),
            "loss": LOSSES,
            "axis": ("spread", "bias"),
            "seed": Between(0, 2**32 - 1),
        }

    def complete(self, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        """``wanted`` with what it leaves out taken from ``before``; `UserError` for what cannot be shown."""
        if "leads" in self.meta:
            return super().complete(wanted, before)
        others, old = ({k: v for k, v in d.items() if k != "members"} for d in (wanted, before))
        members = check_members(wanted["members"]) if "members" in wanted else before["members"]
        return {"members": members, **super().complete(others, old)}


_FORMS: tuple[Truths, ...] = ("bell", "two peaks", "skewed", "one value")


def check_members(members: Any) -> list[float]:
    """Members as a list of floats; `UserError` where they make no ensemble."""
    try:
        array = np.asarray(members, dtype=float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 1 or not (np.abs(array) <= REACH).all() or not 2 <= len(array) <= MOST_MEMBERS:
        raise UserError(
            f"The members are {members!r}, where 2 to {MOST_MEMBERS} numbers between {-REACH:g} and "
            f"{REACH:g} were expected: give as many, or their number."
        )
    return array.tolist()


def placed(
    members: int | Sequence[float], bias: float | None, spread: float | None, seed: int
) -> list[float]:
    """Members ``[member]``, drawn where only their number is given, with the mean and spread asked for."""
    for name, value, low in (("bias", bias, -2.0), ("spread", spread, 0.0)):
        if value is not None and value not in Between(low, 2.0):
            raise UserError(f"The {name} is {value!r}, where {Between(low, 2.0)} was expected.")
    if isinstance(members, int | np.integer) and not isinstance(members, bool):
        if not 2 <= members <= MOST_MEMBERS:
            raise UserError(
                f"There are {members} members, where 2 to {MOST_MEMBERS} were expected: one member has no "
                "spread."
            )
        if not is_number(seed) or not 0 <= seed < 2**32 or seed != int(seed):
            raise UserError(f"The seed is {seed!r}, where a whole number from 0 to 2^32 - 1 was expected.")
        chosen = draw(int(members), int(seed))
        bias, spread = 0.0 if bias is None else bias, 0.5 if spread is None else spread
    else:
        chosen = np.array(check_members(members))
    mean, sigma = chosen.mean(), chosen.std(ddof=1)
    if spread and not sigma > 1e-12:
        raise UserError(
            f"All members are {chosen[0]:g}, and no factor gives them the spread {spread:g}: give some "
            "that differ, or their number."
        )
    factor = 1.0 if spread is None else spread / sigma if sigma > 1e-12 else 0.0
    moved = (mean if bias is None else bias) + factor * (chosen - mean)
    return np.clip(moved, -REACH, REACH).tolist()


def draw(count: int, seed: int) -> np.ndarray:
    """Quantiles of a Gaussian ``[count]``, each moved a little by the seed; the page draws the same."""
    state, uniform = seed, []
    for _ in range(count):  # mulberry32: 32 bits of state, the same in JavaScript
        state = (state + 0x6D2B79F5) & 0xFFFFFFFF
        t = ((state ^ (state >> 15)) * (state | 1)) & 0xFFFFFFFF
        t ^= (t + ((t ^ (t >> 7)) * (t | 61))) & 0xFFFFFFFF
        uniform.append(((t ^ (t >> 14)) + 0.5) / 2**32)
    return ndtri((np.arange(count) + 0.2 + 0.6 * np.array(uniform)) / count)
