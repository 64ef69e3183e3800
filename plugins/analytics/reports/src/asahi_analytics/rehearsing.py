"""Rehearsing: when a rule would have fired, had there been one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from asahi_analytics.judging import Judged, Pace, ends_of, fired, judge, pace_of
from asahi_kernel.rollups import KEPT

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.alert_rules import AlertRule

BACK = timedelta(days=30)
_MARGIN = timedelta(hours=1)
#: Windows from so many minutes on are rehearsed by the hour, and so over all of the 30 days.
_BY_HOUR_MIN = 60


class Firing(Struct, frozen=True):
    """When an alert would have been raised, and over what value."""

    at: datetime
    value: float | None


class Rehearsal(Struct, frozen=True, kw_only=True):
    """What would have been between `start` and `end`, looked at every `step_minutes`. `unknown` counts the times at
    which it cannot be told, for requests without a known price; `now`, `sample` and `unpriced` are of the window that
    ends now, and null where there is nothing to look at."""

    start: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")
    step_minutes: int
    fired: int
    times: tuple[Firing, ...]
    unknown: int
    now: float | None
    sample: int
    unpriced: int
    requests_needed: int


async def rehearse(gateway: Gateway, rule: AlertRule, now: datetime) -> Rehearsal:
    """Windows of an hour or more, over 30 days by the hour; shorter ones by the minute, as far back as sums by minute
    reach. What is older than an org's first request is left out."""
    short = rule.window_min < _BY_HOUR_MIN and rule.metric != "budget_share"
    pace = pace_of(rule, "minute" if short else "hour")
    reach = KEPT["minute"] - _MARGIN - timedelta(minutes=rule.window_min) if short else BACK
    told = await judge(gateway, rule, pace, ends_of(rule, pace, now, int(reach / pace.step)))
    told = _since_the_first(told)
    last = told[-1].reading if told else None
    return Rehearsal(
        start=told[0].at - pace.step if told else now,
        end=now,
        step_minutes=int(pace.step / timedelta(minutes=1)),
        fired=len(times := _raised(told, pace, now)),
        times=tuple(times),
        unknown=sum(each.holds is None for each in told),
        now=last.value if last else None,
        sample=last.sample if last else 0,
        unpriced=last.unpriced if last else 0,
        requests_needed=rule.min_requests,
    )


def _since_the_first(told: list[Judged]) -> list[Judged]:
    first = next((number for number, each in enumerate(told) if each.reading.sample), None)
    return [] if first is None else told[first:]


def _raised(told: list[Judged], pace: Pace, now: datetime) -> list[Firing]:
    """One alert until it has been quiet, as with the real ones. A step that is not over yet fires now."""
    found: list[Firing] = []
    last: int | None = None
    for number, (each, fires) in enumerate(zip(told, fired(told, pace), strict=True)):
        if fires:
            if last is None:
                found.append(Firing(min(each.at, now), each.reading.value))
            last = number
        elif last is not None and number - last > pace.quiet and each.holds is not None:
            last = None
    return found
