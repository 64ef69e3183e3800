"""The causal saving: what the compared requests would have cost, measured on those that were held out."""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct

from asahi_kernel.holdout import COMPARED, HELD_OUT
from asahi_kernel.records import Event

#: Fewer held-out requests than this say nothing.
LEAST = 30


class Causal(Struct, frozen=True, kw_only=True):
    """Saved on the compared requests in nUSD, with a 95 % interval. `held_out` and `compared` count the requests."""

    saved: int
    low: int
    high: int
    held_out: int
    compared: int


class Arm:
    """Running sums of cost and input tokens over one arm."""

    def __init__(self) -> None:
        self.count = 0
        self._cost = self._cost_squared = 0.0
        self._size = self._size_squared = self._both = 0.0

    def add(self, cost: float, size: float) -> None:
        """One request."""
        self.count += 1
        self._cost += cost
        self._cost_squared += cost * cost
        self._size += size
        self._size_squared += size * size
        self._both += size * cost

    @property
    def mean(self) -> float:
        return self._cost / self.count

    @property
    def size(self) -> float:
        return self._size / self.count

    def moments(self) -> tuple[float, float, float]:
        """Variance of cost, variance of size, and their covariance."""
        free = max(self.count - 1, 1)
        return (
            max(0.0, (self._cost_squared - self._cost**2 / self.count) / free),
            max(0.0, (self._size_squared - self._size**2 / self.count) / free),
            (self._both - self._size * self._cost / self.count) / free,
        )


def estimate(held_out: Arm, compared: Arm) -> Causal | None:
    """The saving by difference of means, adjusted for the size of the prompts, which no treatment can change: CUPED
    (Deng et al. 2013), with a slope for each arm (Lin 2013). None where too few were held out."""
    if held_out.count < LEAST or compared.count < LEAST:
        return None
    everybody = (held_out.size * held_out.count + compared.size * compared.count) / (held_out.count + compared.count)
    means, variances, slopes, free = [], [], [], []
    for arm in (held_out, compared):
        cost, size, both = arm.moments()
        slope = both / size if size > 0 else 0.0
        means.append(arm.mean - slope * (arm.size - everybody))
        slopes.append(slope)
        variances.append(max(0.0, cost - slope * both) * (arm.count - 1) / max(arm.count - 2, 1) / arm.count)
        free.append(arm.count - 1)
    drift = (slopes[0] - slopes[1]) ** 2 * held_out.moments()[1] / (held_out.count + compared.count)
    spread = math.sqrt(sum(variances) + drift)
    degrees = sum(variances) ** 2 / max(sum(v * v / f for v, f in zip(variances, free, strict=True)), 1e-300)
    width = spread * student(max(degrees, 1.0))
    saved = means[0] - means[1]
    return Causal(
        saved=round(saved * compared.count),
        low=round((saved - width) * compared.count),
        high=round((saved + width) * compared.count),
        held_out=held_out.count,
        compared=compared.count,
    )


def arms(events: Iterable[Event]) -> tuple[Arm, Arm]:
    """The two arms among these events: held out and compared. An unpriced one belongs to none."""
    held_out, compared = Arm(), Arm()
    for event in events:
        take(held_out, compared, event)
    return held_out, compared


def take(held_out: Arm, compared: Arm, event: Event) -> None:
    """Count an event into its arm, if it has one."""
    arm = held_out if HELD_OUT in event.techniques else compared if COMPARED in event.techniques else None
    if arm is not None and event.cost is not None:
        arm.add(event.cost, event.input_tokens)


def student(degrees: float) -> float:
    """The 97.5 % point of Student's t, by Cornish-Fisher around the normal (Abramowitz and Stegun 26.7.5)."""
    z = 1.959963984540054
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + g1 / degrees + g2 / degrees**2 + g3 / degrees**3
