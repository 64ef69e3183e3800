"""CPU per request of the serving process: a bare passthrough, a memory hit, a miss with everything on.

    python -m benchmarks.hot_path [--requests 6000] [--rounds 5]

All three run in one go against the same fake upstream, over the same server and the same upstream client, in
alternating rounds; what counts is the ratio of the medians. Absolute figures say nothing about another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

CONCURRENCY = 8
QUESTION = "What is the capital of France? Please answer in one short sentence and say why it is so."
GOALS = {"miss": 2.5, "hit": 1.2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=6_000, help="requests per case and round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        upstream = stack.enter_context(started("-m", "asahi_kernel.testing.fakeup"))
        bare = stack.enter_context(started("-m", "benchmarks.passthrough", UPSTREAM=f"{upstream[1]}/v1"))
        config = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "config.yaml"
        config.write_text(json.dumps(configuration(f"{upstream[1]}/v1")))
        gateway = stack.enter_context(
            started("-m", "asahi_kernel.cli", "serve", "--config", str(config), "--port", "0")
        )
        costs = measure(bare, gateway, arguments.requests, arguments.rounds)
    report(costs)


def configuration(base_url: str) -> dict[str, object]:
    model = {"provider": "openai", "cost_per_1k_input_tokens": 0.001, "cost_per_1k_output_tokens": 0.002}
    return {
        "auth": "open",
        "governance": {"policies": []},
        "providers": {"openai": {"api_key": "sk-bench", "base_url": base_url}},
        "models": [{"name": f"model-{letter}", **model} for letter in "abcde"],
    }


def measure(bare: tuple[int, str], gateway: tuple[int, str], requests: int, rounds: int) -> dict[str, list[float]]:
    costs: dict[str, list[float]] = {"bare": [], "hit": [], "miss": []}
    fresh = 0
    for turn in range(rounds + 1):
        cases = {
            "bare": (bare, [body(0)] * requests),
            "hit": (gateway, [body(0)] * requests),
            "miss": (gateway, [body(1 + fresh + number) for number in range(requests)]),
        }
        fresh += requests
        for name, ((process, url), bodies) in cases.items():
            before = cpu(process)
            asyncio.run(load(url, bodies))
            if turn:
                costs[name].append((cpu(process) - before) / requests * 1e6)
    return costs


def report(costs: dict[str, list[float]]) -> None:
    bare = statistics.median(costs["bare"])
    print(f"{'case':<8}{'CPU µs, median':>16}{'spread':>16}{'ratio to bare':>16}{'goal':>8}")
    for name, values in costs.items():
        middle = statistics.median(values)
        goal = f"{GOALS[name]:.1f}" if name in GOALS else ""
        print(f"{name:<8}{middle:>16.0f}{min(values):>9.0f}-{max(values):<6.0f}{middle / bare:>16.2f}{goal:>8}")


def body(number: int) -> bytes:
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": f"{QUESTION} ({number})"},
    ]
    return json.dumps({"model": "model-a", "messages": messages, "temperature": 0.2, "max_tokens": 40}).encode()


def cpu(process: int) -> float:
    """Seconds of processor time that a process has used, in user and kernel."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(url: str, bodies: list[bytes], key: str = "", traceparent: str = "") -> None:
    """Send all bodies over a few keep-alive connections, with a key if there is one; anything but 200 ends the run."""
    host, port = re.fullmatch(r"http://([\d.]+):(\d+)", url).groups()  # type: ignore[union-attr]
    waiting = iter(bodies)
    await asyncio.gather(*(_worker(host, int(port), waiting, key, traceparent) for _ in range(CONCURRENCY)))


async def _worker(host: str, port: int, waiting: Iterator[bytes], key: str, traceparent: str) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
    head += f"authorization: Bearer {key}\r\n" if key else ""
    head += f"traceparent: {traceparent}\r\n" if traceparent else ""
    for content in waiting:
        writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)[1])  # type: ignore[index]
        reply = await reader.readexactly(length)
        if b" 200 " not in answer[:20]:
            sys.exit(f"{answer.decode()}{reply.decode()}")
    writer.close()


@contextmanager
def started(*command: str, **environment: str) -> Iterator[tuple[int, str]]:
    """A Python process and the URL that it prints once it listens."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "ASAHI_LOGGING__LEVEL": "WARNING", **environment}
    process = subprocess.Popen(
        [sys.executable, *command], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://[\d.]+:\d+", line):
                break
        else:
            sys.exit(f"{command} did not start")
        threading.Thread(target=process.stdout.read, daemon=True).start()  # or its log finds no room
        yield process.pid, found[0]
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    main()
