"""Watching a run for steps that go wrong: what happens then, and which sample is to blame.

A step is wrong if its loss or the norm of its gradient is no number, or is many times its running median.
The verdict is the same on all processes and after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np
import torch

from atmorep_lite.config import GuardConfig
from atmorep_lite.errors import UserError
from atmorep_lite.training.processes import ALONE, Processes

#: Steps whose losses and norms the running medians are of, and how many must be known to speak of a spike.
WINDOW, ENOUGH = 64, 8
#: A run ends when so many steps are left out in a row.
IN_A_ROW = 10
#: A stage has diverged if the median loss of its last ``PART`` steps is so many times that of its first ones.
RISEN, PART = 3.0, 16


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a step; ``usual`` is the running median, None if ``value`` is no number."""

    what: Literal["loss", "gradient norm"]
    value: float
    usual: float | None

    def __str__(self) -> str:
        if self.usual is None:
            return f"the {self.what} became {self.value}"
        return (
            f"the {self.what} {self.value:.3g} is {self.value / self.usual:.3g} times its running median "
            f"{self.usual:.3g}"
        )


class Guard:
    """Judges every step of a run.

    Parameters
    ----------
    settings
        How far from the median is too far, and what happens then.
    state
        What :meth:`state` returned when the run was saved.
    processes
        Of the run; a step is wrong for all if it is for one.
    """

    def __init__(
        self,
        settings: GuardConfig,
        state: Mapping[str, Any] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.settings, self.processes = settings, processes
        fresh: dict[str, Any] = {"losses": [], "norms": [], "first": None, "good": 0, "bad": 0, "in_a_row": 0}
        kept = fresh | {"stage": None, "skipped": 0} | dict(state or {})
        self.skipped: int = kept["skipped"]
        self._stage: int | None = kept["stage"]
        self._losses: list[float] = list(kept["losses"])
        self._norms: list[float] = list(kept["norms"])
        self._first: float | None = kept["first"]
        self._good, self._bad, self._in_a_row = (int(kept[key]) for key in ("good", "bad", "in_a_row"))

    def begin(self, stage: int) -> None:
        """Forget the medians of the stage before; those of this one, taken up again, stay."""
        if stage != self._stage:
            self._stage, self._losses, self._norms, self._first = stage, [], [], None
            self._good = self._bad = self._in_a_row = 0

    def check(self, loss: float, norm: float) -> Trouble | None:
        """Judge a step before its update, by the loss and the gradient norm (before clipping) of its batch.

        To be called by all processes alike.  Only steps that are fine enter the medians.
        """
        trouble = self._trouble("loss", loss, self._losses)
        trouble = trouble or self._trouble("gradient norm", norm, self._norms)
        if self.processes.any(trouble is not None):
            return trouble or Trouble("loss", loss, None)
        for values, value in ((self._losses, loss), (self._norms, norm)):
            values.append(value)
            del values[:-WINDOW]
        self._good += 1
        self._in_a_row = 0
        if self._good == PART:
            self._first = median(self._losses)
        return None

    def _trouble(
        self, what: Literal["loss", "gradient norm"], value: float, before: list[float]
    ) -> Trouble | None:
        if not np.isfinite(value):
            return Trouble(what, value, None)
        if self.settings.spike is None or len(before) < ENOUGH:
            return None
        usual = median(before)
        return Trouble(what, value, usual) if value > self.settings.spike * usual > 0 else None

    def act(self, trouble: Trouble, *, step: int, blamed: object) -> str:
        """Do as configured about a step that is wrong: end the run, or count it and say so.

        Returns
        -------
        The sentence to tell: the step is to be left out.

        Raises
        ------
        UserError
            If the run is to stop, or :data:`IN_A_ROW` steps went wrong one after the other.
        """
        self.skipped += 1
        self._bad += 1
        self._in_a_row += 1
        what = f"{trouble} in stage {self._stage} at step {step}: {blamed}"
        if self.settings.action == "stop":
            raise UserError(
                f"{what}; leave these data out, go on with --resume and training.guard.action=skip, or start "
                "anew with a lower learning rate"
            )
        if self._in_a_row == IN_A_ROW:
            raise UserError(
                f"{what}; this is the {IN_A_ROW}th step in a row that went wrong, so the run has diverged: "
                "start anew with a lower learning rate"
            )
        return f"{what}; the step is left out"

    def finish(self, model: torch.nn.Module) -> None:
        """Call at the end of a stage, on every process: a diverged one is no success.

        Raises
        ------
        UserError
            If a weight is no number, most steps were left out, or the loss has risen instead of fallen.
        """
        broken = next((n for n, t in model.state_dict().items() if not bool(t.isfinite().all())), None)
        if self.processes.any(broken is not None):
            raise UserError(
                f"stage {self._stage} ends with weights that are no numbers ({broken or 'elsewhere'}); lower "
                "the learning rate and go on from an earlier checkpoint"
            )
        if self._bad > self._good:
            raise UserError(
                f"{self._bad} of {self._bad + self._good} steps of stage {self._stage} went wrong and were "
                "left out; lower the learning rate or mend the data"
            )
        if self._first is not None and len(self._losses) >= 2 * PART:
            last = median(self._losses[-PART:])
            if last > RISEN * self._first > 0:
                raise UserError(
                    f"the loss of stage {self._stage} rose from {self._first:.3g} to {last:.3g} (medians of "
                    f"{PART} steps), so the run has diverged; lower the learning rate"
                )

    def state(self) -> dict[str, Any]:
        """Numbers, for a checkpoint: less than 4 KB as JSON, which keeps them exactly."""
        return {
            "stage": self._stage,
            "losses": list(self._losses),
            "norms": list(self._norms),
            "first": self._first,
            "good": self._good,
            "bad": self._bad,
            "in_a_row": self._in_a_row,
            "skipped": self.skipped,
        }
