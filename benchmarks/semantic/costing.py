"""What a look-up costs with many entries, in time and in memory."""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import time

from msgspec import Struct

from asahi_semantic.parts import Parts
from asahi_semantic.store import NumpyStore
from benchmarks.semantic.driving import LOCAL, ORG, Run, answering, asking
from benchmarks.semantic.embedding import quantile
from benchmarks.semantic.truth import intents


class Cost(Struct, frozen=True, kw_only=True):
    """Milliseconds of CPU of `get`, for hits by exact text and for look-ups that search; resident bytes per entry."""

    entries: int
    index: str
    exact_ms: float
    median_ms: float
    p99_ms: float
    entry_bytes: float


def cost(entries: int, indexed: bool) -> Cost:
    """Fill a tier with variations of real questions, then ask it others."""
    return asyncio.run(_cost(entries, indexed))


async def _cost(entries: int, indexed: bool) -> Cost:
    draw = random.Random(4)
    texts = [each.text for name in ("banking77", "clinc150") for each in intents(name, training=True)]
    words = sorted({word for text in texts for word in text.split()})
    runner = Run(max_entries=entries)
    runner.tier._parts = Parts(LOCAL, NumpyStore(None, 10_000 if indexed else None), LOCAL)
    gc.collect()
    before = _memory()
    answer = answering("one answer for all of them")
    for number in range(entries):
        text = f"{draw.choice(texts)} {draw.choice(words)} {draw.choice(words)}"
        await runner.tier.put(number.to_bytes(32, "big"), asking(text), ORG, answer)
    gc.collect()
    held = (_memory() - before) / entries
    exact: list[float] = []
    searched: list[float] = []
    stored = [each.text for each in runner.tier._entries.of(ORG.org)]
    for number in range(500):
        exact.append(await _timed(runner, number, draw.choice(stored)))
        searched.append(await _timed(runner, number, f"{draw.choice(texts)} {draw.choice(words)}"))
    runner.close()
    return Cost(
        entries=entries,
        index="usearch" if indexed and entries > 10_000 else "numpy",
        exact_ms=quantile(exact, 0.5),
        median_ms=quantile(searched, 0.5),
        p99_ms=quantile(searched, 0.99),
        entry_bytes=held,
    )


async def _timed(runner: Run, number: int, text: str) -> float:
    begun = time.process_time()
    await runner.tier.get(number.to_bytes(32, "little"), asking(text), ORG)
    return (time.process_time() - begun) * 1e3


def _memory() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
