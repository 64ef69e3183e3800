"""Which stretch of time a report is about: a period that ends now, or two times of the caller's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from asahi_kernel.errors import Invalid
from asahi_kernel.rollups import floor

Period: TypeAlias = Literal["hour", "day", "week", "month"]
WIDTHS: dict[Period, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
LONGEST = timedelta(days=400)
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,31}){0,2}")


class Ranged(Struct, frozen=True, kw_only=True):
    """The parameters that most reports share. `from` and `to` are ISO 8601 and stand for `period`; a time without an
    offset is of the zone `tz`."""

    period: Period = "day"
    start: str | None = field(default=None, name="from")
    end: str | None = field(default=None, name="to")
    tz: str = "UTC"


class Window(Struct, frozen=True, kw_only=True):
    """`[start, end)`, as it is in `zone`, seen at `now`."""

    start: datetime
    end: datetime
    now: datetime
    zone: ZoneInfo

    @property
    def before(self) -> Window:
        """The stretch of the same length that ends where this one begins."""
        return Window(start=self.start - (self.end - self.start), end=self.start, now=self.now, zone=self.zone)


def window_of(asked: Ranged, now: datetime | None = None) -> Window:
    """The window that is asked for; raises `Invalid`. A period begins on a whole minute, and from a week on at a whole
    hour, so that it is summed up from sums alone."""
    now = now or datetime.now(UTC)
    zone = zone_of(asked.tz)
    end = moment_of(asked.end, zone, "to") if asked.end else now
    width = WIDTHS[asked.period]
    begun = floor(end - width, "hour" if width > WIDTHS["day"] else "minute")
    start = moment_of(asked.start, zone, "from") if asked.start else begun
    if start >= end:
        raise Invalid("`from` must be before `to`", param="from")
    if end - start > LONGEST:
        raise Invalid("`from` and `to` may be 400 days apart at most", param="from")
    return Window(start=start, end=end, now=now, zone=zone)


def moment_of(text: str, zone: ZoneInfo, name: str) -> datetime:
    """A date or time of the caller's, in UTC."""
    try:
        found = datetime.fromisoformat(text)
        moment = (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"`{name}` must be an ISO 8601 date or time, as 2026-01-31T00:00:00Z", param=name) from None
    if not _FIRST <= moment < _LAST:
        raise Invalid(f"`{name}` must lie between 1970 and 2200", param=name)
    return moment


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name in the IANA database."""
    try:
        if _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        pass
    raise Invalid("`tz` must be a time zone's name, as Europe/Berlin or UTC", param="tz")


def midnight(moment: datetime, zone: ZoneInfo, days: int = 0) -> datetime:
    """The start of the day that a time falls into, so many days later, in UTC."""
    local = moment.astimezone(zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    return (local + timedelta(days=days)).replace(tzinfo=zone).astimezone(UTC)
