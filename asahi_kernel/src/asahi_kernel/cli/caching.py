"""`asahi cache`: look after the caches of one org without a server, where they outlive it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from asahi_kernel.cli.options import config_option, json_option, load
from asahi_kernel.cli.telling import tell

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.settings import Settings

T = TypeVar("T")
org_option = click.option("--org", default="default", show_default=True, help="Whose cache.")
tier_option = click.option("--tier", type=click.IntRange(1, 3), help="1 exact, 2 semantic, 3 intermediate; else all.")


@click.group()
def cache() -> None:
    """The caches of one org. One that lives in the server's memory is reached through the server's /cache/… only."""


@cache.command()
@config_option
@org_option
@json_option
def stats(config: Path | None, org: str, as_json: bool) -> None:
    """Show hits, misses, entries, bytes and money saved of each tier."""
    from asahi_kernel import listing

    async def look(gateway: Gateway) -> dict[str, Any]:
        totals = await gateway.storage.events.totals(org, None)
        return await listing.summary(gateway, org, totals, money=True)

    tell(_tended(load(config), look), as_json)


@cache.command()
@config_option
@org_option
@tier_option
@click.option("--user", help="Only what this user asked.")
@click.option("--document", help="Only what is about this document.")
@json_option
def clear(
    config: Path | None, org: str, tier: int | None, user: str | None, document: str | None, as_json: bool
) -> None:
    """Remove the org's entries, all of them or some."""
    from asahi_kernel import clearing

    async def work(gateway: Gateway) -> dict[str, Any]:
        return clearing.counted(await clearing.clear(gateway, org, tier, user, document))

    tell(_tended(load(config), work), as_json)


@cache.command()
@config_option
@org_option
@tier_option
@json_option
def expire(config: Path | None, org: str, tier: int | None, as_json: bool) -> None:
    """Remove what has expired."""
    from asahi_kernel import clearing

    async def work(gateway: Gateway) -> dict[str, Any]:
        return clearing.counted(await clearing.expire(gateway, org, tier))

    tell(_tended(load(config), work), as_json)


@cache.command()
@config_option
@org_option
@tier_option
def export(config: Path | None, org: str, tier: int | None) -> None:
    """Print every entry with its answer, one JSON object a line."""
    import msgspec

    from asahi_kernel import clearing, listing

    async def work(gateway: Gateway) -> None:
        view = await listing.view_of(gateway, org, money=True, response=True)
        async for row in clearing.rows(gateway, org, tier):
            click.echo(msgspec.json.encode(listing.show(gateway, row, view)))

    _tended(load(config), work)


def _tended(settings: Settings, work: Callable[[Gateway], Awaitable[T]]) -> T:
    async def run() -> T:
        async with _opened(settings) as gateway:
            return await work(gateway)

    return asyncio.run(run())


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Gateway]:
    """Only with tiers that outlive the server; without any there is nothing to look after: exit code 1."""
    from asahi_kernel.gateway import Gateway, tending
    from asahi_kernel.plugins import load_plugins
    from asahi_kernel.protocols import LocalPart

    async with tending(Gateway(settings), load_plugins()) as gateway:
        local = [name for name, tier in gateway.tiers.items() if isinstance(tier, LocalPart)]
        if local:
            told = f"{', '.join(local)}: in the memory of the server; ask its /cache/stats, /cache/clear and so on"
            click.echo(f"asahi: {told}", err=True)
        gateway.tiers = {name: tier for name, tier in gateway.tiers.items() if name not in local}
        if not gateway.tiers:
            sys.exit(1)
        yield gateway
