"""Reports for Asahi: spending, forecasts, anomalies, advice, the savings ledger's proof, and data out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_analytics.config import AlertsConfig, CheckpointsConfig
from asahi_kernel import Factory, Report, hookimpl

if TYPE_CHECKING:
    from click import Group
    from litestar.types import ControllerRouterHandler

    from asahi_kernel.gateway import Gateway


@hookimpl
def register_services() -> Iterable[Factory[None, Any]]:
    """Both run wherever this package is installed."""
    return (
        Factory("checkpoints", CheckpointsConfig, open_checkpoints),
        Factory("alerts", AlertsConfig, open_alerts),
    )


@hookimpl
def register_reports() -> Iterable[Report]:
    """The endpoints of `/analytics`."""
    from asahi_analytics.catalogue import REPORTS

    return REPORTS


@hookimpl
def register_routes(gateway: Gateway) -> Iterable[ControllerRouterHandler]:
    """Acknowledging an anomaly, rules of an org's own, and whether its channels work."""
    from asahi_analytics.acknowledging import alert_routes
    from asahi_analytics.channel_routes import channel_routes
    from asahi_analytics.rule_routes import rule_routes

    return [*alert_routes(gateway), *rule_routes(gateway), *channel_routes(gateway)]


@hookimpl
def register_commands(cli: Group) -> None:
    """`asahi savings` and `asahi events`."""
    from asahi_analytics.commands import events, savings

    cli.add_command(savings)
    cli.add_command(events)


@asynccontextmanager
async def open_checkpoints(config: CheckpointsConfig, gateway: Gateway) -> AsyncIterator[None]:
    from asahi_analytics import signing

    async with signing.open_checkpoints(config, gateway):
        yield None


@asynccontextmanager
async def open_alerts(config: AlertsConfig, gateway: Gateway) -> AsyncIterator[None]:
    from asahi_analytics import alerting

    async with alerting.open_alerts(config, gateway):
        yield None
