"""`GET /metrics`: an org's totals as JSON, or the whole gateway's in Prometheus' form."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from litestar import Request, Response, get
from litestar.params import FromQuery

from asahi_kernel import clock
from asahi_kernel.api.access import principal_of
from asahi_kernel.api.scraping import exposed, form_of, may_scrape, scraped
from asahi_kernel.api.stored import stored
from asahi_kernel.asking import clocked, note_fault
from asahi_kernel.errors import Invalid
from asahi_kernel.money import dollars
from asahi_kernel.records import Totals
from asahi_kernel.tiers import ListingTier

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway

PERIODS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}


def metrics_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    @get("/metrics", opt={"permission": "view_metrics", "scrape": True}, tags=["metrics"])
    async def metrics(request: Request[Any, Any, Any], period: FromQuery[str] = "month") -> Response[Any]:
        """Totals of the key's org over `period`: hour, day, week, month or all. Money is null without view_cost. Who
        accepts `text/plain` or `application/openmetrics-text` rather than JSON is given the whole gateway's metrics for
        Prometheus: that is for the operator, or the scrape token."""
        if (form := form_of(request.headers.get("accept", ""))) != "json":
            if not scraped(request.scope):
                may_scrape(gateway, principal_of(request))
            return await exposed(gateway, form)
        since, principal = since_of(period), principal_of(request)
        await gateway.journal.catch_up()
        totals = await stored(gateway, gateway.storage.events.totals(principal.org, since))
        cached = await held(gateway, principal.org)
        told = tell(gateway, totals, cached)
        if "view_cost" not in principal.permissions:
            told |= dict.fromkeys(_MONEY)
        return Response(told, headers={"vary": "accept"})

    return [metrics]


def since_of(period: str) -> datetime | None:
    """When a period began; None for all time. Raises `Invalid`."""
    if period != "all" and period not in PERIODS:
        raise Invalid(f"period must be one of: {', '.join(PERIODS)}, all", param="period")
    return None if period == "all" else clock.now() - PERIODS[period]


async def held(gateway: Gateway, org: str) -> int:
    """Cache entries of an org. A tier that fails has none to tell of."""
    entries = 0
    for name, tier in gateway.tiers.items():
        try:
            async with clocked(gateway, name):
                if isinstance(tier, ListingTier):
                    entries += (await tier.stats(org)).entries
                else:
                    entries += len(await tier.entries(org))
        except Exception:  # noqa: BLE001 - fails open
            note_fault(gateway, "cache", name)
    return entries


_MONEY = (
    "total_cost",
    "baseline_cost",
    "overhead_cost",
    "cache_cost_saved",
    "cost_by_model",
    "savings_percent",
    "absolute_savings",
    "saved_by",
    "batching",
)


def tell(gateway: Gateway, totals: Totals, cached: int | None) -> dict[str, Any]:
    """Totals as JSON-ready data, money in dollars, shares as fractions of one. A request that a later tier answered was
    a miss of the earlier ones."""
    by_tier = [totals.hits_by_tier.get(tier, 0) for tier in (1, 2, 3)]
    hits = sum(by_tier)
    asked = hits + totals.misses
    baseline = gateway.registry.baseline
    told: dict[str, Any] = {
        "total_cost": dollars(totals.cost),
        "baseline_cost": dollars(totals.baseline_cost),
        "baseline_model": baseline.name if baseline else None,
        "overhead_cost": dollars(totals.overhead_cost),
        "requests": totals.requests,
        "unpriced_requests": totals.unpriced,
        "avg_latency_ms": totals.latency_ms / totals.requests if totals.requests else 0.0,
        "cache_hit_rate": hits / asked if asked else 0.0,
        "cache_cost_saved": dollars(totals.cache_saved),
        "cache_size": cached,
        "cost_by_model": {name: dollars(cost) for name, cost in sorted(totals.cost_by_model.items())},
        "requests_by_model": dict(sorted(totals.requests_by_model.items())),
        "savings_percent": 100 * totals.saved / totals.baseline_cost if totals.baseline_cost else 0.0,
        "absolute_savings": dollars(totals.saved),
        "saved_by": {name: dollars(amount) for name, amount in sorted(totals.saved_by.items())},
        "avg_quality": totals.quality / totals.quality_count if totals.quality_count else None,
        "errors": totals.errors,
        "uptime_seconds": round(time.monotonic() - gateway.started, 1),
    }
    for tier in (1, 2, 3):
        told[f"tier{tier}_hits"] = by_tier[tier - 1]
        told[f"tier{tier}_misses"] = totals.misses + sum(by_tier[tier:])
    return told | {"batching": {"saved": dollars(totals.saved_by.get("batching", 0))}}
