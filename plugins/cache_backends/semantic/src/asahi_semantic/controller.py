"""The controller: how sure the verifier must be before an answer is served, so that errors stay under their bound.

The rate is wrong ÷ served, or with the basis `requests` wrong ÷ all requests that were looked up. For each (org, task)
it keeps, by the verifier's certainty, how many candidates there were and a doubly robust estimate of how many of them
were wrong: each candidate counts its expected error 1 - p, and where the truth was found out, the difference to it
divided by the chance of finding out. Misses always find out, served hits with the rate of audits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

State: TypeAlias = Literal["uncalibrated", "within", "breached"]

#: Labels without which nothing is served.
ENOUGH = 50
#: So many without an error bound the rate by 3/n at 95 % (Hanley 1983): fewer than 3/δ cannot prove δ.
_RULE_OF_THREE = 3.0
_BINS = 48
_SURE = 8.0
#: The memory, in candidates: older ones fade, so that the estimate follows the traffic.
_MEMORY = 6_000
#: Standard errors by which the estimate must stay under the bound. Of hits there are few at first, and one wrong among
#: them is a large share: there it is the one-sided 95 % limit.
_ERRORS = {"hits": 1.645, "requests": 1.0}
_Z95 = 1.959964


class Precision(Struct, frozen=True, kw_only=True):
    """How an org's task is doing. `rate` is the share of wrong answers among the labelled served hits, `low` and `high`
    its 95 % Wilson interval; `labels` counts every comparison, `estimate` is the doubly robust rate of what is
    served."""

    task: str
    served: int
    labels: int
    labelled_hits: int
    false_hits: int
    rate: float
    low: float
    high: float
    estimate: float | None
    state: State
    max_error_rate: float


class Controller:
    """Of one org and task."""

    def __init__(self, bound: float, basis: Literal["hits", "requests"] = "hits") -> None:
        self.bound = bound
        self._errors = _ERRORS[basis]
        self._basis = basis
        self._asked = 0.0
        self._count: Floats = np.zeros(_BINS)
        self._wrong: Floats = np.zeros(_BINS)
        self._squares: Floats = np.zeros(_BINS)
        self._worth: Floats = np.zeros(_BINS)
        self._weight = 1.0
        self._bar: int | None = _BINS
        self.served = self.labels = self.labelled_hits = self.false_hits = 0
        self._checked = self._mistaken = 0

    def rebind(self, bound: float) -> None:
        """Hold what was learnt against another bound."""
        self.bound = bound
        self._bar = None

    def allows(self, chance: float) -> bool:
        """Whether an answer of this certainty may be served now."""
        return self.labels >= ENOUGH and self.state != "breached" and _bin(chance) >= self._lowest()

    def asked(self) -> None:
        """A request was looked up, whatever comes of it."""
        self._weight *= 1 + 1 / _MEMORY
        self._asked += self._weight
        if self._weight > 1e12:
            for sums in (self._count, self._wrong, self._squares, self._worth):
                sums /= self._weight
            self._asked /= self._weight
            self._weight = 1.0

    def missed(self, chance: float, right: bool) -> None:
        """A candidate was not served, and the fresh answer told whether it would have been right. What would have been
        served but for a breach counts towards its end."""
        if self.state == "breached" and _bin(chance) >= self._lowest():
            self._checked += 1
            self._mistaken += not right
        self._add(chance, float(not right))
        self.labels += 1

    def hit(self, chance: float, share: float) -> None:
        """A candidate was served, and will be found out with the chance `share`."""
        self._add(chance, 1 - chance, 1 / max(share, 1e-3))
        self.served += 1

    def audited(self, chance: float, right: bool, share: float) -> None:
        """A served answer was found out; `share` is the chance that it would be."""
        expected, place = 1 - chance, _bin(chance)
        corrected = expected + ((not right) - expected) / share
        self._wrong[place] += (corrected - expected) * self._weight
        self._squares[place] += (corrected**2 - expected**2) * self._weight
        self._bar = None
        self.labels += 1
        self.labelled_hits += 1
        self.false_hits += not right
        self._checked += 1
        self._mistaken += not right

    @property
    def state(self) -> State:
        if self.labels < ENOUGH:
            return "uncalibrated"
        low, _ = wilson(self._mistaken, self._checked)
        share = 1.0 if self._basis == "hits" else float(self._count[self._lowest() :].sum()) / max(self._asked, 1e-9)
        return "breached" if low * share > self.bound else "within"

    def precision(self, task: str) -> Precision:
        """The figures to report."""
        low, high = wilson(self.false_hits, self.labelled_hits)
        lowest = self._lowest()
        count = float(self._count[lowest:].sum())
        return Precision(
            task=task,
            served=self.served,
            labels=self.labels,
            labelled_hits=self.labelled_hits,
            false_hits=self.false_hits,
            rate=self.false_hits / self.labelled_hits if self.labelled_hits else 0.0,
            low=low,
            high=high,
            estimate=float(self._wrong[lowest:].sum()) / count if count else None,
            state=self.state,
            max_error_rate=self.bound,
        )

    def _add(self, chance: float, error: float, worth: float = 1.0) -> None:
        place = _bin(chance)
        self._count[place] += self._weight
        self._wrong[place] += error * self._weight
        self._squares[place] += error**2 * self._weight
        self._worth[place] += worth * self._weight
        self._bar = None

    def _lowest(self) -> int:
        """The least certain bin such that all of it and above stays under the bound. Bars are tried from the most
        certain down, and the first that is wrong too often ends the search: trying many makes none pass by luck."""
        if self._bar is not None:
            return self._bar
        sums = (self._count, self._wrong, self._squares, self._worth)
        count, wrong, squares, worth = (np.cumsum(each[::-1]) / self._weight for each in sums)
        self._bar = _BINS
        for step in range(_BINS):
            seen = float(count[step])
            share = 1.0 if self._basis == "hits" else seen / max(self._asked / self._weight, seen)
            if seen < max(ENOUGH, _RULE_OF_THREE * share / self.bound):
                continue
            rate = max(float(wrong[step]), 0.0) / seen
            if rate * share > self.bound:
                break
            if (
                rate + self._errors * _standard_error(rate, float(squares[step]), float(worth[step]), seen)
            ) * share <= self.bound:
                self._bar = _BINS - 1 - step
        return self._bar


def _standard_error(rate: float, squares: float, worth: float, seen: float) -> float:
    """Of the estimate, and never less than if one more error had been found out: an error stands for as many as an
    audit does, so that few audits without a finding prove little."""
    stands_for = worth / seen
    empirical = squares / seen - rate**2
    smoothed = (rate + stands_for / seen) * stands_for
    return math.sqrt(max(empirical, smoothed) / seen)


def _bin(chance: float) -> int:
    chance = min(max(chance, 1e-9), 1 - 1e-9)
    score = math.log(chance / (1 - chance))
    return min(max(int((score + _SURE) / (2 * _SURE) * _BINS), 0), _BINS - 1)


def wilson(wrong: int, seen: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not seen:
        return 0.0, 1.0
    share, square = wrong / seen, _Z95**2
    middle = share + square / (2 * seen)
    spread = _Z95 * math.sqrt(share * (1 - share) / seen + square / (4 * seen**2))
    scale = 1 + square / seen
    return max((middle - spread) / scale, 0.0), min((middle + spread) / scale, 1.0)
