"""Past requests, read: one, a window of them, a page of them, and their sums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from asahi_kernel.records import Decision, Event, EventQuery, Totals
from asahi_kernel.rollups import KEPT, Granularity, add, floor, gather
from asahi_piccolo.coarse import WHOLE
from asahi_piccolo.database import Database, Row, Statement
from asahi_piccolo.eventrows import decision_of, event_of, moment

_CHUNK = 1_000
_MARGIN = timedelta(hours=1)

_FIND = Statement("SELECT * FROM inference_events WHERE request_id = $1 AND org_id = $2")
_ATTEMPTS = Statement(
    "SELECT * FROM provider_attempts WHERE request_id = ANY($1::text[]) ORDER BY request_id, n, id",
    """SELECT * FROM provider_attempts WHERE request_id IN (SELECT value FROM json_each($1))
    ORDER BY request_id, n, id""",
)
_BETWEEN = Statement(
    """SELECT * FROM inference_events
    WHERE org_id = $1 AND timestamp >= $2 AND timestamp < $3 AND (timestamp, request_id) > ($4, $5)
    ORDER BY timestamp, request_id LIMIT $6"""
)
_NEWEST = Statement(
    """SELECT * FROM inference_events WHERE org_id = $1
    AND ($2::timestamptz IS NULL OR timestamp >= $2) AND ($3::timestamptz IS NULL OR timestamp < $3)
    AND ($4::text IS NULL OR model_selected = $4) AND ($5::text IS NULL OR user_id = $5)
    AND ($6::text IS NULL OR key_id = $6) AND ($7::smallint IS NULL OR cache_tier = $7)
    AND ($8::text IS NULL OR status = $8) AND ($9::text IS NULL OR workflow_id = $9)
    AND request_id < COALESCE($10, 'z') ORDER BY request_id DESC LIMIT $11""",
    """SELECT * FROM inference_events WHERE org_id = $1
    AND ($2 IS NULL OR timestamp >= $2) AND ($3 IS NULL OR timestamp < $3)
    AND ($4 IS NULL OR model_selected = $4) AND ($5 IS NULL OR user_id = $5)
    AND ($6 IS NULL OR key_id = $6) AND ($7 IS NULL OR cache_tier = $7)
    AND ($8 IS NULL OR status = $8) AND ($9 IS NULL OR workflow_id = $9)
    AND request_id < COALESCE($10, 'z') ORDER BY request_id DESC LIMIT $11""",
)
_TOTALS = Statement(
    """SELECT model, cache_tier, CAST(SUM(requests) AS BIGINT) AS requests, CAST(SUM(hits) AS BIGINT) AS hits,
        CAST(SUM(misses) AS BIGINT) AS misses, CAST(SUM(errors) AS BIGINT) AS errors,
        CAST(SUM(unpriced) AS BIGINT) AS unpriced, CAST(SUM(cost_nano) AS BIGINT) AS cost,
        CAST(SUM(baseline_nano) AS BIGINT) AS baseline_cost, CAST(SUM(overhead_nano) AS BIGINT) AS overhead_cost,
        CAST(SUM(saved_nano) AS BIGINT) AS saved, CAST(SUM(cache_saved_nano) AS BIGINT) AS cache_saved,
        CAST(SUM(latency_us) AS BIGINT) AS latency_us, CAST(SUM(quality_milli) AS BIGINT) AS quality_milli,
        CAST(SUM(quality_count) AS BIGINT) AS quality_count
    FROM usage_rollups WHERE org_id = $1 AND granularity = $2 AND bucket >= $3 AND bucket < $4
    GROUP BY model, cache_tier"""
)
_SAVED_BY = Statement(
    """SELECT s.key, CAST(SUM(CAST(s.value AS BIGINT)) AS BIGINT) AS amount
    FROM usage_rollups u, jsonb_each_text(u.saved_by) AS s
    WHERE u.org_id = $1 AND u.granularity = $2 AND u.bucket >= $3 AND u.bucket < $4 GROUP BY s.key""",
    """SELECT s.key, SUM(s.value) AS amount FROM usage_rollups u, json_each(u.saved_by) AS s
    WHERE u.org_id = $1 AND u.granularity = $2 AND u.bucket >= $3 AND u.bucket < $4 GROUP BY s.key""",
)
_DECISION = Statement("SELECT record FROM decisions WHERE request_id = $1 AND org_id = $2")
#: The plus keeps SQLite from reading all of an org's, along the index of its times.
_DECISIONS = Statement(
    "SELECT request_id, record FROM decisions WHERE org_id = $1 AND request_id = ANY($2::text[])",
    "SELECT request_id, record FROM decisions WHERE +org_id = $1 AND request_id IN (SELECT value FROM json_each($2))",
)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)


class StoredEvents:
    """Pages and windows are read along indexes, sums from rollups: neither grows slower with the number of events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, org: str, request_id: str) -> Event | None:
        """The request, if it is this org's."""
        found = await self._whole(await self._database.fetch(_FIND, request_id, org))
        return found[0] if found else None

    async def between(self, org: str, start: datetime, end: datetime) -> AsyncIterator[Event]:
        """Oldest first, in chunks: memory is bounded, and no connection is held meanwhile."""
        after: tuple[datetime, str] = (start, "")
        while True:
            rows = await self._database.fetch(_BETWEEN, org, start, end, *after, _CHUNK)
            for event in await self._whole(rows):
                yield event
            if len(rows) < _CHUNK:
                return
            after = moment(rows[-1]["timestamp"]), rows[-1]["request_id"]

    async def newest(self, org: str, query: EventQuery) -> Sequence[Event]:
        """A page."""
        filters = (query.start, query.end, query.model, query.user_id, query.key_id, query.tier, query.status)
        rest = (query.workflow_id, query.before, query.limit)
        return await self._whole(await self._database.fetch(_NEWEST, org, *filters, *rest))

    async def totals(self, org: str, since: datetime | None) -> Totals:
        """Whole days from the days' sums, what is before the first whole day from finer ones, and what is before the
        first whole minute from the events."""
        totals = Totals()
        if since is None:
            await self._add(totals, org, "day", _FIRST, _LAST)
            return totals
        oldest = datetime.now(UTC) - since + _MARGIN
        steps: list[Granularity] = ["minute", "hour", "day"]
        usable = [each for each in steps if each not in KEPT or oldest < KEPT[each]]
        at = since
        edge = _ceiling(at, usable[0])
        if at < edge:
            await self._add_events(totals, org, at, edge)
        for step, wider in zip(usable, [*usable[1:], None], strict=True):
            end = _LAST if wider is None else _ceiling(edge, wider)
            if edge < end:
                await self._add(totals, org, step, edge, end)
            edge = end
        return totals

    async def _add_events(self, totals: Totals, org: str, start: datetime, end: datetime) -> None:
        batch: list[Event] = []
        async for event in self.between(org, start, end):
            batch.append(event)
            if len(batch) == _CHUNK:
                _add_batch(totals, batch)
                batch = []
        _add_batch(totals, batch)

    async def _add(self, totals: Totals, org: str, granularity: Granularity, start: datetime, end: datetime) -> None:
        coarse = WHOLE[granularity]
        for row in await self._database.fetch(_TOTALS, org, coarse, start, end):
            _add_row(totals, row)
        for row in await self._database.fetch(_SAVED_BY, org, coarse, start, end):
            totals.saved_by[row["key"]] = totals.saved_by.get(row["key"], 0) + row["amount"]

    async def _whole(self, rows: Sequence[Row]) -> list[Event]:
        """Rows with their attempts."""
        ids = [row["request_id"] for row in rows if row["attempts"]]
        attempts: defaultdict[str, list[Row]] = defaultdict(list)
        if ids:
            for attempt in await self._database.fetch(_ATTEMPTS, ids):
                attempts[attempt["request_id"]].append(attempt)
        return [event_of(row, attempts[row["request_id"]]) for row in rows]


class StoredDecisions:
    """Decision records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, org: str, request_id: str) -> Decision | None:
        """Why, if the request is this org's."""
        rows = await self._database.fetch(_DECISION, request_id, org)
        return decision_of(rows[0]) if rows else None

    async def many(self, org: str, request_ids: Sequence[str]) -> Mapping[str, Decision]:
        """Why, of the org's own among these requests."""
        rows = await self._database.fetch(_DECISIONS, org, list(request_ids)) if request_ids else ()
        return {row["request_id"]: decision_of(row) for row in rows}


def _ceiling(moment: datetime, granularity: Granularity) -> datetime:
    """The first start of a bucket at or after a time."""
    start = floor(moment, granularity)
    width = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}[granularity]
    return start if start == moment else start + width


def _add_batch(totals: Totals, events: Iterable[Event]) -> None:
    for rollup in gather(events):
        if rollup.key.granularity == "day":
            add(totals, rollup)


_SUMS = (
    "requests",
    "errors",
    "unpriced",
    "cost",
    "baseline_cost",
    "overhead_cost",
    "saved",
    "cache_saved",
    "quality_count",
    "misses",
)


def _add_row(totals: Totals, row: Row) -> None:
    for name in _SUMS:
        setattr(totals, name, getattr(totals, name) + row[name])
    totals.latency_ms += row["latency_us"] / 1e3
    totals.quality += row["quality_milli"] / 1e3
    model, tier = row["model"], row["cache_tier"]
    if model:
        totals.cost_by_model[model] = totals.cost_by_model.get(model, 0) + row["cost"]
        totals.requests_by_model[model] = totals.requests_by_model.get(model, 0) + row["requests"]
    if row["hits"]:
        totals.hits_by_tier[tier] = totals.hits_by_tier.get(tier, 0) + row["hits"]
