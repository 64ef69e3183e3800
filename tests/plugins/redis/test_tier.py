"""The exact tier on a real server: shared, sealed, cleared at once, and never somebody else's."""

from __future__ import annotations

import asyncio
import random
import sys
import time

import msgspec
import pytest
from redis.asyncio import Redis
from tests.plugins.redis.kit import fresh, tier, toxi

from asahi_kernel.settings import Cache
from asahi_kernel.testing import ASK, HERE, PARIS, THERE
from asahi_kernel.types import Document, Principal
from asahi_kernel.vault import Vault

pytestmark = pytest.mark.anyio
KEY = b"k" * 32
replace = msgspec.structs.replace


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def answer(text: str):
    return replace(PARIS, text=text)


async def everything(url: str, prefix: str) -> dict[bytes, bytes]:
    async with Redis.from_url(url) as client:
        found = [name async for name in client.scan_iter(f"{prefix}:*")]
        return {name: await client.dump(name) for name in found}


async def test_two_processes_share_what_one_was_told(redis_url):
    """T1-7: a process of its own puts, this one and a third get."""
    prefix = fresh()
    code = (
        "import asyncio, sys\n"
        "from tests.plugins.redis.kit import tier\n"
        "from asahi_kernel.testing import ASK, HERE, PARIS\n"
        "async def main():\n"
        "    async with tier(sys.argv[1], cache_prefix=sys.argv[2], timeout_ms=2000) as each:\n"
        "        await each.put(b'k' * 32, ASK, HERE, PARIS)\n"
        "asyncio.run(main())\n"
    )
    from tests.house.tree import ROOT

    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, redis_url, prefix, cwd=ROOT)
    assert await process.wait() == 0
    for _ in range(2):
        async with tier(redis_url, cache_prefix=prefix, timeout_ms=2_000) as each:
            hit = await each.get(KEY, ASK, HERE)
            assert (hit.completion, hit.user) == (PARIS, "ann")


async def test_nothing_readable_lies_in_the_server(redis_url):
    prefix = fresh()
    secret = answer("the launch code is 8213")
    asked = replace(ASK, document=Document("a very private document", "doc-7"))
    async with tier(redis_url, cache_prefix=prefix) as each:
        await each.put(KEY, asked, Principal(org="acme-secret-org", user="ann.smith"), secret)
        assert await each.get(KEY, asked, Principal(org="acme-secret-org")) is not None
    stored = b"".join(part for pair in (await everything(redis_url, prefix)).items() for part in pair)
    for word in (b"launch", b"8213", b"capital", b"private", b"acme", b"ann.smith", b"doc-7"):
        assert word not in stored


async def test_an_entry_that_is_moved_to_another_org_cannot_be_opened(redis_url):
    prefix = fresh()
    async with tier(redis_url, cache_prefix=prefix) as each, Redis.from_url(redis_url) as client:
        await each.put(KEY, ASK, HERE, PARIS)
        assert await each.get(KEY, ASK, THERE) is None
        mine, yours = each._spaces["here"].entry(KEY.hex()), each._spaces["there"].entry(KEY.hex())
        await client.copy(mine, yours)
        assert await client.exists(yours)
        assert await each.get(KEY, ASK, THERE) is None
        assert await each.get(KEY, ASK, HERE) is not None


async def test_another_encryption_key_sees_nothing_and_breaks_nothing(redis_url):
    prefix = fresh()
    async with (
        tier(redis_url, cache_prefix=prefix) as each,
        tier(redis_url, None, Vault({"x": b"x" * 32}), cache_prefix=prefix) as other,
    ):
        await each.put(KEY, ASK, HERE, PARIS)
        assert await other.get(KEY, ASK, HERE) is None
        assert [row async for row in other.rows("here")] == []
        assert (await each.get(KEY, ASK, HERE)).completion == PARIS


async def test_entries_end_by_themselves_within_the_jitter(redis_url):
    async with tier(redis_url, Cache(ttl_seconds=1_000)) as each, Redis.from_url(redis_url) as client:
        for number in range(100):
            await each.put(key(number), ASK, HERE, PARIS)
        index = await client.pttl(each._spaces["here"].index)
        left = [await client.pttl(each._spaces["here"].entry(key(number).hex())) for number in range(100)]
        assert all(945_000 < ms <= 1_050_000 for ms in left)
        assert max(left) - min(left) > 20_000
        assert index >= max(left)
    async with tier(redis_url, Cache(ttl_seconds=1, ttl_jitter=0)) as each:
        await each.put(KEY, ASK, HERE, PARIS)
        await asyncio.sleep(1.1)
        assert await each.get(KEY, ASK, HERE) is None
        assert list(await each.entries("here")) == []


async def test_what_the_server_evicted_leaves_the_index_when_it_is_swept(redis_url):
    async with tier(redis_url) as each, Redis.from_url(redis_url) as client:
        for number in range(500):
            await each.put(key(number), ASK, HERE, PARIS)
        await client.delete(*[each._spaces["here"].entry(key(number).hex()) for number in range(0, 500, 2)])
        assert len(await each.entries("here")) == 250
        assert await each.sweep("here") == 250
        assert (await each.stats("here")).entries == 250
        assert await each.sweep("here") == 0


async def test_expiry_is_checked_on_read_too(redis_url):
    async with tier(redis_url, Cache(ttl_seconds=1, ttl_jitter=0)) as each, Redis.from_url(redis_url) as client:
        await each.put(KEY, ASK, HERE, PARIS)
        await client.persist(each._spaces["here"].entry(KEY.hex()))
        await asyncio.sleep(1.1)
        assert await each.get(KEY, ASK, HERE) is None


class TestClear:
    async def test_all_of_an_org_goes_from_the_server_and_nothing_of_others(self, redis_url):
        """CM-1."""
        prefix = fresh()
        async with tier(redis_url, cache_prefix=prefix, timeout_ms=2_000) as each, Redis.from_url(redis_url) as client:
            for number in range(1_200):
                await each.put(key(number), ASK, HERE, PARIS)
                await each.put(key(number), ASK, THERE, PARIS)
            await each.get(key(1), ASK, HERE)
            await each.tell()
            theirs = {name for name in await everything(redis_url, prefix) if b":t1:" in name}
            assert await each.clear("here") == 1_200
            assert await each.get(key(1), ASK, HERE) is None
            await asyncio.gather(*each._sweeps)
            left = {name for name in await everything(redis_url, prefix) if b":t1:" in name}
            gone = theirs - left
            assert len(gone) == 1_200 + 5
            assert len([row async for row in each.rows("there")]) == 1_200
            assert (await client.info("commandstats")).get("cmdstat_keys") is None

    async def test_it_holds_for_every_process_at_once(self, redis_url):
        prefix = fresh()
        async with tier(redis_url, cache_prefix=prefix) as one, tier(redis_url, cache_prefix=prefix) as two:
            await one.put(KEY, ASK, HERE, PARIS)
            assert await two.get(KEY, ASK, HERE) is not None
            await one.clear("here")
            assert await two.get(KEY, ASK, HERE) is None

    async def test_what_was_asked_before_and_is_answered_after_is_not_kept(self, redis_url):
        """CM-2, across processes: of many requests in flight none survives."""
        prefix = fresh()
        async with (
            tier(redis_url, cache_prefix=prefix, timeout_ms=2_000) as one,
            tier(redis_url, cache_prefix=prefix) as two,
        ):
            for number in range(200):
                assert await one.get(key(number), ASK, HERE) is None
            await one.expect(key(500), HERE)
            await two.clear("here")
            for number in (*range(200), 500):
                await one.put(key(number), ASK, HERE, PARIS)
            assert list(await one.entries("here")) == []
            await one.get(KEY, ASK, HERE)
            await one.put(KEY, ASK, HERE, PARIS)
            assert len(await one.entries("here")) == 1

    async def test_a_request_of_before_does_not_ride_on_one_of_after(self, redis_url):
        """Two requests under one key, the clear between them: the first one's answer is not kept."""
        async with tier(redis_url) as each:
            await each.get(KEY, ASK, HERE)
            await each.clear("here")
            await each.get(KEY, ASK, HERE)
            await each.put(KEY, ASK, HERE, answer("of before"))
            assert await each.get(KEY, ASK, HERE) is None

    async def test_a_number_never_comes_twice(self, redis_url):
        """Not even when the server forgot it: what was cleared would be back."""
        async with tier(redis_url) as each, Redis.from_url(redis_url) as client:
            await each.put(KEY, ASK, HERE, PARIS)
            old = each._spaces["here"]
            await each.clear("here")
            await client.delete(f"{old.root.rpartition('.')[0]}")
            assert await each.get(KEY, ASK, HERE) is None
            assert int(each._spaces["here"].generation) > int(old.generation)


async def test_hits_of_all_processes_are_counted_together(redis_url):
    prefix = fresh()
    async with tier(redis_url, cache_prefix=prefix) as one, tier(redis_url, cache_prefix=prefix) as two:
        await one.put(KEY, ASK, HERE, PARIS)
        for each in (one, two, two):
            await each.get(KEY, ASK, HERE)
            await each.tell()
        (row,) = [row async for row in one.rows("here")]
        assert row.hits == 3


async def test_a_claim_is_one_processs_for_its_time(redis_url):
    prefix = fresh()
    async with tier(redis_url, cache_prefix=prefix) as one, tier(redis_url, cache_prefix=prefix) as two:
        told = await asyncio.gather(*(each.claim(KEY, HERE, 0.3) for each in (one, two) for _ in range(20)))
        assert sum(told) == 1
        assert await one.claim(KEY, THERE, 0.3)
        await asyncio.sleep(0.4)
        assert await two.claim(KEY, HERE, 0.3)


async def test_10_000_bodies_over_50_tenants_never_cross(redis_url):
    """B1, T1-3: every tenant has the same keys, the worst case; 0 cross hits, 100 % own hits."""
    async with tier(redis_url, timeout_ms=5_000) as each:
        orgs = [Principal(org=f"org-{number}") for number in range(50)]

        async def fill(org):
            for number in range(200):
                assert await each.get(key(number), ASK, org) is None
                await each.put(key(number), ASK, org, answer(f"{org.org} {number}"))

        for org in orgs:
            await fill(org)
        wrong = own = 0
        for number in range(200):
            hits = await asyncio.gather(*(each.get(key(number), ASK, org) for org in orgs))
            for org, hit in zip(orgs, hits, strict=True):
                own += hit is not None
                wrong += hit is not None and hit.completion.text != f"{org.org} {number}"
        assert (own, wrong) == (10_000, 0)


@pytest.mark.parametrize("operations", [30_000])
async def test_a_cancelled_command_never_delivers_anothers_reply(redis_url, operations):
    """T1-8, B5: half of them cancelled at a random moment, through a proxy that holds replies back; values tagged.

    A reply for another key would not open, and so be told as missed.
    """
    async with toxi(redis_url) as proxy, tier(proxy.url, timeout_ms=5_000, pool_size=20) as each:
        for number in range(100):
            await each.put(key(number), ASK, HERE, answer(f"answer {number}"))
        proxy.delay_s = 0.002
        seen = {"wrong": 0, "right": 0, "missed": 0, "cancelled": 0}

        async def one() -> None:
            number = random.randrange(100)
            task = asyncio.ensure_future(each.get(key(number), ASK, HERE))
            if random.random() < 0.5:
                await asyncio.sleep(random.random() * 0.006)
                task.cancel()
            try:
                hit = await task
            except asyncio.CancelledError:
                seen["cancelled"] += 1
                return
            told = "missed" if hit is None else "right" if hit.completion.text == f"answer {number}" else "wrong"
            seen[told] += 1

        async def worker() -> None:
            while time.monotonic() < end and sum(seen.values()) < operations:
                await one()

        end = time.monotonic() + 25
        await asyncio.gather(*(worker() for _ in range(40)))
        proxy.delay_s = 0
        assert (seen["wrong"], seen["missed"]) == (0, 0)
        assert seen["cancelled"] > 1_000
        assert seen["right"] > 1_000
        alive = await asyncio.gather(*(each.get(key(number), ASK, HERE) for number in range(100)))
        assert [hit.completion.text for hit in alive] == [f"answer {number}" for number in range(100)]


async def test_past_the_bound_of_an_org_the_least_recently_used_go(redis_url):
    """10.12, over two processes: each counts what the other stored, and one org's entries cost another's nothing."""
    prefix = fresh()
    async with (
        tier(redis_url, cache_prefix=prefix, timeout_ms=2_000) as one,
        tier(redis_url, cache_prefix=prefix, timeout_ms=2_000) as other,
    ):
        for each in (one, other):
            each._bound = lambda org: 100_000 if org == "here" else 1e12
        for number in range(4):
            await one.put(key(number), ASK, HERE, answer("x" * 20_000))
            await other.put(key(number), ASK, THERE, answer("x" * 20_000))
        assert await other.get(key(0), ASK, HERE) is not None
        await other.tell()
        await other.put(key(4), ASK, HERE, answer("x" * 20_000))
        assert [bool(await one.get(key(number), ASK, HERE)) for number in range(5)] == [True, False, True, True, True]
        for number in range(20, 40):
            await (one, other)[number % 2].put(key(number), ASK, HERE, answer("x" * 20_000))
        assert len(await one.entries("here")) == 4
        assert len(await one.entries("there")) == 4
        await one.put(key(99), ASK, HERE, answer("x" * 200_000))
        assert await one.entries("here") == []


async def test_another_bound_is_kept_without_another_entry(redis_url):
    """10.12: the least recently used go, in more steps than one, of that org alone, and the sum stays right."""
    prefix = fresh()
    async with tier(redis_url, cache_prefix=prefix, timeout_ms=5_000) as each, Redis.from_url(redis_url) as client:
        assert await each.trim("nobody") == 0
        assert await client.keys(f"{prefix}*") == []
        for number in range(1_200):
            await each.put(key(number), ASK, HERE, PARIS)
        for number in range(3):
            await each.put(key(number), ASK, THERE, PARIS)
        assert await each.trim("here") == 0
        assert await each.get(key(0), ASK, HERE) is not None
        await each.tell()
        each._bound = lambda org: 2_500
        gone = await each.trim("here")
        assert 1_190 < gone < 1_200
        left = await each.entries("here")
        assert (len(left), await each.get(key(0), ASK, HERE) is not None) == (1_200 - gone, True)
        assert int(await client.hget(each._spaces["here"].sizes[2], "*")) <= 2_500
        assert len(await each.entries("there")) == 3


async def test_the_bytes_of_an_org_are_right_after_any_use(redis_url):
    """Stored anew, evicted, expired: the server's sum is that of what it holds."""
    prefix, draw = fresh(), random.Random(2)
    cache = Cache(ttl_seconds=1, ttl_jitter=0.0)
    async with (
        tier(redis_url, cache_prefix=prefix, timeout_ms=2_000) as lasting,
        tier(redis_url, cache_prefix=prefix, timeout_ms=2_000, cache=cache) as short,
        Redis.from_url(redis_url) as client,
    ):
        for _ in range(200):
            name = key(draw.randrange(30))
            if draw.random() < 0.3:
                await lasting.evict("here", draw.choice([*await lasting.entries("here"), "none"]))
            each = short if draw.random() < 0.4 else lasting
            await each.put(name, ASK, HERE, answer("x" * draw.randrange(3_000)))
        await asyncio.sleep(1.1)
        await lasting.put(key(99), ASK, HERE, PARIS)
        space = lasting._spaces["here"]
        told = {name.decode(): int(size) for name, size in (await client.hgetall(space.sizes[2])).items()}
        whole = told.pop("*")
        held = {name: await client.strlen(space.entry(name)) for name in told}
        assert told == {name: size + 600 for name, size in held.items()}
        assert whole == sum(told.values())
        assert len(held) == len(await lasting.entries("here")) == await client.zcard(space.sizes[0])
