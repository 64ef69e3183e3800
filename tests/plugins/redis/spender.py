"""A process of its own that spends: `python -m tests.plugins.redis.spender URL PREFIX JOB COUNT`.

It says `ready`, waits for a line, does its job as fast as it can, and says how often it was let through. `hold` then
waits to be killed.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from tests.plugins.redis.kit import counter

from asahi_kernel.identity import new_id
from asahi_kernel.repositories.budgets import Ask

DIME, CAP = 100_000_000, 5_000_000_000
ASK_OF_TODAY = Ask(budget_id="b1", window_start=datetime(2026, 11, 26, tzinfo=UTC), limit=CAP)


async def main(url: str, prefix: str, job: str, count: int) -> None:
    async with counter(url, rate_limit_prefix=prefix, timeout_ms=5_000, pool_size=50) as each:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        until = datetime.now(UTC) + timedelta(seconds=2 if job == "hold" else 60)

        async def spend() -> bool:
            if job == "take":
                return (await each.take("here", "k", 1, 100, 60)).granted
            asks = [ASK_OF_TODAY, Ask(budget_id="b2", window_start=ASK_OF_TODAY.window_start, limit=None)]
            amount = 1 if job == "hold" else DIME
            return await each.reserve("here", new_id(), amount, asks, until) is None

        print(sum(await asyncio.gather(*(spend() for _ in range(count)))), flush=True)
        if job == "hold":
            await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
