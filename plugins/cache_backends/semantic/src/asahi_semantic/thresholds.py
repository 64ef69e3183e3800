"""The floor under every decision: similarity by task and cost sensitivity, and what a mistake weighs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal, TypeAlias

Sensitivity: TypeAlias = Literal["high", "medium", "low"]

_TABLE: dict[str, tuple[float, float, float]] = {
    "faq": (0.70, 0.80, 0.90),
    "summarization": (0.80, 0.85, 0.92),
    "reasoning": (0.85, 0.90, 0.95),
    "coding": (0.90, 0.93, 0.97),
    "legal": (0.88, 0.92, 0.96),
}
_OTHERS = (0.80, 0.85, 0.92)
_COLUMN = {"high": 0, "medium": 1, "low": 2}
_WEIGHTS = {"faq": 1.0, "classification": 1.0, "creative": 2.0, "reasoning": 2.5, "coding": 3.0, "legal": 4.0}


def floor(task: str, sensitivity: Sensitivity) -> float:
    """The similarity, on the scale of the table, under which nothing is served."""
    return _TABLE.get(task, _OTHERS)[_COLUMN[sensitivity]]


def least_chance(task: str, mistake_factor: float) -> float:
    """The money test: what a hit saves must be more than what a mistake costs, which is the task's weight times
    `mistake_factor` as much as answering anew. So 1 - p < 1 / (factor · weight)."""
    burden = mistake_factor * _WEIGHTS.get(task, 1.5)
    return 1 - 1 / burden if burden > 1 else 0.0


class Scale:
    """Maps an embedder's cosine onto the scale of the table, between points that were measured."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self._from = [cosine for cosine, _ in points]
        self._to = [likeness for _, likeness in points]

    def __call__(self, cosine: float) -> float:
        at = bisect_right(self._from, cosine)
        if at == 0:
            return self._to[0]
        if at == len(self._from):
            return self._to[-1]
        share = (cosine - self._from[at - 1]) / (self._from[at] - self._from[at - 1])
        return self._to[at - 1] + share * (self._to[at] - self._to[at - 1])


#: Of an embedder nobody has measured: its cosine is taken as it is.
IDENTITY = Scale([(-1.0, -1.0), (1.0, 1.0)])
