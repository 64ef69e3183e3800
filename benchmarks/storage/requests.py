"""What a request and `GET /metrics` take with 1,000,000 events in storage, beside an empty storage of the same engine.

    python -m benchmarks.storage.requests [sqlite] [postgres] [--events 1000000] [--requests 400] [--rounds 5]

Two served gateways take turns over the same fake upstream. What counts is the ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.servers import postgres

from asahi_kernel import Secret
from asahi_kernel.vault import Vault
from asahi_piccolo.config import PostgresConfig, SqliteConfig, StorageConfig
from asahi_piccolo.storage import open_storage
from benchmarks.hot_path import body, configuration, started
from benchmarks.storage.__main__ import fill

KEY = "a-key-of-the-benchmark-0123456789"
SEAL = "0123456789abcdef" * 4
CONCURRENCY = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", default=["sqlite", "postgres"])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=400, help="requests per gateway and round")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    for engine in given.engines:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            tables = _databases(engine, folder, stack)
            asyncio.run(_fill(tables["full"], given.events))
            _measure(engine, tables, folder, given, stack)


def _databases(engine: str, folder: Path, stack: ExitStack) -> dict[str, dict[str, Any]]:
    if engine == "sqlite":
        return {name: {"type": "sqlite", "path": str(folder / f"{name}.db")} for name in ("empty", "full")}
    server = postgres.start()
    stack.callback(server.stop)
    return {name: {"type": "postgres", "url": server.new_database()} for name in ("empty", "full")}


async def _fill(table: dict[str, Any], events: int) -> None:
    config: StorageConfig = (
        SqliteConfig(path=table["path"]) if table["type"] == "sqlite" else PostgresConfig(url=Secret(table["url"]))
    )
    async with open_storage(config, Vault({"main": bytes.fromhex(SEAL)})) as storage:
        await fill(storage, events, random.Random(1))


def _measure(
    engine: str, tables: dict[str, dict[str, Any]], folder: Path, given: argparse.Namespace, stack: ExitStack
) -> None:
    upstream = stack.enter_context(started("-m", "asahi_kernel.testing.fakeup"))
    urls = {name: _gateway(name, table, folder, upstream[1], stack) for name, table in tables.items()}
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(given.rounds + 1):
        for name, url in urls.items():
            bodies = [body(turn * given.requests + number) for number in range(given.requests)]
            asked = asyncio.run(_load(url, "POST", "/v1/chat/completions", bodies))
            totals = asyncio.run(_load(url, "GET", "/metrics", [b""] * 50))
            if turn:
                times.setdefault(("a request", name), []).extend(asked)
                times.setdefault(("GET /metrics, month", name), []).extend(totals)
    print(f"## {engine}, {given.events:,} events\n")
    print("| question | empty p50 ms | full p50 ms | ratio | empty p99 ms | full p99 ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    for question in ("a request", "GET /metrics, month"):
        empty, full = (sorted(times[question, name]) for name in ("empty", "full"))
        cells = []
        for share in (50, 99):
            first, second = (each[len(each) * share // 100] for each in (empty, full))
            cells += [f"{first:.2f}", f"{second:.2f}", f"{second / first:.2f}"]
        print(f"| {question} | {' | '.join(cells)} |")


def _gateway(name: str, table: dict[str, Any], folder: Path, upstream: str, stack: ExitStack) -> str:
    tree = configuration(f"{upstream}/v1") | {
        "auth": {"type": "static", "keys": [{"key": KEY, "org": "org-1"}]},
        "storage": table,
        "journal": {"dir": str(folder / f"journal-{name}")},
        "encryption": {"key": SEAL},
        "governance": {"audit_dir": str(folder / f"audit-{name}")},
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(tree))
    command = ("-m", "asahi_kernel.cli", "serve", "--config", str(path), "--port", "0")
    return stack.enter_context(started(*command))[1]


async def _load(url: str, method: str, path: str, bodies: list[bytes]) -> list[float]:
    host, port = re.fullmatch(r"http://([\d.]+):(\d+)", url).groups()  # type: ignore[union-attr]
    waiting, times = iter(bodies), []
    head = f"{method} {path} HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer {KEY}\r\n"

    async def worker(mine: Iterator[bytes]) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for content in mine:
            kind = f"content-type: application/json\r\ncontent-length: {len(content)}\r\n" if content else ""
            begun = time.perf_counter()
            writer.write(f"{head}{kind}\r\n".encode() + content)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in answer[:20], answer
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", answer, re.I)[1]))  # type: ignore[index]
            times.append((time.perf_counter() - begun) * 1e3)
        writer.close()

    await asyncio.gather(*(worker(waiting) for _ in range(CONCURRENCY)))
    return times


if __name__ == "__main__":
    main()
