"""What was spent: `cost-breakdown`, told apart by one or two dimensions, and `cost-summary`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from asahi_analytics.causal import Arm, Causal, estimate, take
from asahi_analytics.periods import Ranged, Window, window_of
from asahi_analytics.windows import Groups, grouped, orgs_of, totals, whole
from asahi_kernel.money import dollars
from asahi_kernel.records import Event, EventQuery
from asahi_kernel.reports import Scope, Told
from asahi_kernel.rollups import Dimension, Sums, merge

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Storage

By: TypeAlias = Literal["model", "task_type", "user", "tier", "key", "agent_type"]
DIMENSIONS: dict[str, Dimension] = {
    "model": "model",
    "task_type": "task_type",
    "user": "user_id",
    "tier": "cache_tier",
    "key": "key_id",
    "agent_type": "agent_type",
}
TIERS = ("miss", "t1", "t2", "t3")
#: What has no model, user, key or agent type. No name has brackets.
NONE = "(none)"
_ARMS, _PAGE = 5_000, 250


class Breakdown(Ranged, frozen=True, kw_only=True):
    """What to tell costs apart by, and whether beside the stretch before."""

    group_by: By = "model"
    subgroup: By | None = None
    compare: Literal["none", "previous"] = "none"


async def cost_breakdown(gateway: Gateway, scope: Scope, asked: Breakdown) -> Told:
    """Cost by model, task_type, user, tier, key or agent_type, the largest first. `meta.rows` has requests, tokens,
    baseline and saved of each. A cost nobody knows is null."""
    window = window_of(asked)
    names = [asked.group_by, *([asked.subgroup] if asked.subgroup not in {None, asked.group_by} else [])]
    by = [DIMENSIONS[name] for name in names if name]
    found = await grouped(gateway.storage, scope, window, by)
    earlier = await grouped(gateway.storage, scope, window.before, by) if asked.compare == "previous" else None
    rows = [_row(names, key, sums, whole(found), earlier) for key, sums in ranked(found)]
    single: Groups = {}
    for key, sums in found.items():
        together = single.setdefault(key[:1], Sums(saved_by={}, sketch={}))
        merge(together, sums)
    data = {label(by[0], key[0]): cost_of(sums) for key, sums in ranked(single)}
    return Told(data=data, start=window.start, end=window.end, table=rows, more={"rows": rows})


class Summarised(Ranged, frozen=True, kw_only=True):
    """Nothing but the stretch."""


async def cost_summary(gateway: Gateway, scope: Scope, asked: Summarised) -> Told:
    """Cost, baseline, saving and hit rate in one."""
    window = window_of(asked)
    sums = await totals(gateway.storage, scope, window)
    data = summary_of(sums) | {
        "holdout": await holdout(gateway, scope, window),
        "uptime_seconds": round(time.monotonic() - gateway.started, 1),
    }
    return Told(data=data, start=window.start, end=window.end, table=[data | {"holdout": None}])


def summary_of(sums: Sums, *, money: bool = True) -> dict[str, Any]:
    """The totals that pages begin with. Money in dollars, shares as fractions of one."""
    asked = sums.hits + sums.misses
    paid: dict[str, Any] = {
        "total_cost": dollars(sums.cost),
        "baseline_cost": dollars(sums.baseline_cost),
        "cache_cost_saved": dollars(sums.cache_saved),
        "overhead_cost": dollars(sums.overhead_cost),
        "savings_percent": 100 * sums.saved / sums.baseline_cost if sums.baseline_cost else 0.0,
        "absolute_savings": dollars(sums.saved),
    }
    return {
        **(paid if money else dict.fromkeys(paid)),
        "total_requests": sums.requests,
        "unpriced_requests": sums.unpriced,
        "errors": sums.errors,
        "cache_hit_rate": sums.hits / asked if asked else 0.0,
        "avg_latency_ms": sums.latency_us / 1e3 / sums.requests if sums.requests else None,
        "avg_quality": sums.quality_milli / 1e3 / sums.quality_count if sums.quality_count else None,
        "quality_samples": sums.quality_count,
    }


async def holdout(gateway: Gateway, scope: Scope, window: Window) -> dict[str, Any] | None:
    """The measured saving of the window's newest requests, 5,000 of each org at most; None where none are held out."""
    if gateway.settings.savings.holdout_rate <= 0:
        return None
    arms = (Arm(), Arm())
    for org in await orgs_of(gateway.storage, scope):
        async for event in _newest(gateway.storage, org, window):
            take(*arms, event)
    return told_causal(estimate(*arms))


async def _newest(storage: Storage, org: str, window: Window) -> AsyncIterator[Event]:
    """In pages, so that others have their turn between them."""
    before: str | None = None
    for _ in range(_ARMS // _PAGE):
        query = EventQuery(start=window.start, end=window.end, before=before, limit=_PAGE)
        page = await storage.events.newest(org, query)
        for event in page:
            yield event
        if len(page) < _PAGE:
            return
        before = page[-1].request_id


def told_causal(found: Causal | None) -> dict[str, Any] | None:
    """An estimate as JSON-ready data, money in dollars."""
    if found is None:
        return None
    money = {name: dollars(getattr(found, name)) for name in ("saved", "low", "high")}
    return money | {"held_out": found.held_out, "compared": found.compared}


def ranked(groups: Groups) -> list[tuple[tuple[str | int, ...], Sums]]:
    """The largest cost first, ties by requests and name."""
    return sorted(groups.items(), key=lambda each: (-each[1].cost, -each[1].requests, tuple(map(str, each[0]))))


def label(dimension: Dimension, value: str | int) -> str:
    """The name of a group."""
    if dimension == "cache_tier":
        return TIERS[int(value)]
    return str(value) or NONE


def cost_of(sums: Sums) -> float | None:
    """In dollars; None where no request has a known price."""
    return None if sums.unpriced and sums.unpriced >= sums.requests else dollars(sums.cost)


def _row(
    names: list[Any], key: tuple[str | int, ...], sums: Sums, everything: Sums, earlier: Groups | None
) -> dict[str, Any]:
    row: dict[str, Any] = {name: label(DIMENSIONS[name], value) for name, value in zip(names, key, strict=True)}
    row |= {
        "cost": cost_of(sums),
        "share": sums.cost / everything.cost if everything.cost else 0.0,
        "requests": sums.requests,
        "avg_cost": dollars(sums.cost) / sums.requests if sums.requests else None,  # type: ignore[operator]
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "baseline": dollars(sums.baseline_cost),
        "saved": dollars(sums.saved),
        "overhead": dollars(sums.overhead_cost),
        "errors": sums.errors,
        "unpriced": sums.unpriced,
    }
    if earlier is not None:
        row["previous_cost"] = dollars(earlier[key].cost) if key in earlier else 0.0
    return row
