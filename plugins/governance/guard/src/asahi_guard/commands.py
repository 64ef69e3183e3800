"""`asahi erase` and `asahi retention`: what the law asks of whoever runs the gateway, at the storage itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_kernel.cli.options import config_option, json_option, load
from asahi_kernel.cli.telling import operator_name, tell

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.settings import Settings


@click.command()
@config_option
@click.option("--org", required=True, help="The organisation.")
@click.option("--user", help="One of its users; without one the whole organisation.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def erase(config: Path | None, org: str, user: str | None, yes: bool, as_json: bool) -> None:
    """Erase a user or an organisation: it cannot be undone. Exit code 1 if anything of it is still found."""
    from asahi_guard import erasing
    from asahi_kernel.auditing import Actor
    from asahi_kernel.errors import ConfigError

    settings = load(config)
    operator = settings.governance.operator_org
    if user is None and org == operator:
        raise ConfigError("the operator's own organisation cannot be erased")
    if not yes:
        click.confirm(f"Erase {'all of' if user is None else repr(user) + ' of'} {org!r}?", abort=True)

    async def work(gateway: Gateway) -> Any:
        ordered = await erasing.order(gateway, org, user, Actor(org=operator, user=operator_name()))
        done = await erasing.carry_out(gateway, ordered)
        while done is None or done.state != "done":  # a server was quicker
            await asyncio.sleep(0.5)
            done = await erasing.able(gateway).repositories.erasures.anywhere(ordered.erasure_id)
        return done

    done = _tended(settings, work)
    told = {"erasure_id": done.erasure_id, "residues": done.residues, "counts": done.counts}
    tell(told, as_json)
    if done.residues:
        sys.exit(1)


@click.group()
def retention() -> None:
    """How long past requests are kept."""


@retention.command("run")
@config_option
@json_option
def run(config: Path | None, as_json: bool) -> None:
    """Forget now what is past its time. The gateway does this once a day by itself."""
    from asahi_kernel.builtins.retention import sweep

    settings = load(config)

    async def work(gateway: Gateway) -> int:
        return await sweep(gateway.storage, settings.governance.retention_days)

    tell({"requests": _tended(settings, work)}, as_json)


@click.command("rotate-encryption")
@config_option
@json_option
def rotate_encryption(config: Path | None, as_json: bool) -> None:
    """Have all that is stored under the first of ASAHI_ENCRYPTION_KEYS, while servers run. Once it reports 0 left the
    other keys may be removed; until then exit code 1."""
    from asahi_kernel.rooting import rotate

    settings = load(config)

    async def run() -> Any:
        from asahi_kernel.gateway import Gateway, storing
        from asahi_kernel.plugins import load_plugins

        gateway = Gateway(settings)
        async with storing(gateway, load_plugins()) as storage:
            return await rotate(gateway.vault, storage)

    done = asyncio.run(run())
    tell({"rewrapped": done.rewrapped, "resealed": done.resealed, "left": done.left}, as_json)
    if done.left:
        sys.exit(1)


def _tended(settings: Settings, work: Callable[[Gateway], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        from asahi_kernel.errors import ConfigError
        from asahi_kernel.gateway import Gateway, tending
        from asahi_kernel.plugins import load_plugins

        async with tending(Gateway(settings), load_plugins()) as gateway:
            if gateway.storage.name == "memory":
                raise ConfigError("storage: memory ends with the server, and cannot be reached from here")
            return await work(gateway)

    return asyncio.run(run())
