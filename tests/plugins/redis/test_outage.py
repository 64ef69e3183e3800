"""Redis is an accelerator, not a dependency: whatever happens to it, answers go on, and it is used again by itself."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from redis.asyncio import Redis
from tests.kernel.kit import ask, gateway_of
from tests.plugins.redis.kit import fresh, tier, toxi

from asahi_kernel.api.health import examine
from asahi_kernel.errors import Unavailable
from asahi_kernel.testing import ASK, HERE, PARIS
from asahi_kernel.types import Message, Request

pytestmark = pytest.mark.anyio
KEY = b"k" * 32


def asking(number: int) -> Request:
    return Request(messages=(Message("user", f"question {number}"),))


@asynccontextmanager
async def gateway(url: str, **fields):
    tree = {
        "cache_tiers": {"exact": {"type": "redis", "url": url, "cache_prefix": fresh(), **fields}},
        "providers": {"mock": {"latency_share": 0}},
    }
    async with gateway_of(tree) as opened:
        yield opened


async def load(opened, seconds: float) -> tuple[int, int, float]:
    """Requests answered and failed, and the 99th percentile of their milliseconds; half of the questions are known."""
    answered = failed = 0
    took = []

    async def worker(which: int) -> None:
        nonlocal answered, failed
        number = 0
        while time.monotonic() < end:
            number += 1
            begun = time.perf_counter()
            try:
                await ask(opened, asking(number % 10 if number % 2 else 1_000 * which + number))
                answered += 1
            except Exception:  # noqa: BLE001 - whatever it is, the request failed
                failed += 1
            took.append((time.perf_counter() - begun) * 1e3)
            await asyncio.sleep(0.001)

    end = time.monotonic() + seconds
    await asyncio.gather(*(worker(which) for which in range(1, 9)))
    return answered, failed, sorted(took)[len(took) * 99 // 100]


async def served(tier) -> bool:
    """Redis itself answers; a connection that is back may be lost once more on a busy machine."""
    if not (tier._link.up and tier._link.writable):
        return False
    try:
        return (await tier.stats("here")).backend == "redis"
    except Unavailable:
        return False


async def returned(opened, within_s: float = 3.0) -> None:
    """Wait until the tier is served from Redis again; a fresh entry then lies there."""
    each = opened.tiers["exact"]
    async with asyncio.timeout(within_s):
        while not await served(each):
            await asyncio.sleep(0.01)
    assert not (await ask(opened, asking(-1))).hit
    assert (await ask(opened, asking(-1))).hit
    assert await each._client.exists(*[each._spaces["here"].entry(row.key) async for row in each.rows("here")])


async def refuse(proxy, server):
    proxy.refusing = True
    proxy.cut()


async def freeze(proxy, server):
    server.server.freeze()


async def slow(proxy, server):
    proxy.delay_s = 0.5


async def load_data(proxy, server):
    proxy.saying = b"-LOADING Valkey is loading the dataset in memory\r\n"


async def fill(proxy, server):
    async with Redis.from_url(server.url) as client:
        await client.config_set("maxmemory-policy", "noeviction")
        await client.config_set("maxmemory", 1)


async def demote(proxy, server):
    async with Redis.from_url(server.url) as client:
        await client.replicaof("127.0.0.1", 1)


async def mend(proxy, server):
    proxy.refusing, proxy.delay_s, proxy.saying = False, 0.0, b""
    server.server.resume()
    async with Redis.from_url(server.url) as client:
        await client.config_set("maxmemory", 0)
        await client.replicaof("NO", "ONE")


@pytest.mark.parametrize("fault", [refuse, freeze, slow, load_data, fill, demote], ids=lambda each: each.__name__)
async def test_an_outage_fails_no_request_and_ends_by_itself(own_redis, fault, caplog):
    """D1."""
    caplog.set_level(logging.INFO)
    async with toxi(own_redis.url) as proxy, gateway(proxy.url) as opened:
        await load(opened, 0.5)
        caplog.clear()
        await fault(proxy, own_redis)
        await load(opened, 0.3)
        answered, failed, _ = await load(opened, 2.0)
        assert answered > 200
        assert failed == 0
        assert (await examine(opened)).components["cache.exact"] == "degraded"
        again = [bool((await ask(opened, asking(1))).hit) for _ in range(4)]
        assert sum(again) >= 2, "each worker goes on with a cache of its own"
        await mend(proxy, own_redis)
        await returned(opened)
        assert (await examine(opened)).components["cache.exact"] == "healthy"
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told[-1] == "redis is back"
    assert len(told) <= 8, "one line for each change, and none for each request"
    assert all(one != other for one, other in pairwise(told))


async def test_a_dead_server_costs_nothing_once_it_is_known(own_redis):
    """After the breaker nobody waits: 200 waits of 50 ms would be 10 s."""
    async with gateway(own_redis.url) as opened:
        await load(opened, 0.3)
        own_redis.server.freeze()
        await load(opened, 0.3)
        assert not opened.tiers["exact"]._link.up
        each = opened.tiers["exact"]
        begun = time.perf_counter()
        for number in range(200):
            await each.get(number.to_bytes(32, "big"), ASK, HERE)
        assert time.perf_counter() - begun < 2
        own_redis.server.resume()


async def test_a_blip_is_a_blip(own_redis, caplog):
    """D2: after a stall of 200 ms it is dark for less than two seconds, in two lines of log."""
    async with toxi(own_redis.url) as proxy, gateway(proxy.url) as opened:
        await load(opened, 0.3)
        caplog.clear()
        proxy.delay_s = 0.2
        await load(opened, 0.2)
        proxy.delay_s = 0.0
        begun = time.monotonic()
        await returned(opened)
        assert time.monotonic() - begun < 2
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 2


async def test_a_stall_of_the_process_itself_is_no_outage_of_its_cache(own_redis):
    """All clocks run out at once when the loop stood still: the cache is back within a moment, not after a rest."""
    async with gateway(own_redis.url) as opened:
        await ask(opened)
        loading = asyncio.ensure_future(load(opened, 0.6))
        await asyncio.sleep(0.1)
        for _ in range(3):
            time.sleep(0.4)
            await asyncio.sleep(0.01)
        assert (await loading)[1] == 0
        await returned(opened)
        assert not opened.tier_breakers["exact"].open


async def test_a_pool_that_is_exhausted_is_a_miss(own_redis):
    async with toxi(own_redis.url) as proxy, gateway(proxy.url, pool_size=1) as opened:
        await ask(opened)
        proxy.delay_s = 0.04
        answers = await asyncio.gather(*(ask(opened, asking(number)) for number in range(20)))
        assert len(answers) == 20
        proxy.delay_s = 0.0
        await returned(opened)


async def test_a_gateway_starts_and_serves_without_its_redis(own_redis):
    own_redis.server.stop()
    async with gateway(own_redis.url) as opened:
        assert not (await ask(opened)).hit
        assert (await ask(opened)).hit
        own_redis.server.start()
        await returned(opened)


async def test_a_restarted_server_is_used_at_once(own_redis):
    async with gateway(own_redis.url) as opened:
        await ask(opened)
        own_redis.server.restart()
        await asyncio.gather(*(ask(opened, asking(number)) for number in range(5)))
        await returned(opened)


async def test_what_was_kept_meanwhile_is_forgotten_when_it_is_back(own_redis):
    """A clear elsewhere does not reach the cache of this process: the next outage must not bring anything back."""
    async with toxi(own_redis.url) as proxy, tier(proxy.url) as each:
        proxy.refusing = True
        proxy.cut()
        await each.put(KEY, ASK, HERE, PARIS)
        assert (await each.get(KEY, ASK, HERE)).completion == PARIS
        while each._link.up:
            await each.get(KEY, ASK, HERE)
        proxy.refusing = False
        while not each._link.up:
            await asyncio.sleep(0.01)
        proxy.refusing = True
        proxy.cut()
        assert await each.get(KEY, ASK, HERE) is None


async def test_to_clear_what_cannot_be_reached_is_refused(own_redis):
    async with tier(own_redis.url) as each:
        await each.put(KEY, ASK, HERE, PARIS)
        own_redis.server.freeze()
        for work in (each.clear("here"), each.evict("here", "x"), each.sweep("here")):
            with pytest.raises(Unavailable):
                await work
        own_redis.server.resume()


async def test_a_full_server_can_be_cleared(own_redis):
    async with tier(own_redis.url) as each, Redis.from_url(own_redis.url) as client:
        await each.put(KEY, ASK, HERE, PARIS)
        await fill(None, own_redis)
        await each.put(b"x" * 32, ASK, HERE, PARIS)
        assert not each._link.writable
        assert (await each.get(KEY, ASK, HERE)).completion == PARIS
        assert await each.clear("here") == 1
        assert await each.get(KEY, ASK, HERE) is None
        await asyncio.gather(*each._sweeps)
        assert not [name async for name in client.scan_iter("*:t1:*:*")]
