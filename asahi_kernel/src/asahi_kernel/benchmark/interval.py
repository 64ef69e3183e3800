"""Percentiles by nearest rank, the bootstrap interval of a saving, and the Wilson interval of a share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import ceil, sqrt
from typing import TypeVar

from msgspec import Struct

N = TypeVar("N", int, float)
RESAMPLES = 2_000
_LOW, _HIGH = 2.5, 97.5
_BLOCKS = 1_000
#: The normal quantile of a two-sided 95 % interval.
_Z = 1.959964


class Interval(Struct, frozen=True, kw_only=True):
    """The 95 % interval of a saving: nUSD over the whole workload, and per cent of the baseline."""

    low: int
    high: int
    percent_low: float
    percent_high: float


def nearest_rank(values: Sequence[N], percent: float) -> N:
    """The smallest value that at least `percent` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, ceil(percent / 100 * len(ranked)) - 1)]


def bootstrap(bills: Sequence[tuple[int, int]], seed: int) -> Interval | None:
    """Resample requests, each with its two bills (baseline, Asahi), and take the middle 95 % of the savings.

    Beyond 1,000 requests sums of equally many are resampled, which keeps the variance and bounds the work. None for
    fewer than two requests, or where the baseline cost nothing.
    """
    if len(bills) < 2 or not sum(before for before, _ in bills):
        return None
    blocks = _blocks(bills, seed)
    source = random.Random(seed)
    saved: list[int] = []
    percents: list[float] = []
    for _ in range(RESAMPLES):
        drawn = source.choices(blocks, k=len(blocks))
        before = sum(pair[0] for pair in drawn)
        saved.append(before - sum(pair[1] for pair in drawn))
        percents.append(100 * saved[-1] / before if before else 0.0)
    return Interval(
        low=nearest_rank(saved, _LOW),
        high=nearest_rank(saved, _HIGH),
        percent_low=nearest_rank(percents, _LOW),
        percent_high=nearest_rank(percents, _HIGH),
    )


def wilson(found: int, seen: int) -> tuple[float, float] | None:
    """The 95 % interval of the share `found` ÷ `seen` (Wilson 1927); None where nothing was seen."""
    if not seen:
        return None
    share, square = found / seen, _Z * _Z
    middle = share + square / (2 * seen)
    spread = _Z * sqrt(share * (1 - share) / seen + square / (4 * seen * seen))
    low, high = (middle - spread) / (1 + square / seen), (middle + spread) / (1 + square / seen)
    return (max(0.0, low) if found else 0.0), (min(1.0, high) if found < seen else 1.0)


def _blocks(bills: Sequence[tuple[int, int]], seed: int) -> list[tuple[int, int]]:
    if len(bills) <= _BLOCKS:
        return list(bills)
    mixed = random.Random(seed).sample(bills, len(bills))
    parts = [mixed[start::_BLOCKS] for start in range(_BLOCKS)]
    return [(sum(before for before, _ in part), sum(after for _, after in part)) for part in parts]
