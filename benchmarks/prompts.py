"""CPU per request with `privacy.store_prompts` on, against the same with it off; and that money does not notice.

    python -m benchmarks.prompts [--requests 2000] [--rounds 5] [--misses]

Two gateways over SQLite answer the same questions in turns within one run. The figure is that of the whole process:
what a request does at once, and what is sealed and written behind it. In the end both must tell the same sums.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from benchmarks.governance import BOOT
from benchmarks.hot_path import body, configuration, cpu, load, started

SUMS = ("requests", "total_cost", "baseline_cost", "absolute_savings")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2_000, help="requests per case and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--misses", action="store_true", help="every question once, instead of a hundred over and over")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(started("-m", "asahi_kernel.testing.fakeup"))[1]
        cases = {}
        for name in ("off", "on"):
            folder = root / name
            folder.mkdir()
            tree = configuration(f"{upstream}/v1") | {
                "auth": "keys",
                "storage": {"type": "sqlite", "path": str(folder / "asahi.db")},
                "journal": {"dir": str(folder / "journal")},
                "encryption": {"dir": str(folder / "keys")},
                "governance": {"policies": [], "audit_dir": str(folder / "audit")},
                "api": {"rate_limit_per_minute": 0},
            }
            path = folder / "asahi.yaml"
            path.write_text(json.dumps(tree))
            command = ("-m", "asahi_kernel.cli", "serve", "--config", str(path), "--port", "0")
            process, url = stack.enter_context(started(*command, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT))
            ask(url, "PUT", "/settings", {"privacy": {"store_prompts": name == "on"}})
            cases[name] = process, url
        report(measure(cases, arguments.requests, arguments.rounds, misses=arguments.misses))
        sums = {name: [ask(url, "GET", "/metrics")[each] for each in SUMS] for name, (_, url) in cases.items()}
        print("sums", "alike" if sums["off"] == sums["on"] else "DIFFER", sums["on"])
        assert sums["off"] == sums["on"], sums


def ask(url: str, method: str, path: str, order: dict[str, object] | None = None) -> dict[str, object]:
    headers = {"authorization": f"Bearer {BOOT}", "content-type": "application/json", "accept": "application/json"}
    data = None if order is None else json.dumps(order).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers, method=method)) as answer:
        return json.loads(answer.read())  # type: ignore[no-any-return]


def measure(cases: dict[str, tuple[int, str]], requests: int, rounds: int, *, misses: bool) -> dict[str, list[float]]:
    """CPU µs per request of each case and round, with what is written in the second after it. The first round is not
    counted."""
    costs: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds + 1):
        numbers = (turn * requests + number if misses else number % 100 for number in range(requests))
        bodies = [body(number) for number in numbers]
        for name, (process, url) in cases.items():
            before = cpu(process)
            asyncio.run(load(url, bodies, BOOT))
            time.sleep(1)
            if turn:
                costs[name].append((cpu(process) - before) / requests * 1e6)
    return costs


def report(costs: dict[str, list[float]]) -> None:
    off = statistics.median(costs["off"])
    for name, values in costs.items():
        middle = statistics.median(values)
        spread = f"{min(values):.0f}-{max(values):.0f}"
        print(f"{name:<6}{middle:>10.0f} µs {spread:>14}{middle / off:>8.2f}")


if __name__ == "__main__":
    main()
