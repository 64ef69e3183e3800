"""The clock: what time it is to everything that Asahi writes down or lets expire.

It runs with the system's. Whoever lives through a month in a minute, as a demonstration does, moves it, and the whole
process with it. What is measured, such as a latency, and how long others are waited for does not go by this clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta


class _Shift:
    """How far this clock is from the system's. `ahead_s` only grows, as a monotonic clock must."""

    wall = timedelta(0)
    ahead_s = 0.0


_shift = _Shift()


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC) + _shift.wall


def timestamp() -> float:
    """The same in seconds since 1970."""
    return time.time() + _shift.wall.total_seconds()


def monotonic() -> float:
    """Seconds that never go back, since some time."""
    return time.monotonic() + _shift.ahead_s


def move(to: datetime) -> None:
    """Make it that time, for the whole process: it belongs to who asks."""
    by = to - now()
    _shift.wall += by
    _shift.ahead_s += max(0.0, by.total_seconds())


@contextmanager
def moving() -> Iterator[None]:
    """A block that may move the clock; after it, it runs with the system's again."""
    try:
        yield
    finally:
        _shift.wall = timedelta(0)
