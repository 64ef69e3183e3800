"""The equality judge against people: how often it calls equal what they call different, and the other way round."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec import Struct

from asahi_kernel.types import Completion
from asahi_semantic.judge import equal
from benchmarks.semantic.driving import LOCAL
from benchmarks.semantic.truth import pairs


class Judged(Struct, frozen=True):
    """Of the pairs that people call different, and of those they call the same."""

    different: int
    called_equal: int
    same: int
    called_different: int


def judge(quora: Path, most: int = 12_000) -> Judged:
    """Quora pairs stand in for answers: they are short and on one topic, which is the hardest case."""
    return asyncio.run(_judge(quora, most))


async def _judge(quora: Path, most: int) -> Judged:
    async def likeness(one: str, other: str) -> float:
        return float(LOCAL.vector(one) @ LOCAL.vector(other))

    counts = {True: [0, 0], False: [0, 0]}
    for one, other, same in pairs(quora)[:most]:
        found = await equal(Completion(text=one, model="m"), Completion(text=other, model="m"), "general", likeness)
        counts[same][0] += 1
        counts[same][1] += found != same
    return Judged(*counts[False], *counts[True])
