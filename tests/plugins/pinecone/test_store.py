"""The vector store in Pinecone: its SDK against a double of its HTTP API, and against itself where there is a key."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from tests.plugins.pinecone.double import KEY, serving

from asahi_kernel import Secret
from asahi_kernel.errors import Unavailable
from asahi_kernel.plugins import load_plugins
from asahi_kernel.testing import VectorStoreContract
from asahi_pinecone import StoreConfig, open_store

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def store(double, key: str = KEY, timeout_ms: int = 5_000, **fields):
    fields = {"host": double.url, **fields}
    async with open_store(StoreConfig(api_key=Secret(key), timeout_ms=timeout_ms, **fields), None) as opened:
        yield opened


class TestContract(VectorStoreContract):
    factory = load_plugins().catalogue("vector_stores")["pinecone"]

    config = {"api_key": KEY, "host": "http://127.0.0.1:9"}

    @pytest.fixture
    async def subject(self, gateway):
        async with serving() as double:
            config = StoreConfig(api_key=Secret(KEY), host=double.url, timeout_ms=5_000)
            async with self.factory.open(config, gateway) as opened:
                yield opened

    async def test_vectors_survive_a_restart(self, gateway):
        async with serving() as double:
            self.config = {"api_key": KEY, "host": double.url, "timeout_ms": 5_000}
            await super().test_vectors_survive_a_restart(gateway)


async def test_an_index_is_found_by_its_name():
    async with serving() as double, store(double, host=None, controller=double.url) as each:
        await each.upsert("here", "k", (1.0, 0.0, 0.0, 0.0), b"payload")
        (match,) = await each.nearest("here", (1.0, 0.0, 0.0, 0.0), 1)
        assert (match.key, match.payload, double.calls[0]) == ("k", b"payload", "/indexes/asahi-vectors")


async def test_shorter_vectors_are_filled_up_and_longer_ones_refused():
    async with serving(8) as double, store(double) as each:
        await each.upsert("here", "k", (0.6, 0.8), b"")
        assert double.vectors["here"]["k"]["values"] == [0.6, 0.8, 0, 0, 0, 0, 0, 0]
        assert (await each.nearest("here", (0.8, 0.6), 1))[0].score == pytest.approx(0.96)
        with pytest.raises(ValueError, match="9 dimensions"):
            await each.upsert("here", "k", (1.0,) * 9, b"")


async def test_many_go_in_batches_that_the_vendor_takes():
    async with serving(1_024) as double, store(double, timeout_ms=20_000) as each:
        rows = [(f"k{number}", (number / 7, *(1 / 3,) * 1_023), b"p" * 100) for number in range(120)]
        await each.upsert_many("here", rows)
        assert double.calls.count("/vectors/upsert") == 3
        assert double.largest < 2 << 20
        assert (await each.count("here"), await each.count("there")) == (120, 0)
        assert await each.delete("here", ["k1", "k2", "unknown"]) == 2
        assert await each.delete("here") == 118
        assert await each.delete("here") == 0
        assert await each.delete("here", []) == 0


async def test_a_vendor_that_is_slow_or_fails_is_an_error_within_the_time_and_comes_back():
    async with serving() as double, store(double, timeout_ms=300) as each:
        await each.upsert("here", "k", (1.0, 0.0, 0.0, 0.0), b"")
        double.delay_s = 3.0
        for _ in range(3):
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                await each.nearest("here", (1.0, 0.0, 0.0, 0.0), 1)
            assert time.monotonic() - begun < 1.5
        double.delay_s, double.status = 0.0, 500
        with pytest.raises(Unavailable):
            await each.nearest("here", (1.0, 0.0, 0.0, 0.0), 1)
        double.status = 0
        assert (await each.nearest("here", (1.0, 0.0, 0.0, 0.0), 1))[0].key == "k"


async def test_cancelled_questions_leave_the_client_alive():
    """The pool of the SDK's client dies of cancelled calls."""
    async with serving() as double, store(double) as each:
        await each.upsert("here", "k", (1.0, 0.0, 0.0, 0.0), b"")
        double.delay_s = 0.01
        for _ in range(300):
            task = asyncio.ensure_future(each.nearest("here", (1.0, 0.0, 0.0, 0.0), 1))
            await asyncio.sleep(0.001)
            task.cancel()
        double.delay_s = 0.0
        found = await asyncio.gather(*(each.nearest("here", (1.0, 0.0, 0.0, 0.0), 1) for _ in range(20)))
        assert all(matches[0].key == "k" for matches in found)


async def test_a_wrong_key_is_an_error_that_does_not_show_it():
    async with serving() as double, store(double, "pc-another-key") as each:
        with pytest.raises(Unavailable) as caught:
            await each.count("here")
        assert "another" not in str(caught.value)


async def test_a_vendor_that_cannot_be_reached_is_an_error_within_the_time():
    config = StoreConfig(api_key=Secret(KEY), host="http://127.0.0.1:9", timeout_ms=300)
    async with open_store(config, None) as each:
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            await each.count("here")
        assert time.monotonic() - begun < 1.5


@pytest.mark.live
@pytest.mark.skipif(not os.environ.get("PINECONE_API_KEY"), reason="PINECONE_API_KEY is not set")
async def test_live_a_round_trip():
    """T2-8."""
    name = os.environ.get("PINECONE_INDEX", "asahi-vectors")
    config = StoreConfig(api_key=Secret(os.environ["PINECONE_API_KEY"]), index_name=name, timeout_ms=30_000)
    namespace = f"test-{uuid4().hex}"
    async with open_store(config, None) as each:
        await each.upsert(namespace, "k", (1.0, 0.5), b"payload")
        async with asyncio.timeout(60):
            while not (found := await each.nearest(namespace, (1.0, 0.5), 1)):
                await asyncio.sleep(1)
        assert found[0].payload == b"payload"
        await each.delete(namespace)
