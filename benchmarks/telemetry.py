"""CPU per request of metrics, traces and logs, against the same request with all of it off.

    python -m benchmarks.telemetry [--requests 3000] [--rounds 4] [--misses]

Every case answers the same questions from the exact cache in memory, or with `--misses` new ones by a vendor on
loopback, with SQLite and its journal. They take turns in one run: nothing observed; Prometheus' metrics, told to other
workers twice a second; these with one request in ten traced, and OpenTelemetry's metrics, to a collector on loopback;
and everything: with a line of log for each request, and the trace context of each caller read and passed on. A scrape
after each round, not counted, must tell of all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.hot_path import body, configuration, cpu, load, started

GOAL = 1.05
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
TOKEN = "scrape-token-0123456789abcdef"
CASES = ("off", "metrics", "metrics, traces", "everything")


class Collector(BaseHTTPRequestHandler):
    """Takes every message and forgets it."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *told: object) -> None:
        return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3_000, help="requests per case and round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--misses", action="store_true", help="ask new questions only")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        collector = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Collector))
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        stack.callback(collector.shutdown)
        upstream = stack.enter_context(started("-m", "asahi_kernel.testing.fakeup"))[1]
        cases = {}
        for name in CASES:
            path = folder / f"{len(cases)}.yaml"
            everything = name == "everything"
            tree = settings(f"{upstream}/v1", folder / f"{len(cases)}", observed=name != "off", everything=everything)
            path.write_text(json.dumps(tree))
            endpoint = f"http://127.0.0.1:{collector.server_address[1]}" if "traces" in name or everything else ""
            level = "INFO" if everything else "WARNING"
            command = ("-m", "asahi_kernel.cli", "serve", "--config", str(path), "--port", "0")
            environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "ASAHI_LOGGING__LEVEL": level}
            environment["OTEL_METRIC_EXPORT_INTERVAL"] = "5000"
            cases[name] = stack.enter_context(started(*command, **environment))
        report(measure(cases, arguments.requests, arguments.rounds, fresh=arguments.misses))


def settings(base_url: str, folder: Path, *, observed: bool, everything: bool) -> dict[str, object]:
    """A gateway with files of its own."""
    provider = {"api_key": "sk-bench", "base_url": base_url, "trace_context": everything}
    return configuration(base_url) | {
        "providers": {"openai": provider},
        "storage": {"type": "sqlite", "path": str(folder / "asahi.db")},
        "journal": {"dir": str(folder / "journal")},
        "encryption": {"dir": str(folder / "keys")},
        "observability": {"enabled": observed, "scrape_token": TOKEN},
    }


def measure(cases: dict[str, tuple[int, str]], requests: int, rounds: int, *, fresh: bool) -> dict[str, list[float]]:
    """CPU µs per request of each case and round. The first round fills the caches and is not counted."""
    costs: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds + 1):
        bodies = [body(turn * requests + number if fresh else number % 100) for number in range(requests)]
        for name, (process, url) in cases.items():
            before = cpu(process)
            asyncio.run(load(url, bodies, traceparent=TRACE if name == "everything" else ""))
            if turn:
                costs[name].append((cpu(process) - before) / requests * 1e6)
            if name != "off":
                check(url, (turn + 1) * requests)
    return costs


def check(url: str, requests: int) -> None:
    """Scrape until all requests are counted; ends the run if they never are."""
    request = urllib.request.Request(f"{url}/analytics/prometheus", headers={"authorization": f"Bearer {TOKEN}"})
    counted = 0
    for _ in range(20):
        with urllib.request.urlopen(request) as answer:
            lines = answer.read().decode().splitlines()
        counted = sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("asahi_requests_total{"))
        if counted == requests:
            return
        time.sleep(0.2)
    sys.exit(f"{counted} of {requests} requests were counted")


def report(costs: dict[str, list[float]]) -> None:
    bare = statistics.median(costs["off"])
    print(f"{'case':<20}{'CPU µs, median':>16}{'spread':>16}{'on top of off':>16}{'ratio':>8}{'goal':>8}")
    for name, values in costs.items():
        middle = statistics.median(values)
        spread = f"{min(values):.0f}-{max(values):.0f}"
        print(f"{name:<20}{middle:>16.0f}{spread:>16}{middle - bare:>16.0f}{middle / bare:>8.3f}{GOAL:>8.2f}")


if __name__ == "__main__":
    main()
