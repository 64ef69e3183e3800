"""What a durable acknowledgement costs: CPU and latency of a paid request with the journal durable, async, in memory,
and with neither journal nor storage.

    python -m benchmarks.journal [--requests 2000] [--rounds 5]

All take turns in one run against the same fake upstream. What counts is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.hot_path import body, configuration, cpu, started

CASES: dict[str, dict[str, Any]] = {
    "nothing kept": {"storage": "memory", "journal": {"mode": "memory"}},
    "SQLite, no journal": {"journal": {"mode": "memory"}},
    "SQLite, async": {"journal": {"mode": "async"}},
    "SQLite, durable": {"journal": {"mode": "durable"}},
}
CONCURRENCY = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2_000, help="requests per case and round")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with ExitStack() as stack:
        upstream = stack.enter_context(started("-m", "asahi_kernel.testing.fakeup"))
        gateways = {name: stack.enter_context(_gateway(stack, upstream[1], more)) for name, more in CASES.items()}
        costs: dict[str, list[float]] = {name: [] for name in CASES}
        waits: dict[str, list[float]] = {name: [] for name in CASES}
        for turn in range(given.rounds + 1):
            for name, (process, url) in gateways.items():
                before, times = cpu(process), asyncio.run(_load(url, turn * given.requests, given.requests))
                time.sleep(1.5)  # what is applied off the path is its cost as well
                if turn:
                    costs[name].append((cpu(process) - before) / given.requests * 1e6)
                    waits[name] += times
    _report(costs, waits)


def _gateway(stack: ExitStack, upstream: str, more: dict[str, Any]) -> Any:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    tree = configuration(f"{upstream}/v1") | more | {"encryption": {"key": "0123456789abcdef" * 4}}
    tree.setdefault("storage", {"type": "sqlite", "path": str(folder / "asahi.db")})
    tree["journal"] = {**more["journal"], "dir": str(folder / "journal")}
    tree["governance"] = {"audit_dir": str(folder / "audit")}
    path = folder / "config.yaml"
    path.write_text(json.dumps(tree))
    return started("-m", "asahi_kernel.cli", "serve", "--config", str(path), "--port", "0")


async def _load(url: str, first: int, requests: int) -> list[float]:
    host, port = re.fullmatch(r"http://([\d.]+):(\d+)", url).groups()  # type: ignore[union-attr]
    waiting = iter([body(1_000_000 + first + number) for number in range(requests)])
    times: list[float] = []
    await asyncio.gather(*(_worker(host, int(port), waiting, times) for _ in range(CONCURRENCY)))
    return times


async def _worker(host: str, port: int, waiting: Iterator[bytes], times: list[float]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
    for content in waiting:
        begun = time.perf_counter()
        writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in answer[:20], answer
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", answer, re.I)[1]))  # type: ignore[index]
        times.append((time.perf_counter() - begun) * 1e3)
    writer.close()


def _report(costs: dict[str, list[float]], waits: dict[str, list[float]]) -> None:
    base = statistics.median(next(iter(costs.values())))
    first = sorted(next(iter(waits.values())))
    print(f"{'case':<20}{'CPU µs':>9}{'ratio':>8}{'p50 ms':>9}{'ratio':>8}{'p99 ms':>9}{'ratio':>8}")
    for name, values in costs.items():
        times, middle = sorted(waits[name]), statistics.median(values)
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        print(
            f"{name:<20}{middle:>9.0f}{middle / base:>8.2f}{p50:>9.2f}{p50 / first[len(first) // 2]:>8.2f}"
            f"{p99:>9.2f}{p99 / first[len(first) * 99 // 100]:>8.2f}"
        )


if __name__ == "__main__":
    main()
