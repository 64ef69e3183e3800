"""`latency-percentiles` and `model-performance`: how fast, how good and how reliable answers were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from asahi_analytics.intervals import of_mean
from asahi_analytics.periods import Period, Ranged, Window, window_of
from asahi_analytics.spending import NONE, cost_of
from asahi_analytics.windows import grouped
from asahi_kernel.reports import EVERY_ORG, Scope, Told
from asahi_kernel.repositories import Governing
from asahi_kernel.rollups import Sums, merge, percentile

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

SHARES = (50, 75, 90, 95, 99)
_JUDGEMENTS = 5_000


class Percentiles(Ranged, frozen=True, kw_only=True):
    """Of one model's answers, or of one tier's; 0 is no tier."""

    model: str | None = None
    tier: Annotated[int, Meta(ge=0, le=3)] | None = None


async def latency_percentiles(gateway: Gateway, scope: Scope, asked: Percentiles) -> Told:
    """Latency in milliseconds at p50 to p99 by nearest rank, within 1 %; null where there was no request."""
    window = window_of(asked)
    together = Sums(saved_by={}, sketch={})
    for (model, tier), sums in (
        await grouped(gateway.storage, scope, window, ("model", "cache_tier"), detail=True)
    ).items():
        if asked.model in {None, model} and asked.tier in {None, tier}:
            merge(together, sums)
    data: dict[str, Any] = {f"p{share}": percentile(together.sketch, share / 100) for share in SHARES}
    data["count"] = sum(together.sketch.values())
    return Told(data=data, start=window.start, end=window.end, table=[data])


class Performance(Ranged, frozen=True, kw_only=True):
    """Nothing but the stretch."""

    period: Period = "week"


async def model_performance(gateway: Gateway, scope: Scope, asked: Performance) -> Told:
    """Requests, cost, quality, latency and errors of each model. Quality is what people and judges said, with its
    interval, else what was predicted. Cost is null without view_cost."""
    window = window_of(asked)
    found = await grouped(gateway.storage, scope, window, ("model",), detail=True)
    judged = await _judged(gateway, scope, window)
    rows = [
        {"model": str(model) or NONE, **_row(scope, sums, judged.get(str(model), []))}
        for (model,), sums in sorted(found.items(), key=lambda each: (-each[1].requests, str(each[0])))
    ]
    flat = [row | {"interval": None} for row in rows]
    return Told(data=rows, start=window.start, end=window.end, table=flat)


def _row(scope: Scope, sums: Sums, scores: list[float]) -> dict[str, Any]:
    predicted = sums.quality_milli / 1e3 / sums.quality_count if sums.quality_count else None
    return {
        "requests": sums.requests,
        "hits": sums.hits,
        "cost": cost_of(sums) if scope.money else None,
        "avg_quality": sum(scores) / len(scores) if scores else predicted,
        "quality_source": "judged" if scores else "predicted" if sums.quality_count else None,
        "quality_samples": len(scores) or sums.quality_count,
        "interval": of_mean(scores),
        "p50": percentile(sums.sketch, 0.50),
        "p95": percentile(sums.sketch, 0.95),
        "error_rate": sums.errors / sums.requests if sums.requests else None,
    }


async def _judged(gateway: Gateway, scope: Scope, window: Window) -> dict[str, list[float]]:
    """Scores by model; signs that are no judgement are left out."""
    storage, found = gateway.storage, dict[str, list[float]]()
    if scope.org == EVERY_ORG or not isinstance(storage, Governing):
        return found
    for each in await storage.repositories.quality.of_org(scope.org, since=window.start, limit=_JUDGEMENTS):
        if each.source != "implicit" and each.timestamp < window.end:
            found.setdefault(each.model, []).append(each.score)
    return found
