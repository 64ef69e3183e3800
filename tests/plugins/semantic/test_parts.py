"""The embedder and the store within their time, and what stands in for them (T2-6, D4)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from tests.plugins.semantic.kit import LOCAL, Bench, Clock, ask

from asahi_kernel.resilience.breaker import Breaker
from asahi_semantic.parts import Parts
from asahi_semantic.store import NumpyStore

pytestmark = pytest.mark.anyio
PASSWORD, SAME = "How do I reset my password?", "I forgot my password, how can I reset it now?"


class Sick:
    """An embedder or a store that can be made ill."""

    dimensions = 8
    version = "7"

    def __init__(self) -> None:
        self.store = NumpyStore(None)
        self.illness = ""
        self.calls = 0

    async def _suffer(self) -> None:
        self.calls += 1
        if self.illness == "slow":
            await asyncio.sleep(5)
        if self.illness == "error":
            raise RuntimeError("500")

    async def embed(self, texts):
        await self._suffer()
        size = 5 if self.illness == "wrong dimension" else self.dimensions
        return [(1.0, *[0.0] * (size - 1)) for _ in texts]

    async def upsert(self, namespace, key, vector, payload):
        await self._suffer()
        await self.store.upsert(namespace, key, vector, payload)

    async def nearest(self, namespace, vector, limit):
        await self._suffer()
        return () if self.illness == "stale" else await self.store.nearest(namespace, vector, limit)

    async def delete(self, namespace, keys=None):
        await self._suffer()
        return await self.store.delete(namespace, keys)


class Ward:
    """A tier with parts that can be made ill."""

    def __init__(self, *, embedder=None, store=None) -> None:
        self.clock = Clock()
        self.faults: Counter[str] = Counter()
        self.parts = Parts(
            embedder or LOCAL,
            store or NumpyStore(None),
            LOCAL,
            name="cohere" if embedder else "local",
            embed_ms=60,
            store_ms=40,
            fault=lambda part: self.faults.update([part]),
            breakers=(Breaker(clock=self.clock), Breaker(clock=self.clock)),
        )
        self.bench = Bench(parts=self.parts)

    async def learn(self, text: str, answer: str) -> None:
        await self.bench.learn(text, answer)
        await self.bench.catch_up()


@pytest.mark.parametrize("illness", ["slow", "error", "wrong dimension"])
async def test_an_embedder_that_fails_is_stood_in_for_within_its_time_and_returns(illness: str) -> None:
    sick = Sick()
    ward = Ward(embedder=sick)
    sick.illness = illness
    begun = time.monotonic()
    await ward.learn(PASSWORD, "Click reset.")
    hit = await ward.bench.get(ask(SAME))
    assert hit is not None
    assert time.monotonic() - begun < 4.5, "one look-up alone would have taken 5 s"
    assert ward.faults["embedder"] >= 2
    assert {entry.namespace for entry in ward.bench.tier._stock._entries.of("here")} == {"here:local:1"}
    for _ in range(3):
        await ward.bench.get(ask(SAME))
    asked = sick.calls
    await ward.bench.get(ask(SAME))
    assert sick.calls == asked, "an embedder that keeps failing is left alone for a while"
    sick.illness = ""
    ward.clock.now += 61
    await ward.learn("Something else entirely", "Yes.")
    assert "here:cohere:7" in {entry.namespace for entry in ward.bench.tier._stock._entries.of("here")}


@pytest.mark.parametrize("illness", ["slow", "error"])
async def test_a_store_that_fails_is_stood_in_for_and_gets_what_it_missed(illness: str) -> None:
    sick = Sick()
    ward = Ward(store=sick)
    sick.illness = illness
    begun = time.monotonic()
    await ward.learn(PASSWORD, "Click reset.")
    assert (await ward.bench.get(ask(SAME))) is not None, "the stand-in has it"
    assert time.monotonic() - begun < 4.5, "one look-up alone would have taken 5 s"
    assert ward.faults["store"] >= 1
    assert await sick.store.count("here:local:1") == 0
    sick.illness = ""
    ward.clock.now += 61
    await ward.bench.get(ask(SAME))
    assert await sick.store.count("here:local:1") == 1, "and so has the store, once it is back"
    assert (await ward.bench.get(ask(SAME))) is not None


async def test_a_store_that_cannot_see_yet_what_it_was_given_is_a_miss_and_no_error() -> None:
    sick = Sick()
    ward = Ward(store=sick)
    await ward.learn(PASSWORD, "Click reset.")
    sick.illness = "stale"
    assert await ward.bench.get(ask(SAME)) is None
    assert not ward.faults


async def test_what_a_store_could_not_delete_is_served_no_more() -> None:
    sick = Sick()
    ward = Ward(store=sick)
    await ward.learn(PASSWORD, "Click reset.")
    sick.illness = "error"
    assert await ward.bench.tier.clear("here") == 1
    sick.illness = ""
    ward.clock.now += 61
    assert await ward.bench.get(ask(SAME)) is None
    await ward.bench.get(ask(SAME))
    assert await sick.store.count("here:local:1") == 0
