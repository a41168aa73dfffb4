"""The curve of a run in a few hundred points, however long the run is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: What is kept of every step besides its losses.
MEASURED = ("samples_per_second", "waiting")


class Curve:
    """Means over neighbouring steps: at most ``most`` points however long a run is, none across stages."""

    def __init__(self, most: int) -> None:
        self._most, self._width = most, 1
        self._points: list[_Point] = []

    def add(self, stage: int, step: int, values: Mapping[str, float | None]) -> None:
        """One step's values by name; None where there is none."""
        last = self._points[-1] if self._points else None
        if last is None or last.stage != stage or last.count >= self._width:
            last = _Point(stage)
            self._points.append(last)
        last.add(step, {name: value for name, value in values.items() if value is not None})
        if len(self._points) > self._most:
            self._width *= 2
            merged: list[_Point] = []
            for point in self._points:
                if (
                    merged
                    and merged[-1].stage == point.stage
                    and merged[-1].count + point.count <= self._width
                ):
                    merged[-1].join(point)
                else:
                    merged.append(point)
            self._points = merged

    def columns(self, fields: Sequence[str]) -> dict[str, Any]:
        """Lists: ``step``, ``stage``, ``loss``, ``samples_per_second``, ``waiting``, and one a field."""
        plain = {name: [p.mean(name) for p in self._points] for name in ("loss", *MEASURED)}
        return {
            "step": [p.step for p in self._points],
            "stage": [p.stage for p in self._points],
            **plain,
            "fields": [[p.mean(name) for p in self._points] for name in fields],
        }


class _Point:
    """Sums over a few steps; ``step`` is the last of them."""

    def __init__(self, stage: int) -> None:
        self.stage, self.step, self.count = stage, 0, 0
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        self.step, self.count = step, self.count + 1
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)

    def join(self, other: _Point) -> None:
        self.step, self.count = other.step, self.count + other.count
        for name, (more, times) in other._sums.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + more, count + times)

    def mean(self, name: str) -> float | None:
        total, count = self._sums.get(name, (0.0, 0))
        return float(f"{total / count:.4g}") if count else None
