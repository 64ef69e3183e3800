"""Rollups: usage summed up by minute, hour and day, so that totals never read a million events.

Every number is an integer, so that sums are exact in any order and equal the sum of the events. Times are kept in
microseconds, quality in thousandths.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from msgspec import Struct

from asahi_kernel.records import OWN, Event, Totals

N = TypeVar("N", str, int)
Granularity: TypeAlias = Literal["minute", "hour", "day"]
GRANULARITIES: tuple[Granularity, ...] = ("minute", "hour", "day")
#: Rollups by minute and by hour are kept so long at least; beyond it the events themselves are read.
KEPT: Mapping[Granularity, timedelta] = {"minute": timedelta(hours=48), "hour": timedelta(days=90)}
#: What sums can be told apart by.
Dimension: TypeAlias = Literal["bucket", "user_id", "key_id", "model", "task_type", "agent_type", "cache_tier"]
BY_BUCKET: tuple[Dimension, ...] = ("bucket",)
#: `[start, end)`.
Span: TypeAlias = tuple[datetime, datetime]
#: Relative error of a percentile read from a sketch (DDSketch, arXiv 1908.10693).
ACCURACY = 0.01
_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = math.log(_GAMMA)


class Key(Struct, frozen=True, kw_only=True):
    """What a rollup sums over. Absent user, key or agent type is the empty text."""

    granularity: Granularity
    bucket: datetime
    org_id: str
    user_id: str = ""
    key_id: str = ""
    model: str = ""
    task_type: str = ""
    agent_type: str = ""
    cache_tier: int = 0


class Sums(Struct, kw_only=True):
    """Money in nUSD. `misses` are answers that no tier had; `unpriced` requests have no known cost. `sketch` counts
    latencies by DDSketch bucket."""

    requests: int = 0
    hits: int = 0
    misses: int = 0
    errors: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    baseline_cost: int = 0
    overhead_cost: int = 0
    saved: int = 0
    cache_saved: int = 0
    latency_us: int = 0
    quality_milli: int = 0
    quality_count: int = 0
    saved_by: dict[str, int] = {}
    sketch: dict[int, int] = {}


class Rollup(Struct, frozen=True):
    """The sums of one key."""

    key: Key
    sums: Sums


@runtime_checkable
class SingleRollups(Protocol):
    """Rollups that can be read of one user, key, model or task alone, and so without all the others'."""

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
        """By bucket, ascending, without empty ones. `saved_by` is empty, and `sketch` too but with `detail`."""


def floor(time: datetime, granularity: Granularity) -> datetime:
    """The start of the bucket that a time falls into."""
    minute = time.replace(second=0, microsecond=0)
    if granularity == "minute":
        return minute
    hour = minute.replace(minute=0)
    return hour if granularity == "hour" else hour.replace(hour=0)


def gather(events: Iterable[Event]) -> list[Rollup]:
    """What a batch of events adds to the rollups, one for each key."""
    found: dict[Key, Sums] = {}
    for event in events:
        for granularity in GRANULARITIES:
            count(found.setdefault(key_of(event, granularity), Sums()), event)
    return [Rollup(key, sums) for key, sums in found.items()]


def key_of(event: Event, granularity: Granularity) -> Key:
    """The rollup that an event belongs to."""
    return Key(
        granularity=granularity,
        bucket=floor(event.timestamp, granularity),
        org_id=event.org_id,
        user_id=event.user_id or "",
        key_id=event.key_id or "",
        model=event.model_selected,
        task_type=event.task_type,
        agent_type=event.agent_type or "",
        cache_tier=event.cache_tier,
    )


def count(sums: Sums, event: Event) -> None:
    """Count one event. What Asahi asks of its own accord is no request: it only costs."""
    if event.route == OWN:
        sums.cost += event.cost or 0
        sums.overhead_cost += event.overhead_cost
        sums.saved += event.saved
        sums.unpriced += event.cost is None
        _add(sums.saved_by, event.saved_by)
        return
    sums.requests += 1
    sums.hits += event.cache_hit
    sums.misses += not event.cache_hit and event.status == "ok"
    sums.errors += event.status == "failed"
    sums.unpriced += event.cost is None
    sums.input_tokens += event.input_tokens
    sums.output_tokens += event.output_tokens
    sums.cost += event.cost or 0
    sums.baseline_cost += event.baseline_cost
    sums.overhead_cost += event.overhead_cost
    sums.saved += event.saved
    sums.cache_saved += event.saved if event.cache_hit else 0
    sums.latency_us += round(event.latency_ms * 1e3)
    if event.quality_score is not None:
        sums.quality_milli += round(event.quality_score * 1e3)
        sums.quality_count += 1
    _add(sums.saved_by, event.saved_by)
    _add(sums.sketch, {bucket_of(event.latency_ms): 1})


def merge(into: Sums, other: Sums) -> None:
    """Add one to the other."""
    for name in _NUMBERS:
        setattr(into, name, getattr(into, name) + getattr(other, name))
    _add(into.saved_by, other.saved_by)
    _add(into.sketch, other.sketch)


def group(
    rollups: Iterable[Rollup], start: datetime, by: Collection[Dimension], *, detail: bool = False
) -> list[Rollup]:
    """Rollups summed up over the dimensions that are not in `by`: those are empty then, and the bucket is `start`.
    `saved_by` and `sketch` are summed up only with `detail`."""
    found: dict[Key, Sums] = {}
    for rollup in rollups:
        bucket = rollup.key.bucket if "bucket" in by else start
        merge(found.setdefault(narrowed(rollup.key, by, bucket), Sums()), rollup.sums)
    if not detail:
        for sums in found.values():
            sums.saved_by, sums.sketch = {}, {}
    return [Rollup(key, sums) for key, sums in found.items()]


def narrowed(key: Key, by: Collection[Dimension], bucket: datetime) -> Key:
    """A key that tells only these dimensions apart."""
    return Key(
        granularity=key.granularity,
        bucket=bucket,
        org_id=key.org_id,
        user_id=key.user_id if "user_id" in by else "",
        key_id=key.key_id if "key_id" in by else "",
        model=key.model if "model" in by else "",
        task_type=key.task_type if "task_type" in by else "",
        agent_type=key.agent_type if "agent_type" in by else "",
        cache_tier=key.cache_tier if "cache_tier" in by else 0,
    )


def add(totals: Totals, rollup: Rollup) -> None:
    """Add a rollup to an org's totals."""
    key, sums = rollup.key, rollup.sums
    totals.requests += sums.requests
    totals.errors += sums.errors
    totals.unpriced += sums.unpriced
    totals.cost += sums.cost
    totals.baseline_cost += sums.baseline_cost
    totals.overhead_cost += sums.overhead_cost
    totals.saved += sums.saved
    totals.latency_ms += sums.latency_us / 1e3
    totals.quality += sums.quality_milli / 1e3
    totals.quality_count += sums.quality_count
    totals.misses += sums.misses
    if key.model:
        _add(totals.cost_by_model, {key.model: sums.cost})
        _add(totals.requests_by_model, {key.model: sums.requests})
    _add(totals.saved_by, sums.saved_by)
    totals.cache_saved += sums.cache_saved
    if sums.hits:
        _add(totals.hits_by_tier, {key.cache_tier: sums.hits})


def bucket_of(latency_ms: float) -> int:
    """The sketch's bucket for a latency: bucket i holds (gamma^(i-1), gamma^i] milliseconds."""
    return math.ceil(math.log(max(latency_ms, 1e-3)) / _LOG_GAMMA)


def percentile(sketch: Mapping[int, int], share: float) -> float | None:
    """The latency in ms at a share of 0..1 by nearest rank, within `ACCURACY`; None of nothing."""
    total = sum(sketch.values())
    rank = max(1, math.ceil(share * total))
    for bucket in sorted(sketch):
        rank -= sketch[bucket]
        if rank <= 0:
            return float(2 * _GAMMA**bucket / (_GAMMA + 1))
    return None


_NUMBERS = tuple(name for name in Sums.__struct_fields__ if name not in {"saved_by", "sketch"})


def _add(into: dict[N, int], other: Mapping[N, int]) -> None:
    for name, amount in other.items():
        into[name] = into.get(name, 0) + amount
