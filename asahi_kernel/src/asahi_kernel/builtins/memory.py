"""Everything in this process: the exact tier, the counter, and a storage that ends with the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from msgspec import Meta

from asahi_kernel.background import repeated
from asahi_kernel.builtins.memory_counter import MemoryCounter
from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.factory import Config, Factory
from asahi_kernel.gateway import Gateway
from asahi_kernel.protocols import CacheTier, Counter, Storage
from asahi_kernel.wanting import exact_life, grace_of


class StorageConfig(Config, frozen=True):
    """`max_events` bounds what is kept per org; totals go on counting beyond it."""

    max_events: Annotated[int, Meta(ge=1)] = 20_000


@asynccontextmanager
async def open_storage(config: StorageConfig, gateway: Gateway) -> AsyncIterator[Storage]:
    yield MemoryStorage(config.max_events)


@asynccontextmanager
async def open_counter(config: Config, gateway: Gateway) -> AsyncIterator[Counter]:
    yield MemoryCounter()


@asynccontextmanager
async def open_exact(config: Config, gateway: Gateway) -> AsyncIterator[CacheTier]:
    settings = gateway.settings.cache
    life, grace = exact_life(gateway, settings.ttl_seconds), grace_of(gateway)
    tier = MemoryTier(settings, life=life, room=gateway.room, grace=grace)
    gateway.room.join(tier)
    async with repeated(
        "cache.memory.sweep", tier.expire, gateway.settings.cache.cleanup_interval_seconds, gateway.faults
    ):
        yield tier


STORAGE: Factory[Storage, StorageConfig] = Factory("memory", StorageConfig, open_storage)
COUNTER: Factory[Counter, Config] = Factory("memory", Config, open_counter)
EXACT: Factory[CacheTier, Config] = Factory("exact", Config, open_exact)
