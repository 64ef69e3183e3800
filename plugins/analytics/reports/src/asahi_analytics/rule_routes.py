"""`/alerts/…`: the rules that an org makes itself, what each would have said, and how many alerts are open."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from litestar import Request, delete, get, post, put
from litestar.params import FromPath
from msgspec import Meta, Struct

from asahi_analytics.judging import limits_of
from asahi_analytics.measures import METRICS
from asahi_analytics.rehearsing import Rehearsal, rehearse
from asahi_analytics.ruling import RULE, metric_of
from asahi_analytics.telling import TELLER, Teller
from asahi_kernel import clock
from asahi_kernel.api.access import actor_of, principal_of
from asahi_kernel.api.bodies import body_of
from asahi_kernel.api.stored import stored
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.errors import Conflict, Denied, Invalid, NotFound
from asahi_kernel.identity import new_id
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.alert_rules import MOST, AlertRule

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories import Repositories
    from asahi_kernel.repositories.judgements import Alert
    from asahi_kernel.types import Principal

MetricName = Literal[
    "cost", "error_rate", "p95_latency", "hit_rate", "false_hit_rate", "budget_share", "tokens", "requests"
]


class Condition(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a rule fires. `threshold` is in dollars, milliseconds, tokens or requests, or a fraction of one; without
    `min_requests` rates and percentiles need 20."""

    metric: MetricName
    threshold: Annotated[float, Meta(gt=0, le=1e12)]
    scope: Literal["org", "key", "user", "model", "task"] = "org"
    subject: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    direction: Literal["over", "under"] = "over"
    window_minutes: Annotated[int, Meta(ge=5, le=43_200)] = 60
    for_minutes: Annotated[int, Meta(ge=0, le=720)] = 0
    min_requests: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None


class RuleBody(Condition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole rule."""

    name: Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
    severity: Literal["warning", "critical"] = "warning"
    enabled: bool = True


class RuleRow(Struct, frozen=True, kw_only=True):
    """A rule as it stands. `threshold` is null where it is money and the reader may not see it; `firing_since` is when
    its open alert was raised."""

    rule_id: str
    name: str
    metric: str
    scope: str
    subject: str | None
    direction: str
    threshold: float | None
    window_minutes: int
    for_minutes: int
    severity: str
    min_requests: int
    enabled: bool
    created_at: datetime
    updated_at: datetime
    updated_by: str | None
    firing_since: datetime | None


class RulePage(Struct, frozen=True, kw_only=True):
    """Every rule of the org, in the order they were made."""

    rules: tuple[RuleRow, ...]
    count: int
    limit: int = MOST


class AlertCount(Struct, frozen=True, kw_only=True):
    """Alerts that are not resolved: those that nobody has acknowledged, critical ones among them, and those that
    somebody has."""

    open: int
    critical: int
    acknowledged: int


def rule_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    """The handlers."""
    return [*_reading(gateway), *_changing(gateway)]


def _reading(gateway: Gateway) -> list[HTTPRouteHandler]:
    @get("/alerts/count", opt={"permission": "view_metrics"}, tags=["alerts"])
    async def counted(request: Request[Any, Any, Any]) -> AlertCount:
        """How many alerts are not resolved; of more than 500 the newest are counted."""
        found = await stored(gateway, _kept(gateway).alerts.unresolved(principal_of(request).org))
        fresh = [alert for alert in found if alert.acknowledged_at is None]
        critical = sum(alert.severity == "critical" for alert in fresh)
        return AlertCount(open=len(fresh), critical=critical, acknowledged=len(found) - len(fresh))

    @get("/alerts/rules", opt={"permission": "view_metrics"}, tags=["alerts"])
    async def listed(request: Request[Any, Any, Any]) -> RulePage:
        """The org's rules, and which of them fire."""
        principal, kept = principal_of(request), _kept(gateway)
        rules = await stored(gateway, kept.alert_rules.of_org(principal.org))
        alerts = await stored(gateway, kept.alerts.unresolved(principal.org))
        since = {alert.metric_name: alert.detected_at for alert in alerts if alert.anomaly_type == RULE}
        rows = tuple(_row(rule, principal, since.get(metric_of(rule))) for rule in rules)
        return RulePage(rules=rows, count=len(rows))

    @post("/alerts/rules/preview", opt={"permission": "manage_policy"}, tags=["alerts"], status_code=200)
    async def preview(request: Request[Any, Any, Any]) -> Rehearsal:
        """When a rule would have raised an alert in the last 30 days. Windows shorter than an hour are looked at as far
        back as sums by minute are kept: two days. Nothing is changed."""
        principal, given = principal_of(request), await body_of(request, Condition)
        rule = await _checked(gateway, principal, given)
        await gateway.journal.catch_up()
        return await stored(gateway, rehearse(gateway, rule, clock.now()))

    return [counted, listed, preview]


def _changing(gateway: Gateway) -> list[HTTPRouteHandler]:
    @post("/alerts/rules", opt={"permission": "manage_policy"}, tags=["alerts"], status_code=201)
    async def create(request: Request[Any, Any, Any]) -> RuleRow:
        """Make a rule. It is looked at within a minute."""
        principal, given = principal_of(request), await body_of(request, RuleBody)
        rule = await _checked(gateway, principal, given)
        return _row(await stored(gateway, _create(gateway, rule, actor_of(request))), principal)

    @put("/alerts/rules/{rule_id:str}", opt={"permission": "manage_policy"}, tags=["alerts"], status_code=200)
    async def change(request: Request[Any, Any, Any], rule_id: FromPath[str]) -> RuleRow:
        """Put a whole rule in the place of one. Its open alert is resolved: it was raised for other words."""
        principal = principal_of(request)
        await stored(gateway, _own(_kept(gateway), principal.org, rule_id))
        given = await body_of(request, RuleBody)
        rule = await _checked(gateway, principal, given)
        return _row(await stored(gateway, _change(gateway, rule_id, rule, actor_of(request))), principal)

    @delete("/alerts/rules/{rule_id:str}", opt={"permission": "manage_policy"}, tags=["alerts"], status_code=204)
    async def drop(request: Request[Any, Any, Any], rule_id: FromPath[str]) -> None:
        """Remove a rule, and resolve its open alert. Another org's answers 404, as an unknown one."""
        await stored(gateway, _drop(gateway, rule_id, actor_of(request)))

    return [create, change, drop]


async def _create(gateway: Gateway, rule: AlertRule, actor: Actor) -> AlertRule:
    async with _governing(gateway).together() as kept:
        if not await kept.alert_rules.add(rule):
            raise Conflict(f"an organisation has at most {MOST} alert rules; remove one first", code="too_many_rules")
        await kept.audit.append([_entry(actor, "alert_rule_update", rule)])
    return rule


async def _change(gateway: Gateway, rule_id: str, given: AlertRule, actor: Actor) -> AlertRule:
    async with _governing(gateway).together() as kept:
        old = await _own(kept, actor.org, rule_id)
        fixed = {name: getattr(old, name) for name in ("rule_id", "created_at", "version")}
        saved = await kept.alert_rules.save(msgspec.structs.replace(given, **fixed))
        if saved is None:
            raise Conflict("somebody else has just changed this rule", code="version_conflict")
        over = await _resolved(kept, old)
        await kept.audit.append([_entry(actor, "alert_rule_update", saved)])
    _tell(gateway, over)
    return saved


async def _drop(gateway: Gateway, rule_id: str, actor: Actor) -> None:
    async with _governing(gateway).together() as kept:
        old = await _own(kept, actor.org, rule_id)
        await kept.alert_rules.remove(actor.org, rule_id)
        over = await _resolved(kept, old)
        await kept.audit.append([_entry(actor, "alert_rule_delete", old)])
    _tell(gateway, over)


async def _resolved(kept: Repositories, rule: AlertRule) -> Alert | None:
    """The open alert of a rule that is not that rule any more."""
    alert, now = await kept.alerts.open_of(rule.org_id, metric_of(rule)), clock.now()
    if alert is None or not await kept.alerts.resolve(rule.org_id, alert.alert_id, now):
        return None
    return msgspec.structs.replace(alert, resolved_at=now)


def _tell(gateway: Gateway, alert: Alert | None) -> None:
    teller = gateway.shared.get(TELLER)
    if alert is not None and isinstance(teller, Teller):
        teller.tell("resolved", alert)


async def _checked(gateway: Gateway, principal: Principal, given: Condition) -> AlertRule:
    """The rule that a body means; raises `Invalid` for what could never be told, and `Denied` for money unseen."""
    metric, name = METRICS[given.metric], given.metric
    if metric.money and "view_cost" not in principal.permissions:
        raise Denied(f"a rule on {name} needs the permission 'view_cost'")
    if given.scope not in metric.scopes:
        raise Invalid(f"`scope` of {name} must be one of: {', '.join(metric.scopes)}", param="scope")
    if (given.scope == "org") != (given.subject is None):
        raise Invalid("`subject` names the key, user, model or task, and of the org there is none", param="subject")
    if metric.most is not None and given.threshold > metric.most:
        raise Invalid(f"`threshold` of {name} is a fraction of one, {metric.most:g} at most", param="threshold")
    now = clock.now()
    rule = AlertRule(
        rule_id=new_id(),
        org_id=principal.org,
        name=given.name if isinstance(given, RuleBody) else name,
        metric=name,
        scope=given.scope,
        subject=given.subject or "",
        direction=given.direction,
        threshold=given.threshold,
        window_min=given.window_minutes,
        for_min=given.for_minutes,
        severity=given.severity if isinstance(given, RuleBody) else "warning",
        min_requests=metric.enough if given.min_requests is None else given.min_requests,
        enabled=not isinstance(given, RuleBody) or given.enabled,
        created_at=now,
        updated_at=now,
        updated_by=principal.user,
    )
    if name == "budget_share" and not await stored(gateway, limits_of(gateway, rule)):
        raise Invalid(
            "`metric` budget_share: there is no budget by day or month of this scope; make one first", param="metric"
        )
    return rule


def _row(rule: AlertRule, principal: Principal, since: datetime | None = None) -> RuleRow:
    hidden = METRICS[rule.metric].money and "view_cost" not in principal.permissions
    same = ("rule_id", "name", "metric", "scope", "direction", "severity", "min_requests", "enabled")
    times = ("created_at", "updated_at", "updated_by")
    return RuleRow(
        **{name: getattr(rule, name) for name in (*same, *times)},
        subject=rule.subject or None,
        threshold=None if hidden else rule.threshold,
        window_minutes=rule.window_min,
        for_minutes=rule.for_min,
        firing_since=since,
    )


def _entry(actor: Actor, action: str, rule: AlertRule) -> Any:
    """The whole rule. An audit entry holds no numbers with a point."""
    named = ("name", "metric", "scope", "subject", "direction", "window_min", "for_min", "severity", "min_requests")
    told = {name: getattr(rule, name) for name in (*named, "enabled", "version")}
    return entry_of(actor, action, f"alert_rule/{rule.rule_id}", told | {"threshold": f"{rule.threshold:.12g}"})


async def _own(kept: Repositories, org: str, rule_id: str) -> AlertRule:
    found = await kept.alert_rules.get(org, rule_id) if len(rule_id) == 26 and rule_id.isalnum() else None
    if found is None:
        raise NotFound("there is no such rule")
    return found


def _governing(gateway: Gateway) -> Governing:
    if not isinstance(gateway.storage, Governing):
        raise NotFound("this storage keeps no alerts")
    return gateway.storage


def _kept(gateway: Gateway) -> Repositories:
    return _governing(gateway).repositories
