"""What the gateway has learned of its models from its own traffic: how long answers are, and how soon they begin.

It holds for this process and its newest calls. Nothing here says how good an answer is.
"""

from __future__ import annotations

from collections import deque
from math import ceil

#: The lengths of a model's answers whatever the task.
ANY_TASK = ""

#: How many of the newest calls are looked at.
_WINDOW = 200
#: A quantile is computed anew after so many further calls: it moves slowly, and is read on every request.
_EVERY = 8
#: Fewer calls than this say nothing of how soon a model begins.
LEAST_STARTS = 20


class Recent:
    """Quantiles of the newest values, by nearest rank."""

    __slots__ = ("_cached", "_count", "_values")

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=_WINDOW)
        self._count = 0
        self._cached: dict[float, float] = {}

    def add(self, value: float) -> None:
        """One more value."""
        self._values.append(value)
        self._count += 1
        if self._count % _EVERY == 0 or self._count < _WINDOW // 4:
            self._cached.clear()

    def at(self, share: float, least: int) -> float | None:
        """The value at a share of 0..1, or None of fewer than `least` values."""
        if self._count < least:
            return None
        found = self._cached.get(share)
        if found is None:
            ranked = sorted(self._values)
            found = self._cached[share] = ranked[max(0, ceil(share * len(ranked)) - 1)]
        return found


class Learned:
    """By model, and by model and task. `least` is how many answers must have been seen before their length counts."""

    def __init__(self, least: int = 30) -> None:
        self._least = least
        self._starts: dict[tuple[str, bool], Recent] = {}
        self._lengths: dict[tuple[str, str], Recent] = {}

    def note(self, model: str, task: str, output_tokens: int, start_ms: float | None, *, streamed: bool) -> None:
        """A whole answer: its length, and the time to its first byte, which is its last one where nothing streams."""
        for each in {task, ANY_TASK}:
            self._lengths.setdefault((model, each), Recent()).add(output_tokens)
        if start_ms is not None:
            self._starts.setdefault((model, streamed), Recent()).add(start_ms)

    def output_tokens(self, model: str, task: str) -> int | None:
        """The median length of answers; None until enough were seen."""
        lengths = self._lengths.get((model, task))
        found = None if lengths is None else lengths.at(0.5, self._least)
        return None if found is None else int(found)

    def start_ms(self, model: str, share: float, *, streamed: bool) -> float | None:
        """The time to the first byte at a share of 0..1; None until enough was seen."""
        starts = self._starts.get((model, streamed))
        return None if starts is None else starts.at(share, LEAST_STARTS)
