"""The retention service: once a day it forgets requests that are older than the operator keeps them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from asahi_kernel import clock
from asahi_kernel.background import running
from asahi_kernel.factory import Config, Factory
from asahi_kernel.repositories import Governing
from asahi_kernel.standing import allows_prompts

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Storage
    from asahi_kernel.repositories.rules import ComplianceProfile

log = logging.getLogger(__name__)

_DAY_S = 86_400.0
#: Workers that start together do not sweep together.
_FIRST_S = (60.0, 660.0)


async def sweep(storage: Storage, days: int, now: datetime | None = None) -> int:
    """Forget every org's requests that are more than so many days old, or fewer by its compliance profile, and whatever
    has an end of its own; how many requests went."""
    now = now or clock.now()
    if isinstance(storage, Governing):
        await storage.repositories.expire(now)
    gone = 0
    for org in await storage.retention.orgs():
        profile = await storage.repositories.compliance.get(org) if isinstance(storage, Governing) else None
        before = now - timedelta(days=days if profile is None else min(days, profile.retention_days))
        if isinstance(storage, Governing):
            await _forget_words(storage, org, profile, before)
        gone += await storage.retention.sweep(org, before)
    return gone


async def _forget_words(storage: Governing, org: str, profile: ComplianceProfile | None, before: datetime) -> None:
    """Those of requests that go, also where their end was later once; all where the org may keep none any more."""
    bodies = storage.repositories.bodies
    if profile is not None and not allows_prompts(profile):
        await bodies.forget(org)
    else:
        await bodies.forget_before(org, before)


@asynccontextmanager
async def open_retention(config: Config, gateway: Gateway) -> AsyncIterator[None]:
    async with running(_daily(gateway)):
        yield None


async def _daily(gateway: Gateway) -> None:
    await asyncio.sleep(random.uniform(*_FIRST_S))
    while True:
        try:
            if count := await sweep(gateway.storage, gateway.settings.governance.retention_days):
                log.info("retention: %d requests were forgotten", count)
        except Exception as error:  # noqa: BLE001 - tomorrow is another day; nothing is lost by keeping more
            gateway.faults["retention"] += 1
            log.warning("retention could not sweep (%s)", type(error).__name__)
        await asyncio.sleep(_DAY_S)


RETENTION: Factory[None, Config] = Factory("retention", Config, open_retention)
