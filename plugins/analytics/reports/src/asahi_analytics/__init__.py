"""Reports for Asahi: the savings ledger's proof, what the holdout measured, and data out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_analytics.config import CheckpointsConfig
from asahi_kernel import Factory, hookimpl

if TYPE_CHECKING:
    from click import Group

    from asahi_kernel.gateway import Gateway


@hookimpl
def register_services() -> Iterable[Factory[None, Any]]:
    """`checkpoints` runs wherever this package is installed."""
    return (Factory("checkpoints", CheckpointsConfig, open_checkpoints),)


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
