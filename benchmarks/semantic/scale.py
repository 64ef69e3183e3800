"""CPU of a hit: of the exact tier in memory and in Redis, and of the semantic tier with few entries and with many.

    python -m benchmarks.semantic.scale [--entries 1000 100000 1000000] [--requests 2000] [--rounds 3] [--keep FOLDER]

A serving process for each case takes turns with a bare passthrough in one run; what counts is the ratio of the medians.
The semantic tier is filled through its own `put` (see `filling`), and served from the files of that, so that a start
with so many entries is measured too. On two quiet cores 100,000 entries take about three minutes, 1,000,000 about
half an hour; with `--keep` they are filled once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from msgspec import Struct
from tests.servers import valkey

from benchmarks.hot_path import configuration, cpu, load, started
from benchmarks.semantic.filling import KEY, TASK, body, texts

_HEAD = (
    "entries",
    "put, CPU µs",
    "indexing, CPU µs each",
    "same words: p50, p99",
    "search: p50, p99",
    "found of the nearest, of the five nearest",
    "bytes in memory each",
    "on disk each",
    "start: listening, all loaded",
)


class Case(Struct):
    """A serving process and what it is asked."""

    process: int
    url: str
    bodies: list[bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--requests", type=int, default=2_000, help="requests per case and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, default=None, help="where filled tiers are kept, and found again")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places = {count: (arguments.keep or folder) / f"entries-{count}" for count in arguments.entries}
        filled = {count: figures(place, count) for count, place in places.items()}
        redis = valkey.start()
        stack.callback(redis.stop)
        upstream = stack.enter_context(started("-m", "asahi_kernel.testing.fakeup"))[1]
        bare = stack.enter_context(started("-m", "benchmarks.passthrough", UPSTREAM=f"{upstream}/v1"))
        few = [body(text) for text in texts(1_000)]
        cases = {"bare passthrough": Case(*bare, few)}
        for name, table in {"T1, memory": {}, "T1, Redis": {"redis": {"url": redis.url}}}.items():
            cases[name] = Case(*serve(stack, folder / name, upstream, table), few)
        empty = serve(stack, folder / "empty", upstream, semantic(folder / "empty", 1_000))[0]
        for count, place in places.items():
            begun = time.perf_counter()
            process, url = serve(stack, folder / str(count), upstream, semantic(place, count))
            filled[count]["start_s"] = time.perf_counter() - begun
            wait(url)
            filled[count]["whole_s"] = time.perf_counter() - begun
            filled[count]["served_bytes"] = (resident(process) - resident(empty)) / count
            stored = texts(count)[:1_000]
            cases[f"T2, {count:,} entries, same words"] = Case(process, url, [body(text) for text in stored])
            cases[f"T2, {count:,} entries, found by search"] = Case(process, url, found(url, stored))
        report(filled, measure(cases, arguments.requests, arguments.rounds))


def figures(place: Path, count: int) -> dict[str, Any]:
    """Those of filling, made now or kept from before."""
    known = place.parent / f"{place.name}.json"
    if not known.exists():
        place.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.semantic.filling", str(place), str(count)]
        known.write_bytes(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    found: dict[str, Any] = json.loads(known.read_text())
    return found


def semantic(place: Path, count: int) -> dict[str, Any]:
    """The semantic tier alone, over these files, and lax: what counts here is what a hit costs, not whether it is
    right, which many would not be among questions that differ in two words."""
    lax = {"mistake_factor": 0, "max_error_rate": 0.2, "thresholds": {TASK: 0.0}, "recheck_rate": 0}
    table = {"path": str(place), "max_entries": 2 * count, **lax}
    return {"cache": {"tiers": ["semantic"]}, "cache_tiers": {"semantic": table}}


def serve(stack: ExitStack, folder: Path, upstream: str, table: dict[str, Any]) -> tuple[int, str]:
    folder.mkdir(exist_ok=True)
    tree = {"storage": "memory", "encryption": {"key": KEY, "dir": str(folder)}, **table}
    path = folder / "config.yaml"
    path.write_text(json.dumps({**configuration(f"{upstream}/v1"), **tree, "profile": "development"}))
    return stack.enter_context(started("-m", "asahi_kernel.cli", "serve", "--config", str(path), "--port", "0"))


def wait(url: str) -> None:
    """Until all that was kept is loaded."""
    while True:
        with urllib.request.urlopen(f"{url}/cache/stats", timeout=60) as answer:
            if not json.loads(answer.read())["t2"]["loading"]:
                return
        time.sleep(1)


def measure(cases: dict[str, Case], requests: int, rounds: int) -> dict[str, list[float]]:
    """CPU µs per request of each case and round. The first round fills what is empty and is not counted."""
    costs: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds + 1):
        for name, case in cases.items():
            bodies = (case.bodies * (requests // len(case.bodies) + 1))[:requests]
            if turn == rounds and name[:2] == "T2" and not hit(case.url, case.bodies[0]):
                sys.exit(f"{name}: it answers nothing by itself, so there is nothing to measure")
            before = cpu(case.process)
            asyncio.run(load(case.url, bodies))
            if turn:
                costs[name].append((cpu(case.process) - before) / requests * 1e6)
    return costs


def found(url: str, stored: list[str]) -> list[bytes]:
    """Questions in other words than the stored ones that are answered all the same. What is not is stored by that."""
    other = [body(f"Please, {text[0].lower()}{text[1:]}") for text in stored[:400]]
    answered = [each for each in other if hit(url, each)]
    print(f"{url}: {len(answered)} of {len(other)} questions in other words are answered", file=sys.stderr)
    return answered or sys.exit("none of them: there is nothing to measure")


def hit(url: str, content: bytes) -> bool:
    """Whether a question is answered by the semantic tier."""
    head = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", content, head)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.headers["x-asahi-cache"]) == "t2"


def resident(process: int) -> int:
    """Bytes in memory."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()


def report(filled: dict[int, dict[str, Any]], costs: dict[str, list[float]]) -> None:
    bare = statistics.median(costs["bare passthrough"])
    print("| hit of | CPU µs, median | spread over the rounds | ratio to bare |\n|---|---|---|---|")
    for name, values in costs.items():
        middle = statistics.median(values)
        print(f"| {name} | {middle:.0f} | {min(values):.0f}-{max(values):.0f} | {middle / bare:.2f} |")
    print(f"\n| {' | '.join(_HEAD)} |\n|{'---|' * len(_HEAD)}")
    for count, told in filled.items():
        cells = (
            f"{count:,}",
            f"{told['put_us']:.0f}",
            f"{told['index_us']:.0f}",
            f"{told['exact_50']:.0f}, {told['exact_99']:.0f}",
            f"{told['look_50']:.0f}, {told['look_99']:.0f}",
            f"{told['recall_1']:.3f}, {told['recall_5']:.3f}",
            f"{told['served_bytes']:,.0f}",
            f"{told['disk_bytes']:,.0f}",
            f"{told['start_s']:.1f} s, {told['whole_s']:.1f} s",
        )
        print(f"| {' | '.join(cells)} |")
    for told in filled.values():
        print("\n| entries | a put, CPU µs | bytes in memory each |\n|---|---|---|")
        for number, spent, held in told["curve"]:
            print(f"| {number:,} | {spent} | {held:,} |")


if __name__ == "__main__":
    main()
