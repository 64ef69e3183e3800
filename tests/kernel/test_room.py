"""10.12: `max_size_gb` bounds an org's entries over all tiers of a process; past it the least recently used go.

CM-3 and T1-6: what is listed and what is kept stays within its memory."""

from __future__ import annotations

import os
import random
import tracemalloc

import msgspec
import pytest

from asahi_kernel import serving
from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.gateway import Gateway
from asahi_kernel.preferences import Caching, Preferences
from asahi_kernel.room import Room, room_of
from asahi_kernel.settings import Api, Cache, Settings
from asahi_kernel.testing import ASK, HERE, PARIS, THERE
from asahi_kernel.tiers import newest

pytestmark = pytest.mark.anyio


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def answer(size: int):
    return msgspec.structs.replace(PARIS, text="x" * size)


class World:
    """Two tiers that share one room, and a clock."""

    def __init__(self, bound: int = 1_000_000) -> None:
        self.now = 0.0
        self.room = Room(lambda org: bound)
        self.first, self.second = (
            MemoryTier(Cache(), self.clock, tier, room=self.room)  # type: ignore[arg-type]
            for tier in (1, 3)
        )
        self.room.join(self.first)
        self.room.join(self.second)

    def clock(self) -> float:
        return self.now

    async def put(self, tier: MemoryTier, number: int) -> None:
        self.now += 1
        await tier.put(key(number), ASK, HERE, answer(20_000))

    async def has(self, tier: MemoryTier, number: int) -> bool:
        self.now += 1
        return await tier.get(key(number), ASK, HERE) is not None

    def bytes(self, org: str = "here") -> int:
        return self.first.weighed(org) + self.second.weighed(org)


async def test_the_least_recently_used_go_from_whichever_tier_has_them():
    world = World(bound=100_000)
    for number in range(4):
        await world.put(world.first, number)
    assert await world.has(world.first, 0)
    await world.put(world.second, 9)
    assert [await world.has(world.first, number) for number in range(4)] == [True, False, True, True]
    for number in range(10, 13):
        await world.put(world.second, number)
    assert world.bytes() <= 100_000
    assert not await world.has(world.second, 9)
    assert [await world.has(world.first, number) for number in (0, 2, 3)] == [False, False, True]
    assert await world.has(world.second, 10)


async def test_other_orgs_lose_nothing_for_it():
    world = World(bound=100_000)
    for number in range(4):
        await world.first.put(key(100 + number), ASK, THERE, answer(20_000))
    for number in range(50):
        await world.first.put(key(number), ASK, HERE, answer(20_000))
    assert world.bytes("here") <= 100_000
    assert len(await world.first.entries("there")) == 4


async def test_what_is_larger_than_all_that_its_org_may_have_is_not_kept():
    world = World(bound=10_000)
    await world.first.put(key(1), ASK, HERE, answer(20_000))
    assert world.bytes() == len(world.first) == 0


async def test_bytes_are_right_after_any_use():
    draw, world = random.Random(1), World(bound=60_000)
    for _ in range(3_000):
        number, org = draw.randrange(40), draw.choice((HERE, THERE))
        tier = draw.choice((world.first, world.second))
        name = key(number + 1_000 * (org is THERE))
        match draw.randrange(8):
            case 0:
                await tier.get(name, ASK, org)
            case 1:
                await tier.evict(org.org, draw.choice([*await tier.entries(org.org), "none"]))
            case 2 if draw.random() < 0.1:
                await tier.clear(org.org)
            case _:
                await tier.put(name, ASK, org, answer(draw.randrange(9_000)))
        assert world.bytes("here") <= 60_000 >= world.bytes("there")
    for tier in (world.first, world.second):
        sizes = {org: sum([row.size_bytes async for row in tier.rows(org)]) for org in ("here", "there")}
        assert sizes == {org: tier.weighed(org) for org in sizes}
        assert sum(sizes.values()) == tier.bytes


async def test_each_worker_has_its_part_of_what_the_org_says():
    gateway = Gateway(Settings(profile="development", api=Api(workers=4)))

    class Standings:
        def known(self, org: str):
            size = 0.0004 if org == "here" else 10
            return msgspec.defstruct("S", [("preferences", Preferences)])(Preferences(cache=Caching(max_size_gb=size)))

    gateway.standings = Standings()  # type: ignore[assignment]
    tier = MemoryTier(Cache(), room=room_of(gateway))
    gateway.room.join(tier)
    for number in range(20):
        await tier.put(key(number), ASK, HERE, answer(20_000))
        await gateway.room.make("here")
    assert len(tier) == 4


async def test_a_tier_in_memory_is_listed_in_little_memory():
    """A tenth more entries than before, listed: what it takes to list is ids, not entries."""
    tier = MemoryTier(Cache(max_entries=30_000, max_bytes=1 << 30))
    for number in range(30_000):
        await tier.put(key(number), ASK, HERE, PARIS)
    tracemalloc.start()
    told = [row.entry_id async for row in tier.rows("here")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told == sorted(told, reverse=True)
    assert len(told) == 30_000
    assert peak < 30_000 * 300


async def test_distinct_entries_without_end_take_no_more_than_the_bound():
    """T1-6, with fewer of them; a million in `benchmarks/memory.py`."""
    tier = MemoryTier(Cache(max_entries=10**9, max_bytes=5 << 20))
    peaks = []
    tracemalloc.start()
    for number in range(30_000):
        await tier.put(key(number), ASK, HERE, answer(500))
        if number in {10_000, 29_999}:
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert tier.bytes <= 5 << 20
    assert peaks[1] < peaks[0] * 1.02
    assert peaks[1] < 1.2 * (5 << 20)


@pytest.mark.parametrize("count", [0, 1, 4_999, 12_345])
async def test_ids_come_from_the_highest_down(count: int):
    ids = [f"{number:06}" for number in range(count)]
    shuffled = random.Random(count).sample(ids, count)
    assert [each async for each in newest(shuffled)] == ids[::-1]
    assert [each async for each in newest(shuffled, "002500")] == ids[:2_500][::-1]


def test_numpy_multiplies_with_one_thread_in_a_worker_unless_it_is_told_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serving, "run", lambda *_, **__: 0)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert serving.serve(Settings(profile="development")) == 0
    assert (os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]) == ("1", "3")
