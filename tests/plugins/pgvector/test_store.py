"""The vector store in a real PostgreSQL with pgvector."""

from __future__ import annotations

import asyncio
import math
import random
import time
from contextlib import asynccontextmanager

import asyncpg
import pytest

from asahi_kernel import ConfigError, Secret
from asahi_kernel.errors import Unavailable
from asahi_kernel.plugins import load_plugins
from asahi_kernel.testing import VectorStoreContract
from asahi_pgvector import StoreConfig, open_store

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def store(url: str, dimension: int = 4, timeout_ms: int = 5_000):
    async with open_store(StoreConfig(url=Secret(url), dimension=dimension, timeout_ms=timeout_ms), None) as opened:
        yield opened


def unit(seed: int, dimension: int) -> tuple[float, ...]:
    rng = random.Random(seed)
    values = [rng.gauss(0, 1) for _ in range(dimension)]
    length = math.sqrt(sum(value * value for value in values))
    return tuple(value / length for value in values)


class TestContract(VectorStoreContract):
    factory = load_plugins().catalogue("vector_stores")["pgvector"]

    @pytest.fixture(autouse=True)
    def server(self, fresh_database_url, monkeypatch):
        table = {"url": fresh_database_url, "dimension": 4, "timeout_ms": 5_000}
        monkeypatch.setattr(type(self), "config", table)


async def test_vectors_outlive_the_process_and_scores_are_cosines(fresh_database_url):
    one, other = unit(1, 4), unit(2, 4)
    async with store(fresh_database_url) as first:
        await first.upsert("here", "k", one, b"payload")
    async with store(fresh_database_url) as second:
        (match,) = await second.nearest("here", other, 5)
        assert (match.key, match.payload) == ("k", b"payload")
        assert match.score == pytest.approx(sum(x * y for x, y in zip(one, other, strict=True)), abs=1e-5)


async def test_shorter_vectors_keep_their_cosine_and_longer_ones_are_refused(fresh_database_url):
    one, other = unit(1, 3), unit(2, 3)
    async with store(fresh_database_url, 8) as each:
        await each.upsert("here", "k", one, b"")
        (match,) = await each.nearest("here", other, 5)
        assert match.score == pytest.approx(sum(x * y for x, y in zip(one, other, strict=True)), abs=1e-5)
        with pytest.raises(ValueError, match="9 dimensions"):
            await each.upsert("here", "k", unit(1, 9), b"")


async def test_many_at_once_replace_what_was_there(fresh_database_url):
    async with store(fresh_database_url) as each:
        await each.upsert("here", "k1", unit(1, 4), b"old")
        rows = [(f"k{number}", unit(number, 4), b"new") for number in range(1_000)]
        await each.upsert_many("here", [("k5", unit(9, 4), b"first"), *rows])
        assert (await each.count("here"), await each.count("there")) == (1_000, 0)
        assert {match.payload for match in await each.nearest("here", unit(1, 4), 10)} == {b"new"}
        assert await each.delete("here", ["k1", "k2", "unknown"]) == 2
        assert await each.delete("there") == 0
        assert await each.delete("here") == 998
        await each.upsert_many("here", [])


async def test_a_small_namespace_beside_a_large_one_finds_its_own(fresh_database_url):
    """The index holds both: one that gave up after the nearest forty would find nothing."""
    near = unit(7, 16)
    async with store(fresh_database_url, 16, 20_000) as each:
        noisy = [tuple(x + 0.01 * y for x, y in zip(near, unit(number, 16), strict=True)) for number in range(3_000)]
        await each.upsert_many("large", [(f"k{number}", vector, b"") for number, vector in enumerate(noisy)])
        await each.upsert_many("small", [(f"s{number}", unit(10_000 + number, 16), b"") for number in range(5)])
        async with each._pool.acquire() as connection:
            await connection.execute("ANALYZE asahi_vectors")
            await connection.execute("SET enable_sort = off")
            await connection.execute("SET enable_bitmapscan = off")
        found = await each.nearest("small", near, 5)
        assert {match.key for match in found} == {f"s{number}" for number in range(5)}


async def test_another_dimension_stops_the_start(fresh_database_url):
    async with store(fresh_database_url, 4):
        pass
    with pytest.raises(ConfigError, match="has 4 dimensions"):
        async with store(fresh_database_url, 8):
            pass


async def test_a_hostile_name_is_only_a_name(fresh_database_url):
    hostile = "x'; DROP TABLE asahi_vectors; --"
    async with store(fresh_database_url) as each:
        await each.upsert(hostile, hostile, unit(1, 4), b"")
        assert (await each.nearest(hostile, unit(1, 4), 1))[0].key == hostile
        assert await each.count("x") == 0


async def test_several_processes_may_start_together(fresh_database_url):
    async def one():
        async with store(fresh_database_url) as each:
            await each.upsert("here", "k", unit(1, 4), b"")

    await asyncio.gather(*(one() for _ in range(8)))


async def test_a_frozen_database_fails_within_its_time_and_comes_back(own_postgres):
    url = own_postgres.new_database()
    async with store(url, timeout_ms=300) as each:
        await each.upsert("here", "k", unit(1, 4), b"")
        own_postgres.server.freeze()
        for _ in range(3):
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                await each.nearest("here", unit(1, 4), 1)
            assert time.monotonic() - begun < 2
        own_postgres.server.resume()
        async with asyncio.timeout(10):
            while True:
                try:
                    found = await each.nearest("here", unit(1, 4), 1)
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
        assert found[0].key == "k"


async def test_a_database_that_is_down_at_the_start_is_used_once_it_is_there(own_postgres):
    url = own_postgres.new_database()
    own_postgres.server.stop()
    async with store(url) as each:
        with pytest.raises(Unavailable):
            await each.count("here")
        own_postgres.server.start()
        await each.upsert("here", "k", unit(1, 4), b"")
        assert await each.count("here") == 1


async def test_a_namespace_is_walked_weighed_and_trimmed_by_use(fresh_database_url):
    async with store(fresh_database_url) as each:
        await each.upsert_many("here", [(f"k{number:02}", unit(number, 4), b"x" * 100) for number in range(25)])
        await each.upsert("there", "k00", unit(1, 4), b"y")
        first = await each.page("here", None, 10)
        assert [key for key, _ in first] == [f"k{number}" for number in range(24, 14, -1)]
        assert first[0][1] == b"x" * 100
        assert [key for key, _ in await each.page("here", "k02", 10)] == ["k01", "k00"]
        rows, size = await each.sizes("here")
        assert rows == 25
        assert await each.trim("here", "k05", 100, 1 << 40) == 5
        await each.touch("here", ["k05", "k06"])
        assert await each.trim("here", "k00", 12, 1 << 40) == 8
        assert [key for key, _ in await each.page("here", None, 99)] == [
            *(f"k{number}" for number in range(24, 14, -1)),
            "k06",
            "k05",
        ]
        assert await each.trim("here", "k00", 100, 3 * size // 25) == 9
        assert [key for key, _ in await each.page("here", None, 99)] == ["k24", "k06", "k05"]
        assert await each.count("there") == 1


async def test_a_table_of_before_learns_when_its_rows_are_used(fresh_database_url):
    async with store(fresh_database_url) as each:
        await each.upsert("here", "k", unit(1, 4), b"")
    connection = await asyncpg.connect(fresh_database_url)
    await connection.execute("ALTER TABLE asahi_vectors DROP COLUMN used")
    await connection.close()
    async with store(fresh_database_url) as each:
        await each.touch("here", ["k"])
        assert await each.trim("here", "a", 1, 1 << 40) == 0
        assert await each.count("here") == 1
