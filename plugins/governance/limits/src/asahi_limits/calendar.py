"""Windows of the UTC calendar: when they began, and when they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

Window: TypeAlias = Literal["request", "day", "month"]


def start_of(window: Window, now: datetime) -> datetime:
    """When the window that `now` is in began; a request's is always the same, since it has no sum."""
    now = now.astimezone(UTC)
    if window == "month":
        return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if window == "day":
        return now.replace(hour=0, minute=0, second=0, microsecond=0)
    return datetime(1970, 1, 1, tzinfo=UTC)


def end_of(window: Window, now: datetime) -> datetime | None:
    """When it ends; a request's never does."""
    start = start_of(window, now)
    if window == "day":
        return start + timedelta(days=1)
    if window == "month":
        return (start + timedelta(days=32)).replace(day=1)
    return None
