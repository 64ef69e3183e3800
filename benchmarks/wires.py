"""CPU per request of the serving process for each wire, whole and as a stream of 50 chunks, as a ratio to a bare
passthrough of the same answer.

    python -m benchmarks.wires [--requests 1000] [--rounds 5]

Every request is a miss. The gateway keeps events in SQLite behind a durable journal, as it does by default; `--storage
memory` leaves both out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.hot_path import CONCURRENCY, cpu, started

QUESTION = "What is the capital of France? Please answer in one short sentence and say why it is so."
TOKENS = "[[fakeup: tokens=50]]"


def chat(text: str, stream: bool) -> dict[str, Any]:
    return {"model": "model-a", "messages": [{"role": "user", "content": text}], "max_tokens": 60, "stream": stream}


def messages(text: str, stream: bool) -> dict[str, Any]:
    return chat(text, stream)


def responses(text: str, stream: bool) -> dict[str, Any]:
    return {"model": "model-a", "input": text, "max_output_tokens": 60, "stream": stream}


def native(text: str, stream: bool) -> dict[str, Any]:
    return {"model": "model-a", "prompt": text, "max_tokens": 60, "stream": stream}


WIRES = {
    "bare": ("/v1/chat/completions", chat),
    "/infer": ("/infer", native),
    "/v1/chat/completions": ("/v1/chat/completions", chat),
    "/v1/messages": ("/v1/messages", messages),
    "/v1/responses": ("/v1/responses", responses),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--requests", type=int, default=1_000, help="requests per case and round; streams a fifth of it"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--storage", choices=("sqlite", "memory"), default="sqlite")
    given = parser.parse_args()
    costs: dict[tuple[str, bool], list[float]] = {}
    with ExitStack() as stack:
        upstream = stack.enter_context(started("-m", "asahi_kernel.testing.fakeup"))
        bare = stack.enter_context(started("-m", "benchmarks.passthrough", UPSTREAM=f"{upstream[1]}/v1"))
        served = stack.enter_context(_gateway(stack, upstream[1], given.storage))
        for turn in range(given.rounds + 1):
            names = list(WIRES)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:  # nobody is always the first
                path, make = WIRES[name]
                for stream in (False, True):
                    count = given.requests // 5 if stream else given.requests
                    process, url = bare if name == "bare" else served
                    bodies = [
                        json.dumps(make(f"{TOKENS} {QUESTION} {turn} {n}", stream)).encode() for n in range(count)
                    ]
                    before = cpu(process)
                    asyncio.run(_load(f"{url}{path}", bodies))
                    time.sleep(0.3)
                    if turn:
                        costs.setdefault((name, stream), []).append((cpu(process) - before) / count * 1e6)
    _report(costs)


def _gateway(stack: ExitStack, upstream: str, storage: str) -> Any:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    model = {"provider": "openai", "cost_per_1k_input_tokens": 0.001, "cost_per_1k_output_tokens": 0.002}
    tree = {
        "auth": "open",
        "storage": "memory" if storage == "memory" else {"type": "sqlite", "path": str(folder / "asahi.db")},
        "journal": {"dir": str(folder / "journal")},
        "encryption": {"key": "0123456789abcdef" * 4},
        "governance": {"audit_dir": str(folder / "audit"), "policies": []},
        "providers": {"openai": {"api_key": "sk-bench", "base_url": f"{upstream}/v1"}},
        "models": [{"name": f"model-{letter}", **model} for letter in "abcde"],
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(tree))
    return started("-m", "asahi_kernel.cli", "serve", "--config", str(path), "--port", "0")


async def _load(url: str, bodies: list[bytes]) -> None:
    host, port, path = re.fullmatch(r"http://([\d.]+):(\d+)(/.*)", url).groups()  # type: ignore[union-attr]
    waiting = iter(bodies)
    await asyncio.gather(*(_worker(host, int(port), path, waiting) for _ in range(CONCURRENCY)))


async def _worker(host: str, port: int, path: str, waiting: Iterator[bytes]) -> None:
    """One connection for each request: how the end of a stream is told differs, and the server closes all alike."""
    for content in waiting:
        reader, writer = await asyncio.open_connection(host, port)
        head = f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        answer = await reader.read()
        if b" 200 " not in answer[:20]:
            sys.exit(answer.decode())
        writer.close()


def _report(costs: dict[tuple[str, bool], list[float]]) -> None:
    print(f"{'wire':<22}{'whole, CPU µs':>15}{'ratio':>8}{'50 chunks, CPU µs':>20}{'ratio':>8}")
    base = {stream: statistics.median(costs["bare", stream]) for stream in (False, True)}
    for name in WIRES:
        whole, streamed = (statistics.median(costs[name, stream]) for stream in (False, True))
        print(f"{name:<22}{whole:>15.0f}{whole / base[False]:>8.2f}{streamed:>20.0f}{streamed / base[True]:>8.2f}")


if __name__ == "__main__":
    main()
