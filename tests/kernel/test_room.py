"""10.12: `max_size_gb` bounds an org's entries over all tiers of a process; past it the least recently used go.

CM-3 and T1-6: what is listed and what is kept stays within its memory."""

from __future__ import annotations

import asyncio
import os
import random
import tracemalloc
from datetime import UTC, datetime

import msgspec
import pytest
from tests.kernel.kit import ask, gateway_of, replace

from asahi_kernel import listing, serving
from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.gateway import Gateway
from asahi_kernel.preferences import Caching, Preferences
from asahi_kernel.repositories.rules import ComplianceProfile, OrgPolicy, SettingsOf
from asahi_kernel.room import Room, bound_of, room_of
from asahi_kernel.settings import Api, Cache, Settings
from asahi_kernel.standing import Standing
from asahi_kernel.testing import ASK, HERE, PARIS, THERE
from asahi_kernel.tiers import newest

pytestmark = pytest.mark.anyio


NOW = datetime(2026, 11, 1, tzinfo=UTC)
SAID = frozenset({"cache.max_size_gb"})


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
            wanted = Preferences(cache=Caching(max_size_gb=size))
            return Standing(org=org, policy=OrgPolicy(org_id=org, updated_at=NOW), preferences=wanted, said=SAID)

    gateway.standings = Standings()  # type: ignore[assignment]
    tier = MemoryTier(Cache(), room=room_of(gateway))
    gateway.room.join(tier)
    for number in range(20):
        await tier.put(key(number), ASK, HERE, answer(20_000))
        await gateway.room.make("here")
    assert len(tier) == 4


async def wanting(gateway: Gateway, org: str, **cache: object) -> None:
    """As another worker would save it."""
    settings = gateway.storage.repositories.settings  # type: ignore[attr-defined]
    old = await settings.get(org)
    await settings.save(SettingsOf(org_id=org, updated_at=NOW, body={"cache": cache}), old.version if old else 0)


@pytest.mark.parametrize(("file", "said", "bound"), [(2.0, None, 2.0), (2.0, 0.5, 0.5), (2.0, 50, 2.0), (50, 3, 3)])
async def test_the_org_may_say_less_than_the_file_and_never_more(file: float, said: float | None, bound: float):
    async with gateway_of({"cache": {"max_size_gb": file, "max_bytes": 1 << 50}}) as gateway:
        if said is not None:
            await wanting(gateway, "here", max_size_gb=said)
        await gateway.standings.of("here")
        assert bound_of(gateway)("here") == bound * 1e9
        told = await listing.summary(gateway, "here", await gateway.storage.events.totals("here", None), money=True)
        assert told["storage_limit_bytes"] == bound * 1e9


async def test_a_bound_that_was_lowered_holds_within_a_second_without_another_entry():
    async with gateway_of() as gateway:
        tier = gateway.tiers["exact"]
        for number in range(10):
            await ask(gateway, replace(ASK, seed=number))
            await ask(gateway, replace(ASK, seed=number), THERE)
        await wanting(gateway, "here", max_size_gb=0.000005)
        await asyncio.sleep(0.55)
        assert (await ask(gateway, replace(ASK, seed=9))).hit is not None
        async with asyncio.timeout(1):
            while tier.weighed("here") > 5_000:  # type: ignore[attr-defined]
                await asyncio.sleep(0.01)
        assert 0 < len(await tier.entries("here")) < 10
        assert len(await tier.entries("there")) == 10
        assert (await ask(gateway, replace(ASK, seed=9))).hit is not None


async def test_it_holds_at_the_next_sweep_where_nobody_asks():
    bound = 1e9
    tier = MemoryTier(Cache(), room=(room := Room(lambda org: bound)))
    room.join(tier)
    for number in range(10):
        await tier.put(key(number), ASK, HERE, answer(20_000))
    bound = 50_000
    await tier.expire()
    assert len(tier) == 2


class Server:
    """A tier whose server is away the first time."""

    def __init__(self) -> None:
        self.trimmed: list[str] = []

    async def trim(self, org: str) -> int:
        self.trimmed.append(org)
        if len(self.trimmed) == 1:
            raise OSError("away")
        return 0


async def test_tiers_on_servers_are_told_too_and_one_that_fails_is_counted():
    async with gateway_of() as gateway:
        server = Server()
        gateway.tiers = {**gateway.tiers, "far": server}  # type: ignore[dict-item]
        for number in range(3):
            await wanting(gateway, "here", max_size_gb=1 + number // 2)
            await gateway.standings._look("here")
            await asyncio.sleep(0.01)
        assert server.trimmed == ["here", "here"], "once when it was first heard of, once when it changed"
        assert gateway.faults["cache.far"] == 1


async def test_where_it_is_not_cleaned_up_what_expired_stays_listed_and_is_never_served():
    now = 0.0
    tier = MemoryTier(Cache(ttl_jitter=0), lambda: now, life=lambda org: 10.0, grace=lambda org: 50.0 * (org == "here"))
    for number, principal in enumerate((HERE, THERE)):
        await tier.put(key(number), ASK, principal, PARIS)
    now = 10.0
    assert [await tier.get(key(number), ASK, who) for number, who in enumerate((HERE, THERE))] == [None, None]
    assert await tier.expire() == 0
    assert [len(await tier.entries(org)) for org in ("here", "there")] == [1, 0]
    await tier.put(key(0), ASK, HERE, PARIS)
    assert (await tier.get(key(0), ASK, HERE)) is not None
    now = 20.0
    assert await tier.sweep("here") == 1, "by hand it goes"
    await tier.put(key(0), ASK, HERE, PARIS)
    now = 79.0
    assert await tier.expire() == 0
    now = 80.0
    assert await tier.get(key(0), ASK, HERE) is None
    assert len(tier) == 0, "at last it goes by itself"


async def test_what_expired_goes_first_where_room_is_needed():
    now = 0.0
    room = Room(lambda org: 50_000)
    tier = MemoryTier(Cache(ttl_jitter=0), lambda: now, life=lambda org: 10.0, grace=lambda org: 1e9, room=room)
    room.join(tier)
    for number in range(4):
        now = 20.0 * number
        await tier.put(key(number), ASK, HERE, answer(20_000))
    assert [number for number in range(4) if key(number) in tier._entries] == [2, 3]


@pytest.mark.parametrize(
    ("said", "profile", "days"), [(True, None, 0), (False, None, 30), (False, 5, 5), (False, 90, 30)]
)
async def test_the_org_says_whether_it_is_cleaned_up_and_its_retention_bounds_that(said, profile, days):
    async with gateway_of({"governance": {"retention_days": 30}}) as gateway:
        await wanting(gateway, "here", auto_cleanup=said)
        if profile is not None:
            kept = ComplianceProfile(org_id="here", updated_at=NOW, retention_days=profile)
            await gateway.storage.repositories.compliance.save(kept)  # type: ignore[attr-defined]
        await gateway.standings.of("here")
        assert gateway.tiers["exact"]._grace("here") == days * 86_400  # type: ignore[attr-defined]


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
