"""A thousand requests of ten cents against a budget of five dollars, from four processes at once: what gets in.

    python -m benchmarks.limits [--processes 4] [--each 250]

Each place where money can be held takes its turn, and beside them a budget as it is often written: look at what was
spent, and add to it when the call is over. That one asks the same Redis, and a call takes it 20 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.kernel.kit import gateway_of
from tests.plugins.limits.kit import DOLLAR, allot
from tests.servers import postgres, valkey

ROOT = Path(__file__).parents[1]
_CENTS, _CALL_S = 100_000_000, 0.02
_KEY = "asahi:bench:naive"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--each", type=int, default=250, help="requests of each process")
    parser.add_argument("--naive", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.naive:
        asyncio.run(naive(arguments.naive, arguments.each))
        return 0
    broken = False
    print(f"{'held in':<16}{'admitted':>10}{'spent':>12}{'overshoot':>12}{'seconds':>10}")
    for place, got, seconds in asyncio.run(measure(arguments.processes, arguments.each)):
        over = max(0.0, got / 10 - 5)
        print(f"{place:<16}{got:>10}{f'${got / 10:.2f}':>12}{f'${over:.2f}':>12}{seconds:>10.1f}", flush=True)
        broken |= place != "check, then add" and (over > 0 or got < min(50, arguments.processes * arguments.each))
    return int(broken)


async def measure(processes: int, each: int) -> list[tuple[str, int, float]]:
    """Place, how many got in, and how long all of them took."""
    told = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server, redis = postgres.start(), valkey.start()
        stack.callback(server.stop)
        stack.callback(redis.stop)
        places = {
            "SQLite": {"storage": {"type": "sqlite", "path": str(folder / "asahi.db")}},
            "PostgreSQL": {"storage": {"type": "postgres", "url": server.new_database()}},
            "Redis": {
                "storage": {"type": "sqlite", "path": str(folder / "redis.db")},
                "counter": {"type": "redis", "url": redis.url, "timeout_ms": 5_000},
            },
        }
        for name, place in places.items():
            tree = {
                "journal": {"mode": "memory"},
                "encryption": {"key": "0123456789abcdef" * 4},
                "governance": {"policies": ["budget"], "audit_dir": str(folder / "audit")},
                **place,
            }
            async with gateway_of(tree) as gateway:
                await allot(gateway, 5 * DOLLAR)
            command = ("-m", "tests.plugins.limits.taker", json.dumps(tree), str(each), "settle")
            told.append((name, *await together(command, processes)))
        command = ("-m", "benchmarks.limits", "--naive", redis.url, "--each", str(each))
        told.append(("check, then add", *await together(command, processes)))
    return told


async def together(command: tuple[str, ...], processes: int) -> tuple[int, float]:
    """Let them all begin at once, when the last is ready."""
    pipes = dict.fromkeys(("stdin", "stdout"), asyncio.subprocess.PIPE)
    started = [
        await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, **pipes) for _ in range(processes)
    ]
    for each in started:
        assert each.stdout is not None
        assert await each.stdout.readline() == b"ready\n"
    began = time.perf_counter()
    told = await asyncio.gather(*[each.communicate(b"\n") for each in started])
    return sum(int(out) for out, _ in told), time.perf_counter() - began


async def naive(url: str, count: int) -> None:
    """The budget that leaks."""
    from redis.asyncio import Redis

    client = Redis.from_url(url, max_connections=50)
    await client.ping()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    places = asyncio.Semaphore(50)

    async def one() -> bool:
        async with places:
            if int(await client.get(_KEY) or 0) + _CENTS > 5 * DOLLAR:
                return False
            await asyncio.sleep(_CALL_S)
            await client.incrby(_KEY, _CENTS)
            return True

    print(sum(await asyncio.gather(*[one() for _ in range(count)])), flush=True)
    await client.aclose()


if __name__ == "__main__":
    sys.exit(main())
