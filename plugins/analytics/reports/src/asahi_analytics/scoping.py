"""Scoping: the sums of an org, or of one key, user, model or task, by bucket; read once for all rules that look."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from asahi_analytics.anomalies import slice_of
from asahi_analytics.measures import METRICS
from asahi_analytics.sliding import Row
from asahi_analytics.windows import rolled
from asahi_kernel.repositories import Governing
from asahi_kernel.rollups import Dimension, Granularity, SingleRollups, Span, Sums, floor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asahi_kernel.protocols import Storage
    from asahi_kernel.repositories.alert_rules import AlertRule

_LABELS = 10_000
_DIMENSIONS: dict[str, Dimension] = {"key": "key_id", "user": "user_id", "model": "model", "task": "task_type"}
_Place: TypeAlias = tuple[str, str, str, Granularity, str]


class Reads:
    """Holds what was read for as long as one look takes."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._held: dict[_Place, tuple[Span, Sequence[Row]]] = {}

    async def rows(self, rule: AlertRule, granularity: Granularity, span: Span) -> Sequence[Row]:
        """What a rule looks at within a span, ascending, without empty buckets."""
        checked, detail = rule.metric == "false_hit_rate", METRICS[rule.metric].detail
        kinds = ("checked",) if checked else ("detail",) if detail else ("sums", "detail")
        for kind in kinds:
            place = (rule.org_id, rule.scope, rule.subject, granularity, kind)
            held = self._held.get(place)
            if held is not None and held[0][0] <= span[0] and span[1] <= held[0][1]:
                return slice_of(held[1], *span)
        if checked:
            found = await _checked(self._storage, rule.org_id, granularity, span)
        else:
            found = await _summed(self._storage, rule, granularity, span, detail=detail)
        self._held[rule.org_id, rule.scope, rule.subject, granularity, kinds[0]] = span, found
        return found


def widest_first(rule: AlertRule) -> tuple[bool, int]:
    """In which order rules share most of what they read."""
    metric = METRICS.get(rule.metric)
    return metric is None or not metric.detail, -rule.window_min - rule.for_min


async def _summed(
    storage: Storage, rule: AlertRule, granularity: Granularity, span: Span, *, detail: bool
) -> Sequence[Row]:
    if rule.scope == "org":
        told = await rolled(storage, rule.org_id, granularity, [span], ("bucket",), detail=detail)
        return sorted(((each.key.bucket, each.sums) for each in told), key=lambda row: row[0])
    dimension, rollups = _DIMENSIONS[rule.scope], storage.rollups
    if isinstance(rollups, SingleRollups):
        return await rollups.of_one(rule.org_id, granularity, span, dimension, rule.subject, detail=detail)
    told = await rolled(storage, rule.org_id, granularity, [span], ("bucket", dimension), detail=detail)
    own = [each for each in told if getattr(each.key, dimension) == rule.subject]
    return sorted(((each.key.bucket, each.sums) for each in own), key=lambda row: row[0])


async def _checked(storage: Storage, org: str, granularity: Granularity, span: Span) -> Sequence[Row]:
    """Cached answers that were looked at again, and of those the wrong ones as errors."""
    found: dict[datetime, Sums] = {}
    if isinstance(storage, Governing):
        for each in await storage.repositories.labels.of_org(org, since=span[0], limit=_LABELS):
            if each.source != "miss" and each.timestamp < span[1]:
                sums = found.setdefault(floor(each.timestamp, granularity), Sums(saved_by={}, sketch={}))
                sums.requests += 1
                sums.errors += not each.correct
    return sorted(found.items())
