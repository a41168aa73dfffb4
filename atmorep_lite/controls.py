"""What was measured of a shipped model's attention over many neighbourhoods, to set beside a single picture.

``benchmarks/attention_controls.py`` writes the file; it takes minutes, so a chapter reads it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atmorep_lite.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

ARROW = " <- "
COLUMNS = ("task", "what", "of", "quantity", "neighbourhoods", "mean", "standard_error")


@dataclass(frozen=True)
class Controls:
    """Means and standard errors over neighbourhoods; ``rows`` is the file, one measurement a row.

    Columns: ``task`` ("forecast", "arriving", "hidden" or "maps"), ``what`` was done or looked at, ``of``
    which field or kind of head, ``quantity``, number of ``neighbourhoods``, ``mean`` and ``standard_error``.
    """

    rows: pd.DataFrame

    def means(self, task: str, quantity: str) -> pd.DataFrame:
        """``[what, of]``."""
        return self._pivot(task, quantity, "mean")

    def errors(self, task: str, quantity: str) -> pd.DataFrame:
        """Standard errors of :meth:`means`, likewise."""
        return self._pivot(task, quantity, "standard_error")

    def matrix(self, quantity: str) -> pd.DataFrame:
        """What the listener receives ("size") or loses ("loss"), ``[field that listens, field heard]``.

        NaN where there is no coupling; fields in the order of the file.
        """
        edges = self.rows[self.rows["what"].str.contains(ARROW) & (self.rows["quantity"] == quantity)]
        if edges.empty:
            raise UserError(f"no quantity {quantity!r} was measured for pairs of fields; choose size or loss")
        ends = edges["what"].str.split(ARROW, expand=True)
        edges = edges.assign(listens=ends[0], heard=ends[1])
        own = edges[edges["of"] == edges["listens"]]
        order = list(dict.fromkeys([*own["listens"], *own["heard"]]))
        return own.pivot(index="listens", columns="heard", values="mean").reindex(index=order, columns=order)

    def _pivot(self, task: str, quantity: str, value: str) -> pd.DataFrame:
        chosen = self.rows[(self.rows["task"] == task) & (self.rows["quantity"] == quantity)]
        if chosen.empty:
            known = ", ".join(dict.fromkeys(self.rows["task"] + "/" + self.rows["quantity"]))
            raise UserError(f"{task}/{quantity} was not measured; there are {known}")
        order = list(dict.fromkeys(chosen["what"])), list(dict.fromkeys(chosen["of"]))
        table = chosen.pivot(index="what", columns="of", values=value)
        return table.reindex(index=order[0], columns=order[1]).rename_axis(index=None, columns=None)


def load_controls(name_or_path: str | os.PathLike[str] = "demo") -> Controls:
    """The measurements beside a shipped model (by name) or in a model folder.

    Raises
    ------
    UserError
        If there is no such model, or nothing was measured.
    """
    import pandas as pd

    from atmorep_lite.training.checkpoint import find_pretrained

    path = find_pretrained(name_or_path) / "controls.csv"
    if not path.is_file():
        raise UserError(f"{path} is missing; make it with benchmarks/attention_controls.py")
    return Controls(pd.read_csv(path))
