"""`asahi tenants`: make, list and suspend organisations, at the storage itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_access.commands import checked_id
from asahi_kernel.cli.options import config_option, json_option, load
from asahi_kernel.cli.telling import operator_name

if TYPE_CHECKING:
    from asahi_access.tenants import Registrar
    from asahi_kernel.auditing import Actor
    from asahi_kernel.repositories.people import Tenant
    from asahi_kernel.settings import Settings


@click.group()
def tenants() -> None:
    """Organisations and their plans. Whoever may write to the storage may change them: this asks for no key."""


@tenants.command()
@config_option
@click.argument("org")
@click.option("--name", default="", help="What people call it.")
@click.option("--plan", default="starter", show_default=True, help="starter, professional, enterprise, or your own.")
@json_option
def create(config: Path | None, org: str, name: str, plan: str, as_json: bool) -> None:
    """Make the organisation ORG."""
    wanted = checked_id(org, "ORG")
    _show([_run(load(config), lambda registrar, actor: registrar.create(wanted, name, plan, actor))], as_json)


@tenants.command("list")
@config_option
@json_option
def listed(config: Path | None, as_json: bool) -> None:
    """List the organisations."""
    _show(_run(load(config), lambda registrar, _: registrar.all()), as_json)


@tenants.command()
@config_option
@click.argument("org")
@click.option("--lift", is_flag=True, help="Let it in again.")
@json_option
def suspend(config: Path | None, org: str, lift: bool, as_json: bool) -> None:
    """Suspend ORG: within a second its people get 403 on every route, and it keeps all it has."""
    status: Any = "active" if lift else "suspended"
    wanted = checked_id(org, "ORG")
    _show([_run(load(config), lambda registrar, actor: registrar.change(wanted, actor, status=status))], as_json)


def _run(settings: Settings, work: Callable[[Registrar, Actor], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        from asahi_access.opening import governing
        from asahi_access.tenants import Registrar
        from asahi_kernel.auditing import Actor
        from asahi_kernel.errors import ConfigError
        from asahi_kernel.gateway import Gateway, storing
        from asahi_kernel.plugins import load_plugins

        gateway, operator = Gateway(settings), settings.governance.operator_org
        async with storing(gateway, load_plugins()):
            if gateway.storage.name == "memory":
                raise ConfigError("storage: memory ends with this command, and so would the tenant")
            registrar = Registrar(governing(gateway), settings.tenants, operator)
            return await work(registrar, Actor(org=operator, user=operator_name()))

    return asyncio.run(run())


def _show(found: list[Tenant], as_json: bool) -> None:
    import msgspec

    rows = [
        {name: value for name, value in msgspec.to_builtins(each).items() if name != "cache_salt"} for each in found
    ]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
        return
    for row in rows:
        click.echo(f"{row['org_id']:<24}{row['plan']:<14}{row['status']:<11}{row['name']}")
