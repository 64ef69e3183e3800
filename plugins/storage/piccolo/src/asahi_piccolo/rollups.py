"""Rollups as rows: added to by the books in the same transaction as the events, so they always equal their sum."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar

import msgspec

from asahi_kernel.rollups import Dimension, Granularity, Key, Rollup, Span, Sums, merge, narrowed
from asahi_piccolo.coarse import beside, kept_under
from asahi_piccolo.database import Database, Row, Session, Statement
from asahi_piccolo.eventrows import moment
from asahi_piccolo.records import joined
from asahi_piccolo.sqlite import stamp

_KEY = ("org_id", "granularity", "bucket", "user_id", "key_id", "model", "task_type", "agent_type", "cache_tier")
_NUMBERS = {
    "requests": "requests",
    "hits": "hits",
    "misses": "misses",
    "errors": "errors",
    "unpriced": "unpriced",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cost": "cost_nano",
    "baseline_cost": "baseline_nano",
    "overhead_cost": "overhead_nano",
    "saved": "saved_nano",
    "cache_saved": "cache_saved_nano",
    "latency_us": "latency_us",
    "quality_milli": "quality_milli",
    "quality_count": "quality_count",
}
_CHUNK = 2_000
#: From this many on, work is done in a thread.
_MANY = 200
_DIMENSIONS: tuple[Dimension, ...] = (
    "bucket",
    "user_id",
    "key_id",
    "model",
    "task_type",
    "agent_type",
    "cache_tier",
)
_TOLD = ("user_id", "key_id", "model", "task_type", "agent_type", "cache_tier")
_Place: TypeAlias = tuple[Any, ...]
T = TypeVar("T")

#: What the documents hold so far. Numbers are added by the database, documents here: both under the books' lock.
_DOCUMENTS = Statement(
    """SELECT u.org_id, u.granularity, u.bucket, u.user_id, u.key_id, u.model, u.task_type, u.agent_type, u.cache_tier,
        u.saved_by, u.latency_sketch
    FROM json_to_recordset($1::json) AS k(org_id text, granularity text, bucket timestamptz, user_id text, key_id text,
        model text, task_type text, agent_type text, cache_tier smallint)
    JOIN usage_rollups u USING (org_id, granularity, bucket, user_id, key_id, model, task_type, agent_type,
        cache_tier)""",
    """SELECT u.org_id, u.granularity, u.bucket, u.user_id, u.key_id, u.model, u.task_type, u.agent_type, u.cache_tier,
        u.saved_by, u.latency_sketch
    FROM json_each($1) k CROSS JOIN usage_rollups u ON u.org_id = json_extract(k.value, '$.org_id')
        AND u.granularity = json_extract(k.value, '$.granularity')
        AND u.bucket = json_extract(k.value, '$.bucket')
        AND u.user_id = json_extract(k.value, '$.user_id')
        AND u.key_id = json_extract(k.value, '$.key_id')
        AND u.model = json_extract(k.value, '$.model')
        AND u.task_type = json_extract(k.value, '$.task_type')
        AND u.agent_type = json_extract(k.value, '$.agent_type')
        AND u.cache_tier = json_extract(k.value, '$.cache_tier')""",
)
_ADD = Statement(
    """INSERT INTO usage_rollups (org_id, granularity, bucket, user_id, key_id, model, task_type, agent_type,
        cache_tier, requests, hits, misses, errors, unpriced, input_tokens, output_tokens, cost_nano, baseline_nano,
        overhead_nano, saved_nano, cache_saved_nano, latency_us, quality_milli, quality_count, saved_by, latency_sketch)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
        $24, $25, $26)
    ON CONFLICT (org_id, granularity, bucket, user_id, key_id, model, task_type, agent_type, cache_tier) DO UPDATE SET
        requests = usage_rollups.requests + EXCLUDED.requests,
        hits = usage_rollups.hits + EXCLUDED.hits,
        misses = usage_rollups.misses + EXCLUDED.misses,
        errors = usage_rollups.errors + EXCLUDED.errors,
        unpriced = usage_rollups.unpriced + EXCLUDED.unpriced,
        input_tokens = usage_rollups.input_tokens + EXCLUDED.input_tokens,
        output_tokens = usage_rollups.output_tokens + EXCLUDED.output_tokens,
        cost_nano = usage_rollups.cost_nano + EXCLUDED.cost_nano,
        baseline_nano = usage_rollups.baseline_nano + EXCLUDED.baseline_nano,
        overhead_nano = usage_rollups.overhead_nano + EXCLUDED.overhead_nano,
        saved_nano = usage_rollups.saved_nano + EXCLUDED.saved_nano,
        cache_saved_nano = usage_rollups.cache_saved_nano + EXCLUDED.cache_saved_nano,
        latency_us = usage_rollups.latency_us + EXCLUDED.latency_us,
        quality_milli = usage_rollups.quality_milli + EXCLUDED.quality_milli,
        quality_count = usage_rollups.quality_count + EXCLUDED.quality_count,
        saved_by = EXCLUDED.saved_by, latency_sketch = EXCLUDED.latency_sketch"""
)
_BETWEEN = Statement(
    """SELECT * FROM usage_rollups
    WHERE org_id = $1 AND granularity = $2 AND bucket >= $3 AND bucket < $4 AND (bucket, id) > ($5, $6)
    ORDER BY bucket, id LIMIT $7"""
)
_NAMED = Statement("SELECT * FROM usage_rollups WHERE org_id = $1 AND user_id <> ''")
_NAMED_SO = Statement("SELECT * FROM usage_rollups WHERE org_id = $1 AND user_id = $2")
_REMOVE = Statement("DELETE FROM usage_rollups WHERE id = $1")
#: A dimension that is not asked for is the same in all rows of a span, so the groups fall together.
_TOTALS = """CAST(SUM(requests) AS BIGINT) AS requests, CAST(SUM(hits) AS BIGINT) AS hits,
        CAST(SUM(misses) AS BIGINT) AS misses, CAST(SUM(errors) AS BIGINT) AS errors,
        CAST(SUM(unpriced) AS BIGINT) AS unpriced, CAST(SUM(input_tokens) AS BIGINT) AS input_tokens,
        CAST(SUM(output_tokens) AS BIGINT) AS output_tokens, CAST(SUM(cost_nano) AS BIGINT) AS cost_nano,
        CAST(SUM(baseline_nano) AS BIGINT) AS baseline_nano, CAST(SUM(overhead_nano) AS BIGINT) AS overhead_nano,
        CAST(SUM(saved_nano) AS BIGINT) AS saved_nano, CAST(SUM(cache_saved_nano) AS BIGINT) AS cache_saved_nano,
        CAST(SUM(latency_us) AS BIGINT) AS latency_us, CAST(SUM(quality_milli) AS BIGINT) AS quality_milli,
        CAST(SUM(quality_count) AS BIGINT) AS quality_count"""
_SUMMED = """SELECT CASE WHEN $5 THEN u.bucket ELSE b.value END AS bucket,
        CASE WHEN $6 THEN user_id ELSE '' END AS user_id,
        CASE WHEN $7 THEN key_id ELSE '' END AS key_id, CASE WHEN $8 THEN model ELSE '' END AS model,
        CASE WHEN $9 THEN task_type ELSE '' END AS task_type, CASE WHEN $10 THEN agent_type ELSE '' END AS agent_type,
        CASE WHEN $11 THEN cache_tier ELSE 0 END AS cache_tier,
        {totals}
    FROM {source} WHERE u.org_id = $1 AND u.granularity = $2 AND u.bucket >= b.value AND u.bucket < {ended}
    GROUP BY 1, 2, 3, 4, 5, 6, 7"""
#: PostgreSQL reads span by span, each along the index.
_GROUPED = Statement(
    " ".join(
        (
            "SELECT g.* FROM unnest($3::timestamptz[], $4::timestamptz[]) AS b(value, ended) CROSS JOIN LATERAL (",
            _SUMMED.format(totals=_TOTALS, source="usage_rollups u", ended="b.ended"),
            ") AS g",
        )
    ),
    _SUMMED.format(
        totals=_TOTALS,
        source="json_each($3) b CROSS JOIN usage_rollups u",
        ended="json_extract($4, '$[' || b.key || ']')",
    ),
)

_ONE = ("SELECT bucket,", _TOTALS, "FROM usage_rollups"), "GROUP BY bucket"
_ONE_SKETCH = ("SELECT bucket, latency_sketch FROM usage_rollups",), ""

_key = attrgetter(*_KEY)
_numbers = attrgetter(*_NUMBERS)
_encode = msgspec.json.Encoder().encode
_amounts = msgspec.json.Decoder(dict[str, int]).decode
_sketch = msgspec.json.Decoder(dict[int, int]).decode


async def add_rollups(session: Session, rollups: Sequence[Rollup]) -> None:
    """Add what a batch came to. Call it under the books' lock."""
    if not rollups:
        return
    added, wanted = await apart(len(rollups), lambda: _gathered(rollups))
    found = await session.fetch(_DOCUMENTS, wanted)
    await session.many(_ADD, await apart(len(rollups), lambda: _rows(added, found)))


async def unnamed(session: Session, org: str, user: str | None) -> int:
    """Add the sums of a user, or of everybody, to those that name nobody; how many there were. Call it under the
    books' lock. Of the coarse sums only those of one user name anybody."""
    rows = await session.fetch(*((_NAMED, org) if user is None else (_NAMED_SO, org, user)))
    added: dict[_Place, Sums] = {}
    for row in rows:
        place = _place({**row, "user_id": ""})
        merge(added.setdefault(place, Sums()), _rollup(row).sums)
    await session.many(_REMOVE, [(row["id"],) for row in rows])
    for start in range(0, len(added), _CHUNK):
        part = dict(list(added.items())[start : start + _CHUNK])
        found = await session.fetch(_DOCUMENTS, _wanted(part))
        await session.many(_ADD, _rows(part, found))
    return len(rows)


async def apart(size: int, work: Callable[[], T]) -> T:
    """Much work is done in a thread: the loop has requests to serve."""
    return work() if size < _MANY else await asyncio.to_thread(work)


class StoredRollups:
    """Reads in chunks, so that memory is bounded however many there are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def between(
        self, org: str, granularity: Granularity, start: datetime, end: datetime
    ) -> AsyncIterator[Rollup]:
        """In the order of their buckets."""
        async for rows in self._pages(org, granularity, start, end):
            for row in rows:
                yield _rollup(row)

    async def grouped(
        self,
        org: str,
        granularity: Granularity,
        spans: Sequence[Span],
        by: Collection[Dimension],
        *,
        detail: bool = False,
    ) -> Sequence[Rollup]:
        """Summed up by the database, from the coarsest sums that tell enough. Documents are summed up here, which is
        ten times as fast."""
        kept = kept_under(granularity, by, documents=detail)
        begun, ended = [list(edges) for edges in zip(*spans, strict=True)]
        rows = await self._database.fetch(_GROUPED, org, kept, begun, ended, *(name in by for name in _DIMENSIONS))
        found = await apart(len(rows), partial(_grouped, rows, org, granularity))
        if detail and found:
            async for page in self._pages(org, kept, begun[0], ended[-1]):
                await apart(len(page), partial(_document, found, page, spans, by))
        return [Rollup(key, sums) for key, sums in found.items()]

    async def of_one(
        self,
        org: str,
        granularity: Granularity,
        span: Span,
        dimension: Dimension,
        value: str,
        *,
        detail: bool = False,
    ) -> Sequence[tuple[datetime, Sums]]:
        """The dimension is looked at within the index, so the others' rows are not read."""
        kept = kept_under(granularity, (dimension,), documents=detail)
        asked = (org, kept, *span, value)
        rows = await self._database.fetch(_of_one(_ONE, dimension), *asked)
        found = {
            moment(row["bucket"]): Sums(
                **{name: row[column] for name, column in _NUMBERS.items()}, saved_by={}, sketch={}
            )
            for row in rows
        }
        if detail and found:
            rows = await self._database.fetch(_of_one(_ONE_SKETCH, dimension), *asked)
            await apart(len(rows), partial(_sketched, found, rows))
        return sorted(found.items())

    async def _pages(self, org: str, kept: str, start: datetime, end: datetime) -> AsyncIterator[Sequence[Row]]:
        after: tuple[datetime, int] = (start, 0)
        while True:
            rows = await self._database.fetch(_BETWEEN, org, kept, start, end, *after, _CHUNK)
            yield rows
            if len(rows) < _CHUNK:
                return
            after = moment(rows[-1]["bucket"]), rows[-1]["id"]


def _gathered(rollups: Sequence[Rollup]) -> tuple[dict[_Place, Sums], str]:
    """The sums to add, fine and coarse, and their places as JSON."""
    added: dict[_Place, Sums] = {}
    for rollup in rollups:
        key = rollup.key
        added[_key(key)] = rollup.sums
        bare = msgspec.structs.replace(rollup.sums, saved_by={}, sketch={})
        for coarse in beside(key.granularity):
            place = _key(narrowed(key, coarse.dimensions, key.bucket))
            named = (place[0], coarse.names[key.granularity], *place[2:])
            merge(added.setdefault(named, Sums()), rollup.sums if coarse.documents else bare)
    return added, _wanted(added)


def _wanted(places: Iterable[_Place]) -> str:
    """The time stands as both engines read it and as SQLite compares it."""
    return _encode([dict(zip(_KEY, (*each[:2], stamp(each[2]), *each[3:]), strict=True)) for each in places]).decode()


def _rows(added: Mapping[_Place, Sums], found: Sequence[Row]) -> list[tuple[Any, ...]]:
    old = {_place(row): row for row in found}
    return [_row(place, sums, old.get(place)) for place, sums in added.items()]


def _place(row: Row) -> _Place:
    return tuple(moment(row[name]) if name == "bucket" else row[name] for name in _KEY)


def _row(place: _Place, sums: Sums, old: Row | None) -> tuple[Any, ...]:
    saved_by, sketch = sums.saved_by, sums.sketch
    if old is not None:
        saved_by = _added(_amounts(old["saved_by"]), saved_by)
        sketch = _added(_sketch(old["latency_sketch"]), sketch)
    return (*place, *_numbers(sums), _encode(saved_by).decode(), _encode(sketch).decode())


def _added(into: dict[Any, int], other: dict[Any, int]) -> dict[Any, int]:
    for name, amount in other.items():
        into[name] = into.get(name, 0) + amount
    return into


def _rollup(row: Row) -> Rollup:
    dimensions: dict[str, Any] = dict(zip(_KEY, _place(row), strict=True))
    numbers = {name: row[column] for name, column in _NUMBERS.items()}
    return Rollup(
        Key(**dimensions), Sums(**numbers, saved_by=_amounts(row["saved_by"]), sketch=_sketch(row["latency_sketch"]))
    )


def _grouped(rows: Sequence[Row], org: str, granularity: Granularity) -> dict[Key, Sums]:
    return {
        Key(
            org_id=org,
            granularity=granularity,
            bucket=moment(row["bucket"]),
            **{name: row[name] for name in _TOLD},
        ): Sums(**{name: row[column] for name, column in _NUMBERS.items()}, saved_by={}, sketch={})
        for row in rows
    }


@lru_cache
def _of_one(asked: tuple[tuple[str, ...], str], dimension: Dimension) -> Statement:
    head, end = asked
    where = "WHERE org_id = $1 AND granularity = $2 AND bucket >= $3 AND bucket < $4 AND"
    return joined(*head, where, _TOLD[_TOLD.index(dimension)], "= $5", end)


def _sketched(found: Mapping[datetime, Sums], rows: Sequence[Row]) -> None:
    for row in rows:
        _added(found[moment(row["bucket"])].sketch, _sketch(row["latency_sketch"]))


def _document(found: Mapping[Key, Sums], rows: Sequence[Row], spans: Sequence[Span], by: Collection[Dimension]) -> None:
    """Add what each technique saved, and the latencies, to the sums that they belong to."""
    (any_key, *_) = found
    bare: dict[str, Any] = {"org_id": any_key.org_id, "granularity": any_key.granularity}
    told = [name for name in _TOLD if name in by]
    begun = [start for start, _ in spans]
    for row in rows:
        bucket = moment(row["bucket"])
        start, end = spans[bisect_right(begun, bucket) - 1]
        if bucket >= end:
            continue
        sums = found[Key(**bare, bucket=bucket if "bucket" in by else start, **{name: row[name] for name in told})]
        _added(sums.saved_by, _amounts(row["saved_by"]))
        _added(sums.sketch, _sketch(row["latency_sketch"]))
