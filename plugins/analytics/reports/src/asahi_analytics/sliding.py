"""Sliding windows over sums by bucket: each bucket is added once and taken away once, for however many windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from asahi_kernel.rollups import Sums, merge

Row: TypeAlias = tuple[datetime, Sums]
#: Where the window begins that ends at a time.
Begin: TypeAlias = Callable[[datetime], datetime]


def slide(rows: Sequence[Row], ends: Sequence[datetime], begin: Begin) -> Iterator[Sums]:
    """The sums of the buckets that begin in `[begin(end), end)`, for each end. Both ascend, and `begin` with them. What
    is given is the same object each time: read it before you go on."""
    held = Sums(saved_by={}, sketch={})
    first = last = 0
    for end in ends:
        start = begin(end)
        while last < len(rows) and rows[last][0] < end:
            merge(held, rows[last][1])
            last += 1
        while first < last and rows[first][0] < start:
            _take(held, rows[first][1])
            first += 1
        yield held


def back(width: timedelta) -> Begin:
    """A window of one width."""
    return lambda end: end - width


def _take(held: Sums, other: Sums) -> None:
    for name in _NUMBERS:
        setattr(held, name, getattr(held, name) - getattr(other, name))
    for bucket, number in other.sketch.items():
        left = held.sketch[bucket] - number
        if left:
            held.sketch[bucket] = left
        else:
            del held.sketch[bucket]


_NUMBERS = tuple(name for name in Sums.__struct_fields__ if name not in {"saved_by", "sketch"})
