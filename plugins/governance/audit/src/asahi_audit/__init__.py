"""The audit log of Asahi: who did what, in hash chains under one Merkle tree, with signed checkpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_kernel import Config, Factory, hookimpl

if TYPE_CHECKING:
    from click import Group
    from litestar.types import ControllerRouterHandler

    from asahi_kernel.gateway import Gateway


@hookimpl
def register_services() -> Iterable[Factory[None, Any]]:
    """`audit` runs wherever this package is installed."""
    return (Factory("audit", Config, open_audit),)


@hookimpl
def register_routes(gateway: Gateway) -> Iterable[ControllerRouterHandler]:
    """`/governance/audit…`."""
    from asahi_audit.routes import audit_routes

    return audit_routes(gateway)


@hookimpl
def register_commands(cli: Group) -> None:
    """`asahi audit`."""
    from asahi_audit.commands import audit

    cli.add_command(audit)


@asynccontextmanager
async def open_audit(config: Config, gateway: Gateway) -> AsyncIterator[None]:
    from asahi_audit.notary import at_work

    async with at_work(gateway):
        yield None
