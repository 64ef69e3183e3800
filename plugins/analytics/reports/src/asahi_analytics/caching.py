"""`cache-performance`: what each tier answered, how quickly, what it kept, and how often the semantic one was wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from asahi_analytics.intervals import wilson
from asahi_analytics.periods import Ranged, window_of
from asahi_analytics.windows import Groups, grouped, saved_by, whole
from asahi_kernel.choice import TECHNIQUES
from asahi_kernel.money import dollars
from asahi_kernel.reports import Scope, Told
from asahi_kernel.rollups import Sums
from asahi_kernel.tiers import MeasuredTier

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway


class CacheAsked(Ranged, frozen=True, kw_only=True):
    """Nothing but the stretch."""


async def cache_performance(gateway: Gateway, scope: Scope, asked: CacheAsked) -> Told:
    """Hits, misses, latency and money saved of each tier. A request that a later tier answered was a miss of the
    earlier ones. Money is null without view_cost."""
    window = window_of(asked)
    found = await grouped(gateway.storage, scope, window, ("cache_tier",))
    data = performance(gateway, scope, found, await saved_by(gateway.storage, scope, window))
    rows = [{"tier": name, **each} for name, each in data.items() if isinstance(each, dict)]
    return Told(data=data, start=window.start, end=window.end, table=[{**row, "interval": None} for row in rows])


def performance(gateway: Gateway, scope: Scope, found: Groups, saved: Mapping[str, int]) -> dict[str, Any]:
    """The tiers' figures from sums by tier, and from what each technique saved."""
    together = whole(found)
    hits = [found.get((tier,), Sums()).hits for tier in (1, 2, 3)]
    data: dict[str, Any] = {f"tier_{tier}": _tier(found, tier, hits, together) for tier in (1, 2, 3)}
    for tier in (1, 2, 3):
        data[f"tier_{tier}"]["cost_saved"] = dollars(saved.get(TECHNIQUES[tier], 0)) if scope.money else None
    data["tier_2"] |= wrong(gateway, scope.org)
    data["tier_3"]["steps_reused"] = None
    asked = sum(hits) + together.misses
    return data | {"overall_hit_rate": sum(hits) / asked if asked else 0.0}


def _tier(found: Groups, tier: int, hits: list[int], together: Sums) -> dict[str, Any]:
    sums = found.get((tier,), Sums())
    misses = together.misses + sum(hits[tier:])
    asked = hits[tier - 1] + misses
    return {
        "hits": hits[tier - 1],
        "misses": misses,
        "hit_rate": hits[tier - 1] / asked if asked else 0.0,
        "avg_latency_ms": sums.latency_us / 1e3 / sums.requests if sums.requests else None,
    }


def wrong(gateway: Gateway, org: str) -> dict[str, Any]:
    """How often the semantic tier was wrong, as this process knows; null where nothing was looked at again."""
    false = seen = 0
    for tier in _measured(gateway.tiers.values()):
        for each in tier.precision(org):
            false, seen = false + each.false_hits, seen + each.labelled_hits
    return {
        "false_hits": false if seen else None,
        "labelled_hits": seen,
        "false_hit_rate": false / seen if seen else None,
        "interval": wilson(false, seen) if seen else None,
    }


def _measured(tiers: Iterable[object]) -> list[MeasuredTier]:
    return [tier for tier in tiers if isinstance(tier, MeasuredTier)]
