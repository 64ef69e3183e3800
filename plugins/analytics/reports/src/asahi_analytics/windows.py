"""Exact sums over stretches of time: whole days from the days' sums, what is left from hours, minutes and, where those
are kept no more, from the events. So a million events are never read, and every sum is that of the events."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TypeAlias

from msgspec import Struct

from asahi_analytics.periods import Window
from asahi_kernel.protocols import GroupingRollups, Storage
from asahi_kernel.reports import EVERY_ORG, Scope
from asahi_kernel.rollups import (
    KEPT,
    Dimension,
    Granularity,
    Key,
    Rollup,
    Span,
    Sums,
    count,
    floor,
    group,
    key_of,
    merge,
)

#: Sums by what they were told apart by, in the order asked for.
Groups: TypeAlias = dict[tuple[str | int, ...], Sums]
_LEVELS: tuple[Granularity, ...] = ("day", "hour", "minute")
_WIDTHS = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1))
_MARGIN = timedelta(hours=1)


class Piece(Struct, frozen=True):
    """A stretch that is read at once: from sums, or with None from the events. `without` are buckets that are read
    finer, since an edge lies within them."""

    granularity: Granularity | None
    start: datetime
    end: datetime
    without: frozenset[datetime] = frozenset()


async def orgs_of(storage: Storage, scope: Scope) -> Sequence[str]:
    """Whose events these are."""
    return sorted(await storage.ledger.heads()) if scope.org == EVERY_ORG else [scope.org]


async def totals(storage: Storage, scope: Scope, window: Window, *, detail: bool = False) -> Sums:
    """All of a window as one."""
    return whole(await grouped(storage, scope, window, (), detail=detail))


async def saved_by(storage: Storage, scope: Scope, window: Window) -> dict[str, int]:
    """What each technique saved in a window: what it has since its start, less what it has since its end. So no sketch
    is read, which is nearly all that `detail` costs."""
    found: dict[str, int] = {}
    for org in await orgs_of(storage, scope):
        since = (await storage.events.totals(org, window.start)).saved_by
        after = (await storage.events.totals(org, window.end)).saved_by if window.end < window.now else {}
        for name, amount in since.items():
            found[name] = found.get(name, 0) + amount - after.get(name, 0)
    return {name: amount for name, amount in sorted(found.items()) if amount}


async def grouped(
    storage: Storage, scope: Scope, window: Window, by: Sequence[Dimension], *, detail: bool = False
) -> Groups:
    """A window, told apart by these dimensions. `saved_by` and `sketch` come only with `detail`."""
    return (await series(storage, scope, (window.start, window.end), window.now, by, detail=detail))[0]


async def series(
    storage: Storage,
    scope: Scope,
    edges: Sequence[datetime],
    now: datetime,
    by: Sequence[Dimension] = (),
    *,
    detail: bool = False,
) -> list[Groups]:
    """The same for each stretch between two edges."""
    found: list[Groups] = [{} for _ in edges[1:]]
    pieces = plan(edges, now)
    for org in await orgs_of(storage, scope):
        for piece in pieces:
            async for key, sums in _read(storage, org, piece, edges, by, detail=detail):
                groups = found[bisect_right(edges, key.bucket) - 1]
                merge(groups.setdefault(tuple(getattr(key, name) for name in by), Sums()), sums)
    return found


async def rolled(
    storage: Storage,
    org: str,
    granularity: Granularity,
    spans: Sequence[Span],
    by: Sequence[Dimension],
    *,
    detail: bool = False,
) -> Sequence[Rollup]:
    """The sums of the buckets that begin in each span, told apart by these dimensions."""
    rollups = storage.rollups
    if isinstance(rollups, GroupingRollups):
        return await rollups.grouped(org, granularity, spans, by, detail=detail)
    found = []
    for start, end in spans:
        fine = [each async for each in rollups.between(org, granularity, start, end)]
        found += group(fine, start, by, detail=detail)
    return found


def whole(groups: Groups) -> Sums:
    """All groups as one."""
    together = Sums(saved_by={}, sketch={})
    for sums in groups.values():
        merge(together, sums)
    return together


def plan(edges: Sequence[datetime], now: datetime) -> list[Piece]:
    """Which sums cover these edges, each bucket wholly within one stretch."""
    narrowest = min(end - start for start, end in pairwise(edges))
    inner = edges[1:-1]
    level = 0
    while level < 2 and not _suits(inner, level, narrowest):
        level += 1
    return list(_cover(edges[0], edges[-1], inner, now, level))


def _suits(inner: Sequence[datetime], level: int, narrowest: timedelta) -> bool:
    return 4 * _WIDTHS[level] <= narrowest or all(floor(edge, _LEVELS[level]) == edge for edge in inner)


def _cover(
    start: datetime, end: datetime, inner: Sequence[datetime], now: datetime, level: int | None
) -> Iterator[Piece]:
    if start >= end:
        return
    if level is None:
        yield Piece(None, start, end)
        return
    granularity, width = _LEVELS[level], _WIDTHS[level]
    finer = level + 1 if level < 2 else None
    oldest = _ceiling(now - KEPT[granularity] + _MARGIN, level) if granularity in KEPT else start
    if start < oldest:
        yield from _cover(start, min(end, oldest), inner, now, None)
        start = min(end, oldest)
    # Nothing is later than now, so the last bucket may be read whole.
    first, last = _ceiling(start, level), _ceiling(end, level) if end >= now else floor(end, granularity)
    if first >= last:
        yield from _cover(start, end, inner, now, finer)
        return
    yield from _cover(start, first, inner, now, finer)
    cut = sorted({floor(edge, granularity) for edge in inner if first < edge < last} - set(inner))
    yield Piece(granularity, first, last, frozenset(cut))
    for bucket in cut:
        yield from _cover(bucket, bucket + width, [edge for edge in inner if bucket < edge], now, finer)
    yield from _cover(last, end, inner, now, finer)


def _ceiling(moment: datetime, level: int) -> datetime:
    start = floor(moment, _LEVELS[level])
    return start if start == moment else start + _WIDTHS[level]


async def _read(
    storage: Storage,
    org: str,
    piece: Piece,
    edges: Sequence[datetime],
    by: Sequence[Dimension],
    *,
    detail: bool,
) -> AsyncIterator[tuple[Key, Sums]]:
    if piece.granularity is None:
        async for event in storage.events.between(org, piece.start, piece.end):
            sums = Sums(saved_by={}, sketch={})
            count(sums, event)
            key = key_of(event, "minute")
            yield Key(**{**_fields(key), "bucket": event.timestamp}), sums  # type: ignore[arg-type]
        return
    for rollup in await rolled(storage, org, piece.granularity, _spans(piece, edges), by, detail=detail):
        yield rollup.key, rollup.sums


def _spans(piece: Piece, edges: Sequence[datetime]) -> list[Span]:
    """What of a piece lies between two edges, without the buckets that are read finer."""
    assert piece.granularity is not None
    width = _WIDTHS[_LEVELS.index(piece.granularity)]
    ends = {bucket: bucket + width for bucket in piece.without}
    cuts = sorted({piece.start, piece.end, *ends, *ends.values(), *(each for each in edges if each < piece.end)})
    return [(start, end) for start, end in pairwise(each for each in cuts if each >= piece.start) if start not in ends]


def _fields(key: Key) -> dict[str, object]:
    return {name: getattr(key, name) for name in Key.__struct_fields__}
