"""Redis or Valkey: the exact tier that all workers share, and counters and leases that are atomic across them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_kernel import Factory, hookimpl
from asahi_kernel.background import repeated
from asahi_redis.config import CounterConfig, TierConfig

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import CacheTier, Counter

_TELL_S = 1.0


@hookimpl
def register_cache_tiers() -> Iterable[Factory[CacheTier, Any]]:
    """The exact tier: `cache_tiers: {exact: {type: redis}}`, or the short form `redis`."""
    return (Factory("redis", TierConfig, open_tier),)


@hookimpl
def register_counters() -> Iterable[Factory[Counter, Any]]:
    """The counter, which leases money too."""
    return (Factory("redis", CounterConfig, open_counter),)


@asynccontextmanager
async def open_tier(config: TierConfig, gateway: Gateway) -> AsyncIterator[CacheTier]:
    """The client is imported here, not before."""
    from asahi_redis.link import linked
    from asahi_redis.tier import RedisTier

    async with linked(config, config.cache_prefix, gateway.faults) as link:
        tier = RedisTier(link, gateway, config.cache_prefix)
        try:
            async with repeated("cache.redis.hits", tier.tell, _TELL_S, gateway.faults):
                yield tier
        finally:
            await tier.close()


@asynccontextmanager
async def open_counter(config: CounterConfig, gateway: Gateway) -> AsyncIterator[Counter]:
    from asahi_redis.counter import RedisCounter
    from asahi_redis.link import linked

    async with linked(config, config.rate_limit_prefix, gateway.faults) as link:
        yield RedisCounter(link, config, gateway.settings.api.workers)
