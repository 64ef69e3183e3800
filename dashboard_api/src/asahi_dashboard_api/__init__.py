"""The dashboard of Asahi: its built pages, served at the gateway's own address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_dashboard_api.config import DashboardConfig
from asahi_kernel import Factory, hookimpl

if TYPE_CHECKING:
    from click import Group

    from asahi_kernel.gateway import Gateway


@hookimpl
def register_services() -> Iterable[Factory[None, Any]]:
    """It runs wherever this package is installed."""
    return (Factory("dashboard", DashboardConfig, open_dashboard),)


@hookimpl
def register_commands(cli: Group) -> None:
    from asahi_dashboard_api.demo.command import demo

    cli.add_command(demo)


@asynccontextmanager
async def open_dashboard(config: DashboardConfig, gateway: Gateway) -> AsyncIterator[None]:
    from asahi_dashboard_api import opening

    async with opening.open_dashboard(config, gateway):
        yield None
