"""`savings`: what was saved, by which technique, what the holdout measured, and how the ledger stands."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from asahi_analytics.intervals import wilson
from asahi_analytics.periods import Period, Ranged, Window, window_of
from asahi_analytics.sampling import sample
from asahi_analytics.spending import DIMENSIONS, cost_of, holdout, label, ranked
from asahi_analytics.windows import grouped, saved_by, totals
from asahi_kernel.ledger import GENESIS, Head
from asahi_kernel.money import dollars
from asahi_kernel.reports import EVERY_ORG, Scope, Told
from asahi_kernel.rollups import Sums

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

_TOP = 5


class SavingsAsked(Ranged, frozen=True, kw_only=True):
    """With `detail`: the comparison with the baseline, what costs most, and the predicted hit rate."""

    period: Period = "month"
    detail: bool = False


async def savings(gateway: Gateway, scope: Scope, asked: SavingsAsked) -> Told:
    """Baseline, cost, overhead and what is left as saved, by technique; negative where Asahi cost more. `detail=true`
    adds the comparison with the baseline model, the top cost drivers and the predicted hit rate."""
    window = window_of(asked)
    sums = await totals(gateway.storage, scope, window)
    techniques = await saved_by(gateway.storage, scope, window)
    data: dict[str, Any] = {
        "baseline_cost": dollars(sums.baseline_cost),
        "cost": dollars(sums.cost),
        "overhead_cost": dollars(sums.overhead_cost),
        "saved": dollars(sums.saved),
        "saved_by": {name: dollars(amount) for name, amount in techniques.items()},
        "unpriced_requests": sums.unpriced,
        "causal": await holdout(gateway, scope, window),
        "ledger": await ledger(gateway, scope),
    }
    table = [{"technique": name, "saved": amount} for name, amount in data["saved_by"].items()]
    if asked.detail:
        data["comparison"] = compare_to_baseline(gateway, sums)
        data["top_cost_drivers"] = await drivers(gateway, scope, window)
        data["predicted_hit_rate"] = await predicted_hit_rate(gateway, scope, window.now)
    return Told(data=data, start=window.start, end=window.end, table=table)


def compare_to_baseline(gateway: Gateway, sums: Sums) -> dict[str, Any]:
    """What was paid beside what the baseline model would have asked."""
    baseline = gateway.registry.baseline
    return {
        "baseline_model": baseline.name if baseline else None,
        "baseline_cost": dollars(sums.baseline_cost),
        "actual_cost": dollars(sums.cost + sums.overhead_cost),
        "savings": dollars(sums.saved),
        "savings_pct": 100 * sums.saved / sums.baseline_cost if sums.baseline_cost else 0.0,
        "cache_contribution_pct": 100 * sums.cache_saved / sums.saved if sums.saved > 0 else 0.0,
    }


async def drivers(gateway: Gateway, scope: Scope, window: Window) -> list[dict[str, Any]]:
    """The five most expensive pairs of model and task."""
    found = await grouped(gateway.storage, scope, window, (DIMENSIONS["model"], DIMENSIONS["task_type"]))
    whole = sum(sums.cost for sums in found.values())
    return [
        {
            "model": label("model", key[0]),
            "task_type": label("task_type", key[1]),
            "cost": cost_of(sums),
            "share": sums.cost / whole if whole else 0.0,
            "requests": sums.requests,
        }
        for key, sums in ranked(found)[:_TOP]
    ]


async def predicted_hit_rate(gateway: Gateway, scope: Scope, now: datetime) -> dict[str, Any] | None:
    """The share of the last week's requests that a cache had an answer near enough for: those it answered, and those
    whose neighbour was held back by a bound, a policy or caution. None without requests, and for all orgs."""
    if scope.org == EVERY_ORG:
        return None
    sampled = [each for each in await sample(gateway.storage, scope.org, now) if each.event.status == "ok"]
    weight = sum(each.weight for each in sampled)
    if not weight:
        return None
    near = sum(
        each.weight
        for each in sampled
        if each.event.cache_hit
        or (each.decision is not None and any(lookup.similarity is not None for lookup in each.decision.lookups))
    )
    low, high = wilson(round(near / weight * len(sampled)), len(sampled))
    return {"rate": near / weight, "low": low, "high": high, "sampled": len(sampled)}


async def ledger(gateway: Gateway, scope: Scope) -> dict[str, Any]:
    """How long the chain is, where it ends, and when the alerts' service last found that it verifies."""
    heads = await gateway.storage.ledger.heads()
    if scope.org == EVERY_ORG:
        return {"size": sum(head.seq for head in heads.values()), "root": None, "verified_at": None}
    head = heads.get(scope.org, Head())
    verified: dict[str, datetime] = gateway.shared.get("analytics.verified", {})
    root = head.entry_hash if head.seq else GENESIS
    return {"size": head.seq, "root": root, "verified_at": verified.get(scope.org)}
