"""B3, T1-4: no one learns from the time of an answer what another tenant asked."""

from __future__ import annotations

import gc
import random
import time
from contextlib import asynccontextmanager
from statistics import median

import pytest
from tests.plugins.redis.kit import tier

from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.fingerprint import Salts, fingerprint
from asahi_kernel.settings import Cache
from asahi_kernel.testing import HERE, PARIS, THERE
from asahi_kernel.types import Message, Request

pytestmark = pytest.mark.anyio
PROBES = 2_000


def asking(number: int) -> Request:
    return Request(messages=(Message("user", f"question {number:06d}"),))


def auc(ones: list[float], others: list[float]) -> float:
    """The probability that one of the first is larger than one of the second (Mann-Whitney), ties half."""
    ranked = sorted([(value, 1) for value in ones] + [(value, 0) for value in others])
    rank = {}
    at = 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        rank[ranked[at][0]] = (at + end + 1) / 2
        at = end
    total = sum(rank[value] for value in ones)
    return (total - len(ones) * (len(ones) + 1) / 2) / (len(ones) * len(others))


def test_the_measure_tells_what_differs():
    assert auc([2.0, 3.0], [1.0, 1.5]) == 1.0
    assert auc([1.0, 2.0], [1.0, 2.0]) == 0.5


@asynccontextmanager
async def memory(url: str):
    yield MemoryTier(Cache(max_entries=100_000))


@asynccontextmanager
async def redis(url: str):
    async with tier(url, timeout_ms=5_000) as each:
        yield each


async def probe(each, salts: Salts, attacker) -> float:
    """Every other question is the victim's, so that nothing but that tells them apart: neither length nor age."""
    victim = salts.of(HERE.org)
    for number in range(0, 2 * PROBES, 2):
        await each.put(fingerprint(asking(number), victim), asking(number), HERE, PARIS)
    took: dict[bool, list[float]] = {True: [], False: []}
    numbers = list(range(2 * PROBES))
    random.shuffle(numbers)
    own = salts.of(attacker.org)
    gc.collect()
    for number in numbers:
        request = asking(number)
        begun = time.perf_counter_ns()
        await each.get(fingerprint(request, own), request, attacker)
        took[number % 2 == 0].append(time.perf_counter_ns() - begun)
    return auc(took[True], took[False])


@pytest.mark.parametrize("opened", [memory, redis])
async def test_a_stranger_sees_no_difference(opened, redis_url):
    async with opened(redis_url) as each:
        seen = [await probe(each, Salts(b"s" * 32), THERE) for _ in range(3)]
        assert abs(median(seen) - 0.5) < 0.03, seen


@pytest.mark.parametrize("opened", [memory, redis])
async def test_the_probe_would_see_one(opened, redis_url):
    """The victim itself can tell its own hits: were keys the same for all, so could anybody."""
    async with opened(redis_url) as each:
        assert abs(await probe(each, Salts(b"s" * 32), HERE) - 0.5) > 0.1
