"""`anomalies`: the alerts that the service raised, as a report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from asahi_analytics.measures import METRICS
from asahi_analytics.ruling import RULE
from asahi_analytics.windows import orgs_of
from asahi_kernel.reports import EVERY_ORG, Scope, Told
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.judgements import Alert

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

SHOWN = timedelta(days=90)
#: Their values and words are money.
_COSTS = frozenset({"cost_spike", "daily_cost_spike"})
_COSTLY = tuple(f"{RULE}:{name}:" for name, metric in METRICS.items() if metric.money)


class AnomaliesAsked(Struct, frozen=True, kw_only=True):
    """`active` are those that are not resolved."""

    state: Literal["active", "all"] = "active"
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


async def anomalies(gateway: Gateway, scope: Scope, asked: AnomaliesAsked) -> Told:
    """Alerts, the newest first: the active ones, or all of 90 days. What tells of money is null without view_cost."""
    now = datetime.now(UTC)
    found: list[Alert] = []
    if isinstance(gateway.storage, Governing):
        kept = gateway.storage.repositories.alerts
        for org in await orgs_of(gateway.storage, scope):
            if asked.state == "active":
                found += await kept.unresolved(org, asked.limit)
            else:
                found += await kept.of_org(org, since=now - SHOWN, limit=asked.limit)
    found.sort(key=lambda alert: alert.detected_at, reverse=True)
    rows = [told(alert, scope) for alert in found[: asked.limit]]
    return Told(data=rows, start=now - SHOWN, end=now, table=rows)


def told(alert: Alert, scope: Scope) -> dict[str, Any]:
    """One alert as JSON-ready data."""
    costly = alert.anomaly_type in _COSTS or alert.metric_name.startswith(_COSTLY)
    hidden = costly and not scope.money
    named = {"org_id": alert.org_id} if scope.org == EVERY_ORG else {}
    return {
        "id": alert.alert_id,
        **named,
        "anomaly_type": alert.anomaly_type,
        "severity": alert.severity,
        "metric_name": alert.metric_name,
        "current_value": None if hidden else alert.current_value,
        "expected_value": None if hidden else alert.expected_value,
        "deviation_pct": None if hidden and alert.anomaly_type == RULE else alert.deviation_pct,
        "message": _unsaid(alert) if hidden else alert.message,
        "state": "resolved" if alert.resolved_at else "acknowledged" if alert.acknowledged_at else "active",
        "detected_at": alert.detected_at,
        "resolved_at": alert.resolved_at,
        "acknowledged_at": alert.acknowledged_at,
        "acknowledged_by": alert.acknowledged_by,
    }


def _unsaid(alert: Alert) -> str:
    return "a rule on costs fires" if alert.anomaly_type == RULE else "costs are far above normal"
