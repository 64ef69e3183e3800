"""`summary`: all that the dashboard's first page shows, in one answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from asahi_analytics.alerts import AnomaliesAsked, anomalies
from asahi_analytics.caching import performance
from asahi_analytics.inferences import Recent, recent_inferences
from asahi_analytics.periods import Ranged, Window, window_of
from asahi_analytics.spending import summary_of
from asahi_analytics.trends import between
from asahi_analytics.windows import Groups, grouped, saved_by, series, whole
from asahi_kernel.money import dollars
from asahi_kernel.reports import EVERY_ORG, Scope, Told
from asahi_kernel.rollups import Sums, merge

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway


class SummaryAsked(Ranged, frozen=True, kw_only=True):
    """`compare` adds the totals of the stretch before; `intervals` is how many points the lines have at most."""

    compare: Literal["none", "previous"] = "none"
    intervals: Annotated[int, Meta(ge=1, le=400)] = 48
    recent: Annotated[int, Meta(ge=0, le=100)] = 20


async def summary(gateway: Gateway, scope: Scope, asked: SummaryAsked) -> Told:
    """Totals, the stretch before, lines over time, costs by model, savings by technique, tiers, open alerts and the
    newest requests. Money is null without view_cost."""
    now = datetime.now(UTC)
    window = window_of(asked, now)
    found = await grouped(gateway.storage, scope, window, ("cache_tier", "model"))
    saved = await saved_by(gateway.storage, scope, window)
    totals, tiers = whole(found), _by(found, 0)
    data: dict[str, Any] = {"totals": summary_of(totals, money=scope.money), "previous": None}
    if asked.compare == "previous":
        earlier = whole(await grouped(gateway.storage, scope, window.before, ()))
        data["previous"] = summary_of(earlier, money=scope.money)
    data |= {
        "series": await lines(gateway, scope, window, asked.intervals),
        "by_model": _models(scope, _by(found, 1)),
        "saved_by": {name: dollars(amount) for name, amount in saved.items()} if scope.money else None,
        "cache": performance(gateway, scope, tiers, saved),
        "alerts": (await anomalies(gateway, scope, AnomaliesAsked())).data,
        "recent": await _recent(gateway, scope, asked.recent),
        "mock": gateway.mock,
    }
    return Told(data=data, start=window.start, end=window.end, table=data["series"])


async def lines(gateway: Gateway, scope: Scope, window: Window, most: int) -> list[dict[str, Any]]:
    """The figures that the page draws, in buckets of one width; the one that is not over yet is `partial`."""
    edges = between(window, most)
    buckets = await series(gateway.storage, scope, edges, window.now, ("cache_tier",))
    points = []
    for start, end, groups in zip(edges, edges[1:], buckets, strict=False):
        sums = whole(groups)
        asked = sums.hits + sums.misses
        point: dict[str, Any] = {
            "timestamp": start,
            "cost": dollars(sums.cost) if scope.money else None,
            "baseline_cost": dollars(sums.baseline_cost) if scope.money else None,
            "saved": dollars(sums.saved) if scope.money else None,
            "requests": sums.requests,
            "errors": sums.errors,
            "cache_hit_rate": sums.hits / asked if asked else None,
            **{f"t{tier}_hits": groups.get((tier,), Sums()).hits for tier in (1, 2, 3)},
        }
        points.append(point | ({"partial": True} if end >= window.now else {}))
    return points


def _by(found: Groups, place: int) -> Groups:
    groups: Groups = {}
    for key, sums in found.items():
        merge(groups.setdefault((key[place],), Sums(saved_by={}, sketch={})), sums)
    return groups


def _models(scope: Scope, found: Groups) -> list[dict[str, Any]]:
    ordered = sorted(found.items(), key=lambda each: (-each[1].cost, -each[1].requests, str(each[0])))
    return [
        {"model": str(model), "cost": dollars(sums.cost) if scope.money else None, "requests": sums.requests}
        for (model,), sums in ordered
        if model
    ]


async def _recent(gateway: Gateway, scope: Scope, limit: int) -> list[dict[str, Any]]:
    """None of all orgs: the operator reads their totals alone."""
    if scope.org == EVERY_ORG or not limit:
        return []
    rows: list[dict[str, Any]] = (await recent_inferences(gateway, scope, Recent(limit=limit))).data["inferences"]
    return rows
