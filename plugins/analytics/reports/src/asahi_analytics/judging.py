"""Judging: whether a rule holds at the end of a minute or an hour, from the sums, the labels and the budgets alone. So
it can be asked of now and of any time before, and gives the same answer in every process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from asahi_analytics.measures import METRICS, Metric, Reading
from asahi_analytics.scoping import Reads
from asahi_analytics.sliding import Begin, Row, back, slide
from asahi_kernel.repositories import Governing
from asahi_kernel.rollups import Granularity, floor

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.alert_rules import AlertRule

#: An alert is resolved after so many minutes in which its rule did not fire.
QUIET_MIN = 15
_DAY_MIN = 1_440
_STEPS: dict[Granularity, timedelta] = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}


class Judged(Struct, frozen=True):
    """What a rule comes to at a time. `holds` is None where it cannot be told, since some requests have no price."""

    at: datetime
    reading: Reading
    holds: bool | None


class Pace(Struct, frozen=True):
    """How a rule is looked at: in steps, of which it must hold at `hold` more than one, and be quiet at `quiet`."""

    granularity: Granularity
    hold: int
    quiet: int

    @property
    def step(self) -> timedelta:
        """A minute or an hour."""
        return _STEPS[self.granularity]


def pace_of(rule: AlertRule, granularity: Granularity | None = None) -> Pace:
    """By the minute for windows of up to a day; longer ones, and what a budget has used since its window began, by the
    hour, where a shorter `for` says nothing."""
    long = rule.window_min > _DAY_MIN or rule.metric == "budget_share"
    granularity = granularity or ("hour" if long else "minute")
    if granularity == "minute":
        return Pace(granularity, rule.for_min, QUIET_MIN)
    return Pace(granularity, rule.for_min // 60, 1)


def ends_of(rule: AlertRule, pace: Pace, now: datetime, steps: int) -> list[datetime]:
    """The last so many ends of windows. One that is not over yet counts for what may already be too much, and not for
    what may only be too little so far."""
    last = floor(now, pace.granularity) + (pace.step if rule.direction == "over" else timedelta())
    return [last - each * pace.step for each in reversed(range(steps))]


async def judge(
    gateway: Gateway, rule: AlertRule, pace: Pace, ends: Sequence[datetime], reads: Reads | None = None
) -> list[Judged]:
    """The rule at each of these times, which ascend. Empty where there is nothing it could be held against. Rules that
    are judged together share what was read."""
    metric, reads = METRICS[rule.metric], reads or Reads(gateway.storage)
    if rule.metric == "budget_share":
        readings = await _used(gateway, rule, pace, ends, reads)
    else:
        begin = back(timedelta(minutes=rule.window_min))
        rows = await reads.rows(rule, pace.granularity, (begin(ends[0]), ends[-1]))
        readings = await asyncio.to_thread(partial(_readings, metric, rows, ends, begin))
    return [Judged(end, each, holds(rule, each)) for end, each in zip(ends, readings, strict=False)]


def holds(rule: AlertRule, reading: Reading) -> bool | None:
    """Whether the condition is met. Too few requests meet none. A sum that is only a lower bound can be surely over,
    and is never surely under."""
    if reading.value is None or reading.sample < rule.min_requests:
        return False
    over = reading.value >= rule.threshold
    if rule.direction == "over":
        return None if reading.unpriced and not over else over
    return None if reading.unpriced and not over else not over


def fired(judged: Sequence[Judged], pace: Pace) -> list[bool]:
    """At which of these times the rule had held for as long as it must."""
    found, run = [], 0
    for each in judged:
        run = run + 1 if each.holds else 0
        found.append(run > pace.hold)
    return found


def state_of(judged: Sequence[Judged], pace: Pace) -> Literal["firing", "quiet", "between"]:
    """What it comes to at the last of these times. `between` is neither: what cannot be told resolves no alert."""
    found = fired(judged, pace)
    if found and found[-1]:
        return "firing"
    if any(found[-pace.quiet - 1 :]) or (judged and judged[-1].holds is None):
        return "between"
    return "quiet"


async def _used(gateway: Gateway, rule: AlertRule, pace: Pace, ends: Sequence[datetime], reads: Reads) -> list[Reading]:
    """The share of its limit that the fullest of the scope's budgets has used since its window began."""
    limits = await limits_of(gateway, rule)
    if not limits:
        return []
    begin = min((_BEGINS[window](ends[0]) for window, _ in limits), default=ends[0])
    rows = await reads.rows(rule, pace.granularity, (begin, ends[-1]))
    metric = METRICS[rule.metric]
    each = [
        [Reading((one.value or 0.0) / limit, one.sample, one.unpriced) for one in told]
        for window, limit in limits
        for told in [_readings(metric, rows, ends, _BEGINS[window])]
    ]
    return [max(column, key=lambda one: one.value or 0.0) for column in zip(*each, strict=True)]


async def limits_of(gateway: Gateway, rule: AlertRule) -> list[tuple[str, int]]:
    """The day and month budgets of the rule's scope, in nUSD, those of the org's policy among them."""
    storage, subject = gateway.storage, rule.subject or rule.org_id
    found: list[tuple[str, int]] = []
    if isinstance(storage, Governing):
        found = [
            (each.window, each.limit)
            for each in await storage.budgets.of_org(rule.org_id)
            if (each.level, each.subject) == (rule.scope, subject) and each.window in _BEGINS and each.limit
        ]
    if rule.scope == "org":
        policy = (await gateway.standings.of(rule.org_id)).policy
        named = {"day": policy.max_cost_per_day, "month": policy.max_cost_per_month}
        found += [(window, limit) for window, limit in named.items() if limit]
    return found


def _readings(metric: Metric, rows: Sequence[Row], ends: Sequence[datetime], begin: Begin) -> list[Reading]:
    return [metric.read(sums) for sums in slide(rows, ends, begin)]


def _midnight(end: datetime) -> datetime:
    return floor(end - timedelta(microseconds=1), "day")


_BEGINS: dict[str, Begin] = {"day": _midnight, "month": lambda end: _midnight(end).replace(day=1)}
