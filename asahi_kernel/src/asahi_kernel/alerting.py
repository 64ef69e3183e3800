"""Alerting: something an org should know of, kept once, off the request path."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Literal

from asahi_kernel import clock
from asahi_kernel.identity import new_id
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.judgements import Alert

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

log = logging.getLogger("asahi.alerts")

_STORAGE_S = 5.0


def alert(
    gateway: Gateway,
    org: str,
    anomaly_type: str,
    metric: str,
    message: str,
    *,
    severity: Literal["warning", "critical"] = "warning",
    current: float = 0.0,
    expected: float = 0.0,
    alert_id: str | None = None,
) -> None:
    """Keep an alert soon. There is one open alert of a metric of an org at a time, and ever only one of an
    `alert_id`, for what must not be told twice. A storage that is away loses nothing but the alert; the log has it."""
    deviation = (current - expected) / expected * 100 if expected else None
    found = Alert(
        alert_id=alert_id or new_id(),
        org_id=org,
        anomaly_type=anomaly_type,
        severity=severity,
        metric_name=metric,
        message=message,
        detected_at=clock.now(),
        current_value=current,
        expected_value=expected,
        deviation_pct=deviation,
    )
    log.warning("alert of org %s: %s", org, message)
    gateway.detach(_keep(gateway, found))


def resolve(gateway: Gateway, org: str, metric: str) -> None:
    """Soon mark the open alert of a metric as over, if there is one."""
    gateway.detach(_resolve(gateway, org, metric))


async def _resolve(gateway: Gateway, org: str, metric: str) -> None:
    if not isinstance(gateway.storage, Governing):
        return
    try:
        async with asyncio.timeout(_STORAGE_S):
            alerts = gateway.storage.repositories.alerts
            if (found := await alerts.open_of(org, metric)) is not None:
                await alerts.resolve(org, found.alert_id, clock.now())
    except Exception as error:  # noqa: BLE001 - it stays open until somebody looks
        gateway.faults["alerts.storage"] += 1
        log.warning("an alert could not be resolved (%s)", type(error).__name__)


async def _keep(gateway: Gateway, found: Alert) -> None:
    if not isinstance(gateway.storage, Governing):
        return
    try:
        async with asyncio.timeout(_STORAGE_S):
            alerts = gateway.storage.repositories.alerts
            if await alerts.open_of(found.org_id, found.metric_name) is None:
                await alerts.raise_alert(found)
    except Exception as error:  # noqa: BLE001 - it is in the log
        gateway.faults["alerts.storage"] += 1
        log.warning("an alert could not be kept (%s)", type(error).__name__)
