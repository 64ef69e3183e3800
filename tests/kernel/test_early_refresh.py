"""An entry that many ask for is renewed by one of them before it expires; nobody waits, and nothing fails for it."""

import asyncio
import random

import pytest
from tests.kernel.kit import ask, chunks_of, events_of, gateway_of, replace

from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.clearing import clear
from asahi_kernel.errors import ProviderError, Unavailable
from asahi_kernel.resilience.early import EarlyRefresh
from asahi_kernel.settings import Cache
from asahi_kernel.testing import ASK, PARIS
from asahi_kernel.types import Completion, Hit, Usage

pytestmark = pytest.mark.anyio
TTL, RATE = 10, 300


class World:
    """A clock that the test moves, and a provider that takes a quarter of a second of it."""

    def __init__(self):
        self.now = 1_000.0
        self.calls = 0
        self.failing = False
        self.cost = 0
        self._waiting = []

    def clock(self):
        return self.now

    async def complete(self, model, request):
        self.calls += 1
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((self.now + 0.25, done))
        await done
        if self.failing:
            raise ProviderError("no", status=503, retryable=False)
        return Completion(text=f"answer {self.calls}", model=model.name, usage=Usage(8, 2))

    async def pass_by(self, seconds):
        self.now += seconds
        for at, done in self._waiting:
            if at <= self.now and not done.done():
                done.set_result(None)
        self._waiting = [each for each in self._waiting if not each[1].done()]
        for _ in range(12):
            await asyncio.sleep(0)


def gateway(world, tier, **cache):
    tree = {
        "cache": {"tiers": ["clocked"], "ttl_seconds": TTL, **cache},
        "providers": {"slow": {"max_retries": 0}},
        "models": [
            {"name": "model-a", "provider": "slow", "avg_latency_ms": 200.0}
            | {"cost_per_1k_input_tokens": 0.001, "cost_per_1k_output_tokens": 0.002}
        ],
    }
    return gateway_of(tree, cache_tiers=("clocked", tier), providers=("slow", world))


async def traffic(opened, world, seconds):
    """Asks at a steady rate; gives the answers and what was raised."""
    tasks = []
    for _ in range(int(seconds * RATE)):
        tasks.append(asyncio.ensure_future(ask(opened)))
        await world.pass_by(1 / RATE)
    await world.pass_by(1)
    return await asyncio.gather(*tasks, return_exceptions=True)


class TestAtSpeed:
    async def test_an_expiry_costs_one_call(self):
        """E10: 300 requests a second on one key over 20 lives of its entry."""
        random.seed(7)
        world = World()
        tier = MemoryTier(Cache(ttl_seconds=TTL), world.clock)
        async with gateway(world, tier) as opened:
            opened.early = EarlyRefresh(world.clock)
            await traffic(opened, world, 1)
            first = world.calls
            answers = await traffic(opened, world, 20 * TTL)
            assert first == 1
            assert world.calls - first <= 22
            assert all(answer.completion.text for answer in answers)
            waited = [answer for answer in answers if not answer.hit]
            assert len(waited) == world.calls - first, "only who renews waits: nobody found the entry gone"

    async def test_without_it_many_find_the_entry_gone(self):
        world = World()
        tier = MemoryTier(Cache(ttl_seconds=TTL), world.clock)
        async with gateway(world, tier, early_refresh=False) as opened:
            opened.early = EarlyRefresh(world.clock)
            answers = await traffic(opened, world, 3 * TTL)
            shared = [each for each in answers if each.hit and each.hit.age_s == 0 and each.hit.expires_in_s is None]
            assert len(shared) > 100
            assert world.calls <= 4


class TestFailure:
    async def renewing(self, world):
        """A tier whose entry is always about to expire."""

        class Old(MemoryTier):
            async def get(self, key, request, principal):
                hit = await super().get(key, request, principal)
                return None if hit is None else replace(hit, age_s=9.999, expires_in_s=1e-9)

        return Old(Cache(ttl_seconds=TTL), world.clock)

    async def test_the_entry_answers_when_it_cannot_be_renewed(self):
        world = World()
        async with gateway(world, await self.renewing(world)) as opened:
            opened.early = EarlyRefresh(world.clock)
            first = asyncio.ensure_future(ask(opened))
            await world.pass_by(0.1)
            await world.pass_by(1)
            assert (await first).completion.text == "answer 1"
            world.failing = True
            second = asyncio.ensure_future(ask(opened))
            await world.pass_by(0.1)
            await world.pass_by(1)
            answer = await second
            assert (answer.completion.text, answer.cache_status, world.calls) == ("answer 1", "t1", 2)
            assert answer.bill.saved == sum(answer.bill.saved_by.values())
            third = await ask(opened)
            assert third.hit, "nobody tries again at once"
            assert world.calls == 2
            events = await events_of(opened)
            assert [event.status for event in events] == ["ok"] * 3
            assert [len(event.attempts) for event in events] == [1, 1, 0]

    async def test_a_stream_gets_the_entry_too(self):
        world = World()
        async with gateway(world, await self.renewing(world)) as opened:
            opened.early = EarlyRefresh(world.clock)
            first = asyncio.ensure_future(ask(opened))
            await world.pass_by(0.1)
            await world.pass_by(1)
            await first
            world.failing = True
            stream = asyncio.ensure_future(chunks_of(opened))
            await world.pass_by(0.1)
            await world.pass_by(1)
            items = await stream
            assert "".join(each.text for each in items[:-1]) == "answer 1"

    async def test_without_an_entry_the_failure_stands(self):
        world = World()
        world.failing = True
        async with gateway(world, await self.renewing(world)) as opened:
            first = asyncio.ensure_future(ask(opened))
            await world.pass_by(0.1)
            await world.pass_by(1)
            with pytest.raises(Unavailable):
                await first

    async def test_a_claim_that_another_has_or_that_cannot_be_made_is_none(self):
        world = World()
        tier = await self.renewing(world)

        async def refuse(key, principal, seconds):
            return False

        async def fail(key, principal, seconds):
            raise OSError

        for claim in (refuse, fail):
            tier.claim = claim
            world.calls = 0
            async with gateway(world, tier) as opened:
                opened.early = EarlyRefresh(world.clock)
                first = asyncio.ensure_future(ask(opened))
                await world.pass_by(0.1)
                await world.pass_by(1)
                await first
                assert (await ask(opened)).hit
                await tier.clear("here")
                assert world.calls == 1


class TestDrawing:
    hit = Hit(completion=PARIS, tier=1, entry_id="e", age_s=50, expires_in_s=50)

    def test_who_is_far_from_the_end_is_not_drawn(self):
        early = EarlyRefresh(lambda: 0.0, random.Random(1).random)
        assert not any(early.due(bytes([n]), self.hit, 0.5) for n in range(250))

    def test_near_the_end_almost_everybody_is_and_one_is_enough(self):
        early = EarlyRefresh(lambda: 0.0, random.Random(1).random)
        near = replace(self.hit, age_s=100, expires_in_s=0.001)
        drawn = [early.due(b"k", near, 0.5) for _ in range(50)]
        assert sum(each > 0 for each in drawn) == 1

    def test_an_entry_that_does_not_say_is_left_alone(self):
        early = EarlyRefresh(lambda: 0.0, lambda: 1 - 1e-16)
        assert not early.due(b"k", replace(self.hit, expires_in_s=None), 0.5)
        assert not early.due(b"k", replace(self.hit, expires_in_s=0.0), 0.5)

    def test_its_memory_is_bounded(self):
        now = [0.0]
        early = EarlyRefresh(lambda: now[0], lambda: 1 - 1e-16)
        near = replace(self.hit, age_s=100, expires_in_s=0.001)
        for number in range(30_000):
            now[0] += 0.01
            early.due(number.to_bytes(4, "big"), near, 0.5)
        assert len(early._resting) <= 10_001


async def test_an_answer_to_a_question_from_before_a_clear_is_not_kept():
    """CM-2 in this process, whatever the tier."""
    world = World()
    tier = MemoryTier(Cache(ttl_seconds=TTL), world.clock)
    async with gateway(world, tier) as opened:
        first = asyncio.ensure_future(ask(opened))
        await world.pass_by(0.1)
        await clear(opened, "here")
        await world.pass_by(1)
        assert (await first).completion.text == "answer 1"
        assert len(tier) == 0
        second = asyncio.ensure_future(ask(opened, ASK))
        await world.pass_by(0.1)
        await world.pass_by(1)
        await second
        assert len(tier) == 1
