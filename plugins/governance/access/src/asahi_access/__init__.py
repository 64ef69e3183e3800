"""Access to Asahi: API keys, logins of the dashboard, and the tenants they belong to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_access.config import KeysConfig
from asahi_kernel import Factory, hookimpl

if TYPE_CHECKING:
    from click import Group
    from litestar.types import ControllerRouterHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Authenticator


@hookimpl
def register_authenticators() -> Iterable[Factory[Authenticator, Any]]:
    """`auth: keys`, the default outside the development profile."""
    return (Factory("keys", KeysConfig, open_keys),)


@hookimpl
def register_routes(gateway: Gateway) -> Iterable[ControllerRouterHandler]:
    """`/governance/api-keys`, `/governance/tenants` and `/auth`."""
    from asahi_access.desk import Desk
    from asahi_access.login_routes import login_routes
    from asahi_access.routes import key_routes
    from asahi_access.tenant_routes import tenant_routes

    gateway.shared["access"] = desk = Desk()
    return [*key_routes(gateway, desk), *tenant_routes(gateway), *login_routes(gateway, desk)]


@hookimpl
def register_commands(cli: Group) -> None:
    """`asahi keys`, `asahi tenants` and `asahi init`."""
    from asahi_access.beginning import init
    from asahi_access.commands import keys
    from asahi_access.tenant_commands import tenants

    for command in (keys, tenants, init):
        cli.add_command(command)


@asynccontextmanager
async def open_keys(config: KeysConfig, gateway: Gateway) -> AsyncIterator[Authenticator]:
    from asahi_access.opening import open_identifier

    async with open_identifier(config, gateway) as identifier:
        yield identifier
