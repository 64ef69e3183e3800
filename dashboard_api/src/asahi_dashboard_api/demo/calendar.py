"""The calendar: when the company asks. Busy by day, quiet at night and at weekends, and a little more every week."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from asahi_dashboard_api.demo.company import ZONE

HOUR = timedelta(hours=1)
#: How much is asked in each hour of a working day; at two o'clock the reviews of the day come in one go.
_DAY = (2, 2, 16, 2, 1, 2, 4, 9, 22, 34, 38, 36, 26, 30, 36, 37, 33, 25, 15, 11, 9, 7, 5, 3)
_WEEKEND, _GROWTH, _LIVELY = 0.3, 0.6, 30
_MOST_AT_ONCE = 12


class Moment(Struct, frozen=True):
    """So many requests that come at one time."""

    at: datetime
    count: int


class Hour(Struct, frozen=True):
    """An hour with its moments. `night` is when programs ask, and people sleep."""

    start: datetime
    night: bool
    moments: tuple[Moment, ...]

    @property
    def count(self) -> int:
        return sum(each.count for each in self.moments)


def hours(end: datetime, days: int, requests: int, draw: random.Random) -> list[Hour]:
    """The hours of so many days until `end`, with exactly so many requests."""
    zone, total = ZoneInfo(ZONE), days * 24
    starts = [end - HOUR * (total - number) for number in range(total)]
    weights = [_weight(start.astimezone(zone), number / total, draw) for number, start in enumerate(starts)]
    weights[-1] = max(weights[-1], _LIVELY)
    found, sum_of_weights, before, due = [], sum(weights), 0, 0.0
    for start, weight in zip(starts, weights, strict=True):
        due += requests * weight / sum_of_weights
        count = round(due) - before
        before += count
        local = start.astimezone(zone)
        found.append(Hour(start, local.hour < 7 or local.hour > 21, tuple(_moments(start, count, draw))))
    return found


def _weight(local: datetime, passed: float, draw: random.Random) -> float:
    weekend = _WEEKEND if local.weekday() > 4 and local.hour != 2 else 1.0
    return _DAY[local.hour] * weekend * (1 + _GROWTH * passed) * draw.uniform(0.8, 1.2)


def _moments(start: datetime, count: int, draw: random.Random) -> list[Moment]:
    sizes = []
    while count:
        sizes.append(min(count, draw.randint(1, _MOST_AT_ONCE)))
        count -= sizes[-1]
    # The last minutes of the hour stay free, so that nothing of it falls into the next.
    seconds = sorted(draw.uniform(0, 3_450) for _ in sizes)
    return [Moment(start + timedelta(seconds=at), size) for at, size in zip(seconds, sizes, strict=True)]
