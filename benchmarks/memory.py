"""Memory of a million entries: put one by one into a bounded tier (T1-6), and exported from a large one (CM-3).

    python -m benchmarks.memory [--entries 1000000]

What counts is what each takes on top of what was there, in MB of resident memory, along the way.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
from types import SimpleNamespace
from typing import Any, cast

from msgspec.structs import replace

from asahi_kernel.api.cache import written
from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.gateway import Gateway
from asahi_kernel.listing import View
from asahi_kernel.settings import Cache
from asahi_kernel.testing import ASK, HERE, PARIS
from asahi_kernel.types import Completion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    asyncio.run(measure(parser.parse_args().entries))


async def measure(entries: int) -> None:
    print("| what | entries | MB on top |\n|---|---|---|")
    bounded = MemoryTier(Cache(max_entries=10**9))
    await fill(bounded, entries, f"put into a tier of {Cache().max_bytes >> 20} MiB")
    del bounded
    gc.collect()
    large = MemoryTier(Cache(max_entries=10**9, max_bytes=1 << 40))
    await fill(large, entries, "put into a tier without a bound")
    gateway = cast("Gateway", SimpleNamespace(registry=SimpleNamespace(by_name={})))
    rows = large.rows(HERE.org)
    before, size, most, number = resident(), 0, 0, 0
    view = View(prompts=True, money=True, response=True)
    async for piece in written(gateway, HERE.org, view, await anext(rows), cast("Any", rows), lines=True):
        size += len(piece)
        number += 1
        if number % 100 == 0:
            most = max(most, resident() - before)
    print(f"| exported, {size / 1e6:,.0f} MB of lines in {number:,} pieces | {entries:,} | {most / 1e6:.0f} at most |")


async def fill(tier: MemoryTier, entries: int, what: str) -> None:
    """Distinct entries with answers of 500 characters."""
    before = resident()
    for number in range(1, entries + 1):
        answer: Completion = replace(PARIS, text=f"{number} ".ljust(500, "."))
        await tier.put(number.to_bytes(32, "big"), ASK, HERE, answer)
        if number % (entries // 5) == 0:
            print(f"| {what} | {number:,} | {(resident() - before) / 1e6:.0f} |", flush=True)


def resident() -> int:
    """Bytes in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
