"""Intervals of 95 %."""

from __future__ import annotations

import math
from collections.abc import Sequence

from asahi_analytics.causal import student

_Z = 1.959964


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Of a share (Wilson 1927)."""
    share, square = part / whole, _Z * _Z / whole
    middle = (share + square / 2) / (1 + square)
    width = _Z / (1 + square) * math.sqrt(share * (1 - share) / whole + square / (4 * whole))
    return max(0.0, middle - width), min(1.0, middle + width)


def of_mean(values: Sequence[float]) -> tuple[float, float] | None:
    """Of a mean, by Student; None of fewer than two values."""
    count = len(values)
    if count < 2:
        return None
    mean = sum(values) / count
    deviation = math.sqrt(sum((each - mean) ** 2 for each in values) / (count - 1))
    width = student(count - 1) * deviation / math.sqrt(count)
    return mean - width, mean + width
