"""The service `alerts`: off the request path it asks the anomaly rules of every org, and the rules that orgs made
themselves, keeps what they find as alerts, and tells the operator."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from asahi_analytics.anomalies import DAY, HOUR, MINUTE, RULES, Anomaly, Past, fired
from asahi_analytics.config import AlertsConfig
from asahi_analytics.occurrences import Occurrences
from asahi_analytics.ruling import RuleWatch
from asahi_analytics.telling import TELLER, Teller
from asahi_analytics.webhook import open_webhook
from asahi_analytics.windows import rolled
from asahi_kernel import clock
from asahi_kernel.background import repeated
from asahi_kernel.channels import channels
from asahi_kernel.identity import new_id
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.judgements import Alert
from asahi_kernel.rollups import floor

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Storage

log = logging.getLogger("asahi.alerts")

#: An alert is resolved after so many minutes without its anomaly.
QUIET = 15


@asynccontextmanager
async def open_alerts(config: AlertsConfig, gateway: Gateway) -> AsyncIterator[None]:
    """Look every `interval_s`. A storage without alerts has nobody to tell."""
    if not isinstance(gateway.storage, Governing):
        yield None
        return
    async with AsyncExitStack() as stack:
        webhook = await stack.enter_async_context(open_webhook(config, gateway.faults))
        teller = gateway.shared[TELLER] = Teller(gateway.faults, webhook)
        if webhook is not None:
            channels(gateway)["webhook"] = webhook
        watch = Watch(gateway, gateway.storage, teller)
        own = RuleWatch(gateway, gateway.storage, teller, config.interval_s)
        for name, look in (("alerts", watch.look), ("alerts.rules", own.look)):
            await stack.enter_async_context(repeated(name, look, config.interval_s, gateway.faults))
        yield None


class Watch:
    """Looks at every org in turn. Several processes may watch: an alert is raised by one of them alone."""

    def __init__(self, gateway: Gateway, governing: Governing, teller: Teller | None = None) -> None:
        self._gateway = gateway
        self._governing = governing
        self._teller = teller or Teller(gateway.faults)
        self._occurrences = Occurrences(gateway)
        self._begun: datetime | None = None
        self._seen: dict[tuple[str, str, str], datetime] = {}

    async def look(self, now: datetime | None = None) -> None:
        """Raise, revise and resolve alerts. An org that fails does not keep the others from being looked at."""
        now = now or clock.now()
        self._begun = self._begun or now
        orgs = {*await self._gateway.storage.retention.orgs(), self._gateway.settings.governance.operator_org}
        for org in sorted(orgs):
            try:
                await self._look_at(org, now)
            except Exception as error:  # noqa: BLE001 - the next look comes in a minute
                self._gateway.faults["alerts"] += 1
                log.warning("the anomalies of an org could not be looked for (%s)", type(error).__name__)

    async def _look_at(self, org: str, now: datetime) -> None:
        at = floor(now, "minute") + MINUTE
        past = await past_of(self._gateway.storage, org, at)
        found = [*fired(past, at), *await self._occurrences.of_org(org, at)]
        for each in found:
            self._seen[org, each.anomaly_type, each.metric_name] = now
        unresolved = await self._governing.repositories.alerts.unresolved(org)
        known = {(alert.anomaly_type, alert.metric_name): alert for alert in unresolved}
        for each in found:
            alert = known.get((each.anomaly_type, each.metric_name))
            if alert is None:
                await self._raise(org, each, now)
            elif each.critical and alert.severity != "critical":
                await self._revise(alert, each)
        firing = {(each.anomaly_type, each.metric_name) for each in found}
        for kind, alert in known.items():
            if kind not in firing and self._quiet(alert, past, at, now):
                await self._resolve(alert, now)

    async def _raise(self, org: str, found: Anomaly, now: datetime) -> None:
        alert = Alert(
            alert_id=new_id(),
            org_id=org,
            anomaly_type=found.anomaly_type,
            severity=_severity(found),
            metric_name=found.metric_name,
            message=found.message,
            detected_at=now,
            current_value=found.current,
            expected_value=found.expected,
            deviation_pct=found.deviation_pct,
        )
        # Blocks take turns over all processes: who comes second finds the alert of the first.
        async with self._governing.together() as repositories:
            others = await repositories.alerts.unresolved(org)
            if any((each.anomaly_type, each.metric_name) == (alert.anomaly_type, alert.metric_name) for each in others):
                return
            await repositories.alerts.raise_alert(alert)
        self._teller.tell("raised", alert)

    async def _revise(self, alert: Alert, found: Anomaly) -> None:
        worse = msgspec.structs.replace(
            alert,
            severity=_severity(found),
            message=found.message,
            current_value=found.current,
            expected_value=found.expected,
            deviation_pct=found.deviation_pct,
        )
        if await self._governing.repositories.alerts.revise(worse):
            self._teller.tell("worse", worse)

    async def _resolve(self, alert: Alert, now: datetime) -> None:
        if await self._governing.repositories.alerts.resolve(alert.org_id, alert.alert_id, now):
            self._teller.tell("resolved", msgspec.structs.replace(alert, resolved_at=now))

    def _quiet(self, alert: Alert, past: Past, at: datetime, now: datetime) -> bool:
        """Whether the rule has not fired for 15 minutes. Sums say so in every process; what only some process sees is
        resolved by one that saw it, or by one that was started later and has waited as long."""
        rule = RULES.get(alert.anomaly_type)
        if rule is not None:
            return not any(rule(past, at - each * MINUTE) for each in range(QUIET + 1))
        seen = self._seen.get((alert.org_id, alert.anomaly_type, alert.metric_name))
        if seen is None and self._begun is not None and alert.detected_at < self._begun:
            seen = self._begun
        return seen is not None and now - seen >= QUIET * MINUTE


async def past_of(storage: Storage, org: str, at: datetime) -> Past:
    """What the rules look at."""
    start, begun = floor(at, "hour"), at - DAY - 2 * HOUR
    hours = await rolled(storage, org, "hour", [(start - 9 * DAY, start + HOUR)], ("bucket",))
    # Whoever has been away for a day costs one small question.
    active = any(each.key.bucket >= floor(begun, "hour") for each in hours)
    minutes = await rolled(storage, org, "minute", [(begun, at)], ("bucket",), detail=True) if active else ()
    ordered = [
        sorted(((each.key.bucket, each.sums) for each in rows), key=lambda row: row[0]) for rows in (minutes, hours)
    ]
    return Past(*ordered)


def _severity(found: Anomaly) -> str:
    return "critical" if found.critical else "warning"
