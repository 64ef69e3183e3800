"""Ruling: looks whether the rules that orgs made themselves fire, in one worker at a time."""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from asahi_analytics.judging import Judged, ends_of, judge, pace_of, state_of
from asahi_analytics.measures import METRICS
from asahi_analytics.scoping import Reads, widest_first
from asahi_kernel import clock
from asahi_kernel.identity import new_id
from asahi_kernel.repositories.judgements import Alert
from asahi_kernel.turns import my_turn

if TYPE_CHECKING:
    from asahi_analytics.telling import Teller
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories import Governing
    from asahi_kernel.repositories.alert_rules import AlertRule

log = logging.getLogger("asahi.alerts")

#: The type of every alert that such a rule raises.
RULE = "rule"


class RuleWatch:
    """Raises and resolves. There is one open alert of a rule at most."""

    def __init__(self, gateway: Gateway, governing: Governing, teller: Teller, interval_s: float = 60.0) -> None:
        self._gateway = gateway
        self._governing = governing
        self._teller = teller
        self._interval_s = interval_s

    async def look(self, now: datetime | None = None) -> None:
        """Unless another worker has looked since the last time."""
        operator = self._gateway.settings.governance.operator_org
        # A little less than the interval, so that who looked last is not late for its own next turn.
        if await my_turn(self._gateway.storage, operator, "alert rules", 0.9 * self._interval_s):
            await self.look_at_all(now or clock.now())

    async def look_at_all(self, now: datetime) -> None:
        """A rule that fails does not keep the others from being looked at."""
        rules = defaultdict(list)
        for rule in await self._governing.repositories.alert_rules.enabled():
            rules[rule.org_id].append(rule)
        for org, own in sorted(rules.items()):
            alerts = await self._governing.repositories.alerts.unresolved(org)
            known = {alert.metric_name: alert for alert in alerts if alert.anomaly_type == RULE}
            reads = Reads(self._gateway.storage)
            for rule in sorted(own, key=widest_first):
                try:
                    await self._look_at(rule, known.get(metric_of(rule)), now, reads)
                except Exception as error:  # noqa: BLE001 - the next look comes in a minute
                    self._gateway.faults["alerts.rules"] += 1
                    log.warning("a rule of an org could not be looked at (%s)", type(error).__name__)

    async def _look_at(self, rule: AlertRule, alert: Alert | None, now: datetime, reads: Reads) -> None:
        pace = pace_of(rule)
        ends = ends_of(rule, pace, now, pace.hold + pace.quiet + 1)
        judged = await judge(self._gateway, rule, pace, ends, reads)
        state = state_of(judged, pace)
        if judged and judged[-1].holds is None:
            self._gateway.faults["alerts.rules.unpriced"] += 1
        if state == "firing" and alert is None:
            await self._raise(rule, judged[-1], now)
        elif state == "quiet" and alert is not None:
            await self._resolve(alert, now)

    async def _raise(self, rule: AlertRule, judged: Judged, now: datetime) -> None:
        alert = alert_of(rule, judged, now)
        async with self._governing.together() as kept:
            current = await kept.alert_rules.get(rule.org_id, rule.rule_id)
            if current is None or current.version != rule.version:
                return
            if await kept.alerts.open_of(rule.org_id, alert.metric_name) is not None:
                return
            await kept.alerts.raise_alert(alert)
        self._teller.tell("raised", alert)

    async def _resolve(self, alert: Alert, now: datetime) -> None:
        if await self._governing.repositories.alerts.resolve(alert.org_id, alert.alert_id, now):
            self._teller.tell("resolved", msgspec.structs.replace(alert, resolved_at=now))


def metric_of(rule: AlertRule) -> str:
    """What the alerts of a rule go by."""
    return f"rule:{rule.metric}:{rule.rule_id}"


def alert_of(rule: AlertRule, judged: Judged, now: datetime) -> Alert:
    """What a rule that fires has to say."""
    value = judged.reading.value or 0.0
    return Alert(
        alert_id=new_id(),
        org_id=rule.org_id,
        anomaly_type=RULE,
        severity=rule.severity,
        metric_name=metric_of(rule),
        message=said(rule, judged),
        detected_at=now,
        current_value=value,
        expected_value=rule.threshold,
        deviation_pct=100 * (value - rule.threshold) / rule.threshold,
    )


def said(rule: AlertRule, judged: Judged) -> str:
    """One sentence, as the page, the log, the webhook and a mail tell it."""
    metric = METRICS[rule.metric]
    whose = "the organisation" if rule.scope == "org" else f"the {rule.scope} {rule.subject}"
    value, bound = metric.say(judged.reading.value or 0.0), metric.say(rule.threshold)
    within = "" if rule.metric == "budget_share" else f" within {_span(rule.window_min)}"
    least = f", at least: {judged.reading.unpriced} requests have no known price" if judged.reading.unpriced else ""
    way = "at or over" if rule.direction == "over" else "under"
    return f"{rule.name}: {metric.words} of {whose} is {value}{within}, {way} {bound}{least}"


def _span(minutes: int) -> str:
    for unit, name in ((1_440, "days"), (60, "hours")):
        if minutes % unit == 0 and minutes > unit:
            return f"{minutes // unit} {name}"
    return {60: "an hour", 1_440: "a day"}.get(minutes, f"{minutes} minutes")
