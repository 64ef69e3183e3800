"""CPU per request of a hit: of the exact tier in memory and of the one in Redis, against a bare passthrough.

    python -m benchmarks.cache [--requests 4000] [--rounds 5]

Three serving processes take turns in one run, each with the same questions; what counts is the ratio of the medians.
CPU is that of the serving process alone: what Redis itself spends is not in it. Redis is the one of the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.servers import valkey

from benchmarks.hot_path import body, configuration, cpu, load, started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4_000, help="requests per case and round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        redis = valkey.start()
        stack.callback(redis.stop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(started("-m", "asahi_kernel.testing.fakeup"))[1]
        cases = {"bare": stack.enter_context(started("-m", "benchmarks.passthrough", UPSTREAM=f"{upstream}/v1"))}
        for name, more in {"memory": {}, "redis": {"redis": {"url": redis.url}}}.items():
            path = folder / f"{name}.yaml"
            tree = {
                "storage": "memory",
                "encryption": {"key": "0123456789abcdef" * 4, "dir": str(folder / name)},
                **more,
            }
            path.write_text(json.dumps(configuration(f"{upstream}/v1") | tree))
            command = ("-m", "asahi_kernel.cli", "serve", "--config", str(path), "--port", "0")
            cases[name] = stack.enter_context(started(*command))
        report(measure(cases, arguments.requests, arguments.rounds))


def measure(cases: dict[str, tuple[int, str]], requests: int, rounds: int) -> dict[str, list[float]]:
    """CPU µs per request of each case and round. The first round fills the caches and is not counted."""
    costs: dict[str, list[float]] = {name: [] for name in cases}
    bodies = [body(number % 100) for number in range(requests)]
    for turn in range(rounds + 1):
        for name, (process, url) in cases.items():
            before = cpu(process)
            asyncio.run(load(url, bodies))
            if turn:
                costs[name].append((cpu(process) - before) / requests * 1e6)
    return costs


def report(costs: dict[str, list[float]]) -> None:
    bare = statistics.median(costs["bare"])
    print(f"{'case':<8}{'CPU µs, median':>16}{'spread':>16}{'ratio to bare':>16}")
    for name, values in costs.items():
        middle = statistics.median(values)
        print(f"{name:<8}{middle:>16.0f}{min(values):>9.0f}-{max(values):<6.0f}{middle / bare:>16.2f}")


if __name__ == "__main__":
    main()
