"""Entries under the keys of their users: one that cannot be opened now is a miss, and is not told to be gone."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis
from tests.kernel.keys import Store
from tests.plugins.redis.kit import VAULT, fresh, tier

from asahi_kernel.errors import Unavailable
from asahi_kernel.keyring import MARK, Keyring
from asahi_kernel.repositories.subjects import subject_of
from asahi_kernel.testing import ASK, HERE, PARIS

pytestmark = pytest.mark.anyio
KEY, OTHER = b"k" * 32, b"o" * 32


async def entries(url, prefix):
    async with Redis.from_url(url) as client:
        names = [name async for name in client.scan_iter(f"{prefix}:t1:*")]
        return [await client.get(name) for name in names if len(name.rpartition(b":")[2]) == 64]


async def test_while_storage_is_away_entries_of_unknown_keys_are_misses_and_come_back(redis_url):
    prefix, store = fresh(), Store()
    cold = Keyring(VAULT, store)
    async with (
        tier(redis_url, cache_prefix=prefix, timeout_ms=2_000, keyring=Keyring(VAULT, store)) as one,
        tier(redis_url, cache_prefix=prefix, timeout_ms=2_000, keyring=cold) as other,
    ):
        await one.put(KEY, ASK, HERE, PARIS)
        (blob,) = await entries(redis_url, prefix)
        assert blob[26:27] == MARK
        store.away = True
        assert (await one.get(KEY, ASK, HERE)).completion == PARIS
        assert await other.get(KEY, ASK, HERE) is None
        await other.put(OTHER, ASK, HERE, PARIS)
        assert await entries(redis_url, prefix) == [blob]
        with pytest.raises(Unavailable):
            await other.entries("here")
        assert await other.sweep("here") == 0
        store.away, cold._resting_until = False, 0.0
        assert (await other.get(KEY, ASK, HERE)).completion == PARIS
        assert len(await other.entries("here")) == 1


async def test_an_erased_users_entry_is_none_and_that_of_others_stays(redis_url):
    store = Store()
    ring = Keyring(VAULT, store)
    async with tier(redis_url, timeout_ms=2_000, keyring=ring) as one:
        await one.put(KEY, ASK, HERE, PARIS)
        await one.put(OTHER, ASK, replace(HERE, user="bob"), PARIS)
        await store.erase("here", subject_of("here", HERE.user), datetime.now(UTC))
        ring.forget("here")
        assert await one.get(KEY, ASK, HERE) is None
        assert (await one.get(OTHER, ASK, HERE)).user == "bob"
        assert [row.user async for row in one.rows("here")] == ["bob"]
