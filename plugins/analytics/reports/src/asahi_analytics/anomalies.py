"""The anomaly rules: a window under test against the baseline before it, which never contains the window.

Each rule looks at sums by minute, so that it can be asked of now and of any minute before, and gives the same answer in
every process.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from msgspec import Struct

from asahi_kernel.rollups import Sums, bucket_of, floor, merge, percentile

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
#: Requests without which a baseline says nothing.
ENOUGH = 50
#: Requests without which the window under test says nothing.
FEW = 3
#: Standard errors by which a mean must be off: a week has 168 hours, and costs are skewed.
SURE = 4.5
#: What chance brings less often than this is a finding: a week is looked at 10,080 times, though of hours that overlap.
UNLIKELY = 1e-4
_KNOWN = 64
_EXACT = 2_000
Row: TypeAlias = tuple[datetime, Sums]


class Anomaly(Struct, frozen=True, kw_only=True):
    """A rule that fired. Money is in dollars, latency in ms, rates are fractions of one."""

    anomaly_type: str
    metric_name: str
    critical: bool
    current: float
    expected: float
    message: str

    @property
    def deviation_pct(self) -> float | None:
        """How far off the expected it is; None where nothing was expected."""
        return 100 * (self.current - self.expected) / self.expected if self.expected else None


class Past:
    """Sums by minute of the last 26 hours, and by hour of the last nine days: both ascending, without empty ones."""

    def __init__(self, minutes: Sequence[Row], hours: Sequence[Row]) -> None:
        self.minutes = minutes
        self.hours = hours
        self._blocks: dict[datetime, Sums] = {}
        self._known: dict[tuple[datetime, datetime], Sums] = {}

    def within(self, start: datetime, end: datetime) -> Sums:
        """The sums of the minutes that begin in `[start, end)`, which several rules ask for."""
        if (start, end) not in self._known:
            if len(self._known) > _KNOWN:
                self._known.clear()
            self._known[start, end] = _merged(self._parts(start, end))
        return self._known[start, end]

    def hourly(self, start: datetime, end: datetime) -> Sums:
        """The same of hours."""
        return _merged(sums for _, sums in slice_of(self.hours, start, end))

    def _parts(self, start: datetime, end: datetime) -> Iterator[Sums]:
        """Whole hours are merged once, so that a day is not merged minute by minute at every look."""
        first, last = floor(start + HOUR - MINUTE, "hour"), floor(end, "hour")
        if first >= last:
            yield from (sums for _, sums in slice_of(self.minutes, start, end))
            return
        yield from (sums for _, sums in slice_of(self.minutes, start, first))
        while first < last:
            if first not in self._blocks:
                self._blocks[first] = _merged(sums for _, sums in slice_of(self.minutes, first, first + HOUR))
            yield self._blocks[first]
            first += HOUR
        yield from (sums for _, sums in slice_of(self.minutes, last, end))


Rule: TypeAlias = Callable[[Past, datetime], Anomaly | None]


def fired(past: Past, at: datetime) -> list[Anomaly]:
    """Every rule that fires at the end of a minute."""
    return [found for rule in RULES.values() if (found := rule(past, at)) is not None]


def cost_spike(past: Past, at: datetime) -> Anomaly | None:
    """The mean cost of a request in the last hour, against the day before that hour."""
    now, before = past.within(at - HOUR, at), _baseline(past, at)
    if before is None or now.requests < FEW or not before.cost:
        return None
    current, expected = now.cost / now.requests / 1e9, before.cost / before.requests / 1e9
    ratio = current / expected
    # A few dear requests make a dear hour where there are few at all.
    if ratio < 2 or current - expected < SURE * _error_of_mean(past, at, before, now.requests):
        return None
    said = f"a request costs ${current:.6f} in the last hour, {ratio:.1f} times the ${expected:.6f} of the day before"
    return _found("cost_spike", "cost_per_request", ratio >= 3, current, expected, said)


def daily_cost_spike(past: Past, at: datetime) -> Anomaly | None:
    """The cost of the last 24 hours, against the mean of the seven days before."""
    edge = (at - DAY).replace(minute=0)
    before = past.hourly(edge - 7 * DAY, edge)
    if before.requests < ENOUGH or not before.cost:
        return None
    known = min(7.0, (edge - past.hours[0][0]) / DAY) if past.hours else 0.0
    if known < 1:
        return None
    current, expected = past.within(at - DAY, at).cost / 1e9, before.cost / known / 1e9
    ratio = current / expected
    if ratio <= 2:
        return None
    said = f"the last 24 hours cost ${current:.4f}, {ratio:.1f} times the ${expected:.4f} of a day in the week before"
    return _found("daily_cost_spike", "cost_per_day", ratio > 3, current, expected, said)


def latency_spike(past: Past, at: datetime) -> Anomaly | None:
    """The 95th percentile of the last hour, against the day before that hour."""
    now, before = past.within(at - HOUR, at), past.within(at - HOUR - DAY, at - HOUR)
    if now.requests < FEW or before.requests < 5:
        return None
    current, expected = percentile(now.sketch, 0.95) or 0.0, percentile(before.sketch, 0.95) or 0.0
    # Of a few requests p95 is the slowest: a single one is no finding.
    if not expected or current < 2 * expected or _above(now.sketch, 2 * expected) < 2:
        return None
    said = (
        f"p95 latency is {current:.0f} ms in the last hour, {current / expected:.1f} times the {expected:.0f} ms before"
    )
    return _found("latency_spike", "latency_p95", current >= 3 * expected, current, expected, said)


def error_rate(past: Past, at: datetime) -> Anomaly | None:
    """Failed requests of the last hour."""
    now = past.within(at - HOUR, at)
    if now.requests < 20 or now.errors < 0.01 * now.requests:
        return None
    before = _baseline(past, at)
    expected = before.errors / before.requests if before else 0.0
    rate = now.errors / now.requests
    said = f"{now.errors} of {now.requests} requests of the last hour failed ({100 * rate:.1f} %)"
    return _found("error_rate", "error_rate", rate >= 0.05, rate, expected, said)


def cache_degradation(past: Past, at: datetime) -> Anomaly | None:
    """The hit rate of the last hour, against the day before that hour."""
    now, before = past.within(at - HOUR, at), _baseline(past, at)
    asked = now.hits + now.misses
    if before is None or not asked or not before.hits:
        return None
    current, expected = now.hits / asked, before.hits / (before.hits + before.misses)
    drop = 1 - current / expected
    fallen = drop >= 0.5 or (current < 0.10 and expected > 0.20)
    # A rate of few look-ups swings by itself: what chance may bring within a week is no finding.
    if not fallen or _chance(now.hits, asked, expected) > UNLIKELY:
        return None
    said = f"the cache answers {100 * current:.1f} % of the last hour's requests, {100 * expected:.1f} % the day before"
    return _found("cache_degradation", "cache_hit_rate", drop >= 0.75, current, expected, said)


def quality_drop(past: Past, at: datetime) -> Anomaly | None:
    """The mean predicted quality of the day's last quarter of samples, against the rest."""
    rated = [sums for _, sums in slice_of(past.minutes, at - DAY, at) if sums.quality_count]
    count = sum(each.quality_count for each in rated)
    if count < 5:
        return None
    wanted, late, whole = count // 4 or 1, 0.0, sum(each.quality_milli for each in rated) / 1e3
    left = wanted
    for sums in reversed(rated):
        part = min(left, sums.quality_count)
        late += part * sums.quality_milli / sums.quality_count / 1e3
        left -= part
        if not left:
            break
    current, expected = late / wanted, (whole - late) / (count - wanted)
    if current > expected - 0.5 + 1e-9:
        return None
    said = f"quality is {current:.2f} in the last {wanted} of {count} answers, {expected:.2f} before"
    return _found("quality_drop", "quality", current <= expected - 1.0, current, expected, said)


def price_unknown(past: Past, at: datetime) -> Anomaly | None:
    """Requests of the last hour whose cost nobody knows."""
    count = past.within(at - HOUR, at).unpriced
    if not count:
        return None
    said = f"{count} requests of the last hour went to models without a known price: they count for nothing"
    return _found("price_unknown", "unpriced_requests", False, count, 0.0, said)


RULES: Mapping[str, Rule] = {
    "cost_spike": cost_spike,
    "daily_cost_spike": daily_cost_spike,
    "latency_spike": latency_spike,
    "error_rate": error_rate,
    "cache_degradation": cache_degradation,
    "quality_drop": quality_drop,
    "price_unknown": price_unknown,
}


def _baseline(past: Past, at: datetime) -> Sums | None:
    before = past.within(at - HOUR - DAY, at - HOUR)
    return before if before.requests >= ENOUGH else None


def _found(kind: str, metric: str, critical: bool, current: float, expected: float, message: str) -> Anomaly:
    return Anomaly(
        anomaly_type=kind,
        metric_name=metric,
        critical=critical,
        current=current,
        expected=expected,
        message=message,
    )


def _merged(parts: Iterable[Sums]) -> Sums:
    together = Sums(saved_by={}, sketch={})
    for sums in parts:
        merge(together, sums)
    return together


def slice_of(rows: Sequence[Row], start: datetime, end: datetime) -> Sequence[Row]:
    """The rows that begin in `[start, end)`."""
    return rows[bisect_left(rows, start, key=lambda row: row[0]) : bisect_left(rows, end, key=lambda row: row[0])]


def _error_of_mean(past: Past, at: datetime, before: Sums, requests: int) -> float:
    """The standard error, in dollars, of the mean cost of so many requests, from how minutes differ in the baseline."""
    mean = before.cost / before.requests
    rows = slice_of(past.minutes, at - HOUR - DAY, at - HOUR)
    square = sum((sums.cost - mean * sums.requests) ** 2 for _, sums in rows)
    return math.sqrt(square / before.requests / requests) / 1e9


def _above(sketch: Mapping[int, int], latency_ms: float) -> int:
    """How many were at least so slow."""
    bound = bucket_of(latency_ms)
    return sum(number for bucket, number in sketch.items() if bucket >= bound)


def _chance(hits: int, asked: int, rate: float) -> float:
    """The probability of so few hits at this rate: binomial, and of many look-ups Chernoff's bound of it."""
    seen = hits / asked
    if seen >= rate:
        return 1.0
    if rate >= 1:
        return 0.0
    if asked > _EXACT:
        divergence = (1 - seen) * math.log((1 - seen) / (1 - rate))
        if seen:
            divergence += seen * math.log(seen / rate)
        return math.exp(-asked * divergence)
    whole = math.lgamma(asked + 1)
    return sum(
        math.exp(
            whole
            - math.lgamma(each + 1)
            - math.lgamma(asked - each + 1)
            + each * math.log(rate)
            + (asked - each) * math.log(1 - rate)
        )
        for each in range(hits + 1)
    )
