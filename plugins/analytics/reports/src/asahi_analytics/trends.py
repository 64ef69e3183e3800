"""`trends`: one figure over time, in buckets of one width that begin where the reader's days and hours do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from asahi_analytics.periods import WIDTHS, Period, Ranged, Window, midnight, window_of, zone_of
from asahi_analytics.spending import DIMENSIONS, label
from asahi_analytics.windows import Groups, series, whole
from asahi_kernel.errors import Denied, Invalid
from asahi_kernel.money import dollars
from asahi_kernel.reports import Scope, Told
from asahi_kernel.rollups import KEPT, Sums, floor, percentile

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

Metric: TypeAlias = Literal["cost", "latency", "requests", "cache_hit_rate", "saved", "quality", "errors", "tokens"]
MONEY = frozenset({"cost", "saved"})
#: Between two times, the narrowest of these that needs no more buckets than asked for.
LADDER = tuple(timedelta(minutes=each) for each in (1, 5, 15, 30, 60, 180, 360, 720, 1_440, 10_080, 43_200))
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_OLDEST = datetime(1971, 1, 1, tzinfo=UTC)


class Trend(Ranged, frozen=True, kw_only=True):
    """Without `from` and `to`: so many intervals of one `period` each, up to now."""

    metric: Metric = "cost"
    intervals: Annotated[int, Meta(ge=1, le=1_000)] = 30
    split_by: Literal["model", "tier"] | None = None


async def trends(gateway: Gateway, scope: Scope, asked: Trend) -> Told:
    """A metric over time: cost, latency (mean and p95), requests, cache_hit_rate, saved, quality, errors or tokens. An
    empty bucket is 0 for counts and null for means; one that is not over yet is `partial`."""
    if asked.metric in MONEY and not scope.money:
        raise Denied(f"the trend of {asked.metric} needs the permission 'view_cost'")
    now = datetime.now(UTC)
    edges = edges_of(asked, now)
    by = [DIMENSIONS[asked.split_by]] if asked.split_by else []
    found = await series(gateway.storage, scope, edges, now, by, detail=asked.metric == "latency")
    points = [
        _point(asked, start, end, groups, now) for start, end, groups in zip(edges, edges[1:], found, strict=False)
    ]
    rows = [{name: value for name, value in each.items() if name != "by"} | each.get("by", {}) for each in points]
    return Told(data=points, start=edges[0], end=min(edges[-1], now), table=rows)


def edges_of(asked: Trend, now: datetime) -> list[datetime]:
    """Where the buckets begin and end."""
    if asked.start is None and asked.end is None:
        return settled(counted(asked.period, asked.intervals, asked.tz, now), now)
    return between(window_of(asked, now), asked.intervals)


def settled(edges: Sequence[datetime], now: datetime) -> list[datetime]:
    """Edges that fall within an hour, as midnight does in some zones, are moved to the next whole hour once minutes are
    kept no more: events are not read by the hundred thousand for half an hour's difference."""
    kept = now - KEPT["minute"] + timedelta(hours=2)
    moved = [edge if edge >= kept or floor(edge, "hour") == edge else floor(edge, "hour") + _HOUR for edge in edges]
    return [edge for at, edge in enumerate(moved) if not at or edge > moved[at - 1]]


def counted(period: Period, intervals: int, tz: str, now: datetime) -> list[datetime]:
    """So many buckets, of which the last holds now. Days end at midnight in the zone, also when a day has 23 hours."""
    zone = zone_of(tz)
    if period == "hour":
        end = _aligned(now, timedelta(hours=1), now.astimezone(zone).utcoffset() or timedelta()) + WIDTHS["hour"]
        edges = [end - WIDTHS["hour"] * each for each in range(intervals, -1, -1)]
    else:
        days = WIDTHS[period].days
        if intervals * days > 20_000:
            raise Invalid("`intervals` of that `period` reach back before there was anything", param="intervals")
        edges = [midnight(now, zone, 1 - days * each) for each in range(intervals, -1, -1)]
    return edges


def between(window: Window, most: int) -> list[datetime]:
    """The edges of at most so many buckets within a window; the first and the last may be cut short."""
    width = next((each for each in LADDER if _count(window, each) <= most), window.end - window.start)
    inner, edge = [], _first(window, width)
    while edge < window.end:
        if edge > window.start:
            inner.append(edge)
        edge = _next(window, edge, width)
    inner = [edge for edge in settled(inner, window.now) if window.start < edge < window.end]
    return [window.start, *(inner if len(inner) < most else ()), window.end]


def value_of(metric: Metric, sums: Sums) -> float | int | None:
    """What a bucket comes to: money in dollars, latency in ms, rates as fractions of one."""
    match metric:
        case "cost":
            return dollars(sums.cost)
        case "saved":
            return dollars(sums.saved)
        case "requests":
            return sums.requests
        case "errors":
            return sums.errors
        case "tokens":
            return sums.input_tokens + sums.output_tokens
        case "latency":
            return sums.latency_us / 1e3 / sums.requests if sums.requests else None
        case "cache_hit_rate":
            return sums.hits / (sums.hits + sums.misses) if sums.hits + sums.misses else None
        case "quality":
            return sums.quality_milli / 1e3 / sums.quality_count if sums.quality_count else None


def _point(asked: Trend, start: datetime, end: datetime, groups: Groups, now: datetime) -> dict[str, Any]:
    together = whole(groups)
    point: dict[str, Any] = {"timestamp": start, "value": value_of(asked.metric, together)}
    if asked.metric == "latency":
        point |= {f"p{share}": percentile(together.sketch, share / 100) for share in (50, 95, 99)}
    if asked.split_by:
        dimension = DIMENSIONS[asked.split_by]
        named = {label(dimension, key[0]): value_of(asked.metric, sums) for key, sums in groups.items()}
        point["by"] = dict(sorted(named.items()))
    if end > now:
        point["partial"] = True
    return point


def _count(window: Window, width: timedelta) -> int:
    return -(-(window.end - _first(window, width)) // width)


def _first(window: Window, width: timedelta) -> datetime:
    if width >= _DAY:
        return midnight(window.start, window.zone)
    return _aligned(window.start, width, window.start.astimezone(window.zone).utcoffset() or timedelta())


def _next(window: Window, edge: datetime, width: timedelta) -> datetime:
    return midnight(edge, window.zone, width.days) if width >= _DAY else edge + width


def _aligned(moment: datetime, width: timedelta, offset: timedelta) -> datetime:
    """The start of the bucket of a width below a day, counted from midnight at this offset."""
    return moment - (moment + offset - _OLDEST) % width


def daily(edges: Sequence[datetime], found: Sequence[Groups]) -> list[tuple[datetime, Sums]]:
    """Each bucket's start with its sums."""
    return [(start, whole(groups)) for start, groups in zip(edges, found, strict=False)]
