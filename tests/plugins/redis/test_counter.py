"""Counting and leasing across processes, with a server that is there, and with one that is not."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import pytest
from tests.house.tree import ROOT
from tests.kernel.kit import gateway_of
from tests.plugins.redis.kit import counter, fresh, toxi
from tests.plugins.redis.spender import ASK_OF_TODAY, CAP, DIME

from asahi_kernel.builtins.memory_counter import MemoryCounter
from asahi_kernel.identity import new_id
from asahi_kernel.repositories.budgets import Ask, LeaseCounter, Settlement

pytestmark = pytest.mark.anyio


def later(seconds: float = 60) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def spenders(url: str, prefix: str, job: str, count: int, processes: int = 4) -> tuple[list, list[int]]:
    """All let go at once; the processes and how often each was let through."""
    command = (sys.executable, "-m", "tests.plugins.redis.spender", url, prefix, job, str(count))
    pipe = asyncio.subprocess.PIPE
    started = [
        await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT) for _ in range(processes)
    ]
    for each in started:
        assert await each.stdout.readline() == b"ready\n"
    for each in started:
        each.stdin.write(b"go\n")
    return started, [int(await each.stdout.readline()) for each in started]


async def standing(each, budget: str = "b1") -> tuple[int, int]:
    ask = Ask(budget_id=budget, window_start=ASK_OF_TODAY.window_start, limit=None)
    (window,) = await each.windows("here", [ask])
    return window.spent, window.held


class TestFourProcesses:
    async def test_a_cap_is_a_cap(self, redis_url):
        """BU-1, A4: 1,000 × $0.10 against $5.00: 50 admitted, overshoot $0.00; the other level holds as much."""
        prefix = fresh()
        started, passed = await spenders(redis_url, prefix, "reserve", 250)
        await asyncio.gather(*(each.wait() for each in started))
        async with counter(redis_url, rate_limit_prefix=prefix) as each:
            assert sum(passed) == 50
            assert await standing(each) == (0, CAP)
            assert await standing(each, "b2") == (0, 50 * DIME)

    async def test_a_rate_is_a_rate(self, redis_url):
        """10.6: 1,000 within one minute, 100 pass."""
        started, passed = await spenders(redis_url, fresh(), "take", 250)
        await asyncio.gather(*(each.wait() for each in started))
        assert sum(passed) == 100

    async def test_dead_holders_cannot_freeze_a_budget(self, redis_url):
        """A6: 500 holders are killed; what they held is free once their leases end."""
        prefix = fresh()
        started, passed = await spenders(redis_url, prefix, "hold", 250, 2)
        assert passed == [250, 250]
        async with counter(redis_url, rate_limit_prefix=prefix) as each:
            held = await standing(each)
            for process in started:
                process.kill()
                await process.wait()
            assert held == (0, 500)
            await asyncio.sleep(3)
            assert await standing(each) == (0, 0)


async def test_a_cap_is_a_cap_in_one_process():
    each = MemoryCounter()
    asked = await asyncio.gather(*(each.reserve("here", new_id(), DIME, [ASK_OF_TODAY], later()) for _ in range(1_000)))
    assert asked.count(None) == 50
    assert await standing(each) == (0, CAP)


async def test_windows_slide(redis_url):
    async with counter(redis_url) as each:
        assert (await each.take("here", "k", 3, 4, 1)).granted
        await asyncio.sleep(0.5)
        assert (await each.take("here", "k", 1, 4, 1)).granted
        refused = await each.take("here", "k", 2, 4, 1)
        assert (refused.granted, refused.remaining) == (False, 0)
        assert 0.1 < refused.retry_after <= 0.5
        await asyncio.sleep(refused.retry_after + 0.02)
        assert (await each.take("here", "k", 3, 4, 1)).granted
        assert not (await each.take("here", "k", 1, 4, 1)).granted


async def test_a_sum_that_was_evicted_is_counted_again(redis_url):
    from redis.asyncio import Redis

    prefix = fresh()
    async with counter(redis_url, rate_limit_prefix=prefix) as each, Redis.from_url(redis_url) as client:
        await each.take("here", "k", 7, 10, 60)
        assert await client.delete(*[key async for key in client.scan_iter(f"{prefix}:*:sum")]) == 1
        assert not (await each.take("here", "k", 4, 10, 60)).granted


class TestAway:
    async def test_limits_are_shared_out_between_workers(self, own_redis):
        """10.6: never unlimited, never refused outright."""
        async with counter(own_redis.url, workers=4) as each:
            own_redis.server.stop()
            granted = [(await each.take("here", "k", 1, 100, 60)).granted for _ in range(100)]
            assert sum(granted) == 25
            assert (await each.take("here", "large", 60, 100, 60)).granted
            assert not (await each.take("here", "large", 60, 100, 60)).granted

    async def test_a_budget_is_overspent_by_a_slice_at_most_and_charged_later(self, own_redis):
        async with toxi(own_redis.url) as proxy, counter(proxy.url) as each:
            assert await each.reserve("here", "before", DIME, [ASK_OF_TODAY], later()) is None
            proxy.refusing = True
            proxy.cut()
            passed = []
            for number in range(100):
                if await each.reserve("here", f"r{number}", DIME // 10, [ASK_OF_TODAY], later()) is None:
                    passed.append(f"r{number}")
            assert len(passed) == 10, "two per cent of 5 dollars"
            for request_id in passed[:7]:
                assert await each.settle("here", request_id, DIME // 10) == Settlement(1, 0)
            assert await each.settle("here", "before", DIME) == Settlement()
            proxy.refusing = False
            async with asyncio.timeout(3):
                while not each._link.up:
                    await asyncio.sleep(0.01)
            assert await standing(each) == (DIME + 7 * DIME // 10, 0)
            for request_id in passed[7:]:
                await each.settle("here", request_id, DIME // 10)
            assert await each.settle("here", passed[0], DIME) == Settlement()
            assert await standing(each) == (2 * DIME, 0)

    async def test_a_lease_begun_here_and_grown_there_is_charged_once(self, own_redis):
        async with toxi(own_redis.url) as proxy, counter(proxy.url) as each:
            proxy.refusing = True
            await each.reserve("here", "r", DIME // 10, [ASK_OF_TODAY], later())
            proxy.refusing = False
            assert await each.reserve("here", "r", DIME, [ASK_OF_TODAY], later()) is None
            assert await each.settle("here", "r", DIME) == Settlement(1, 0)
            assert await standing(each) == (DIME, 0)


async def test_an_address_in_the_environment_makes_it_the_gateways_counter(redis_url):
    tree = {"counter": {"type": "redis", "url": redis_url, "rate_limit_prefix": fresh()}}
    async with gateway_of(tree) as gateway:
        assert isinstance(gateway.counter, LeaseCounter)
        assert (await gateway.counter.take("here", "k", 1, 1, 60)).granted
