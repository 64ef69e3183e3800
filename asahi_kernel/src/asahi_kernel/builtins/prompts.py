"""The service `prompts`: keeps what was asked and answered, for the orgs whose settings say so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asahi_kernel.background import running
from asahi_kernel.factory import Config, Factory
from asahi_kernel.repositories import Governing
from asahi_kernel.scribe import Scribe

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway


@asynccontextmanager
async def open_prompts(config: Config, gateway: Gateway) -> AsyncIterator[None]:
    """A storage that keeps nothing but events has no room for them."""
    if not isinstance(gateway.storage, Governing):
        yield None
        return
    days = gateway.settings.governance.retention_days
    scribe = Scribe(gateway.storage.repositories, gateway.standings, gateway.faults, days)
    gateway.scribe = scribe
    try:
        async with running(scribe.write()):
            yield None
    finally:
        gateway.scribe = None
        await scribe.close()


PROMPTS: Factory[None, Config] = Factory("prompts", Config, open_prompts)
