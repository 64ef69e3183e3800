"""What each analytics endpoint takes at 1,000,000 events, beside an empty database of the same engine.

    python -m benchmarks.storage.analytics [sqlite] [postgres] [--events 1000000]

Reports are asked as the routes ask them, past HTTP, in turns over both databases. The goal of the specification is
below 100 ms each; what counts on a shared machine is the ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime
from typing import Any

from tests.servers import postgres

from asahi_analytics.alerting import Watch
from asahi_analytics.catalogue import REPORTS
from asahi_analytics.rehearsing import rehearse
from asahi_analytics.ruling import RuleWatch
from asahi_analytics.telling import Teller
from asahi_kernel import Secret
from asahi_kernel.gateway import Gateway
from asahi_kernel.identity import new_id
from asahi_kernel.registry import build
from asahi_kernel.reports import Scope, ask
from asahi_kernel.repositories.alert_rules import AlertRule
from asahi_kernel.settings import Settings
from asahi_kernel.vault import ephemeral
from asahi_piccolo.config import PostgresConfig, SqliteConfig, StorageConfig
from asahi_piccolo.storage import PiccoloStorage, open_storage
from benchmarks.storage.__main__ import fill, settled

BUDGET_S = 4.0
MOST = 60
#: Beside the defaults of each report, what a dashboard asks that reads most.
FURTHER: dict[str, tuple[dict[str, str], ...]] = {
    "summary": ({"period": "week", "compare": "previous"}, {"period": "month", "compare": "previous"}),
    "cost-breakdown": ({"period": "month"}, {"group_by": "user"}, {"group_by": "user", "period": "month"}),
    "trends": (
        {"metric": "latency"},
        {"metric": "requests", "split_by": "model", "tz": "Asia/Kolkata"},
        {"period": "hour", "intervals": "48"},
    ),
    "cache-performance": ({"period": "month"},),
    "latency-percentiles": ({"period": "month"},),
    "model-performance": ({"period": "month"},),
    "savings": ({"detail": "true"},),
}

METRICS = ("cost", "error_rate", "p95_latency", "hit_rate", "tokens", "requests")
SCOPES = (("org", ""), ("user", "user-1"), ("model", "model-1"), ("task", "faq"))
WINDOWS = (5, 60, 43_200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", default=["sqlite", "postgres"])
    parser.add_argument("--events", type=int, default=1_000_000)
    given = parser.parse_args()
    for engine in given.engines:
        with tempfile.TemporaryDirectory() as folder:
            if engine == "sqlite":
                full, empty = (SqliteConfig(path=f"{folder}/{name}.db") for name in ("full", "empty"))
                asyncio.run(measure(engine, full, empty, given.events))
                continue
            server = postgres.start()
            try:
                configs = [PostgresConfig(url=Secret(server.new_database())) for _ in range(2)]
                asyncio.run(measure(engine, *configs, given.events))
            finally:
                server.stop()


async def measure(engine: str, full: StorageConfig, empty: StorageConfig, events: int) -> None:
    print(f"## {engine}, {events:,} events", flush=True)
    chance = random.Random(1)
    async with open_storage(full, ephemeral()) as filled, open_storage(empty, ephemeral()) as bare:
        await fill(filled, events, chance)
        await bare.books.post([settled(number, 20, chance) for number in range(20)])
        gateways = [gateway_over(storage) for storage in (bare, filled)]
        print("\n| endpoint | empty p50 ms | full p50 ms | full p99 ms | ratio of p50 |\n|---|---|---|---|---|")
        for report in REPORTS:
            for query in ({}, *FURTHER.get(report.name, ())):
                await compare(report.name, query, gateways)
        for gateway in gateways:
            watch = Watch(gateway, gateway.storage)  # type: ignore[arg-type]
            begun = time.perf_counter()
            await watch._look_at("org-1", datetime.now(UTC))
            print(f"one look of the alerts: {(time.perf_counter() - begun) * 1e3:.0f} ms", flush=True)
        await rehearsed(gateways)


async def rehearsed(gateways: list[Gateway]) -> None:
    """What the preview of each kind of rule takes, and one look at 50 rules of an org."""
    now = datetime.now(UTC)
    print("\n| preview of a rule | empty ms | full ms |\n|---|---|---|")
    for metric, (scope, subject), window in itertools.product(METRICS, SCOPES, WINDOWS):
        rule = rule_of(metric, scope, subject, window, now)
        spent = []
        for gateway in gateways:
            begun = time.perf_counter()
            await rehearse(gateway, rule, now)
            spent.append((time.perf_counter() - begun) * 1e3)
        print(f"| {metric} of {scope}, {window} min | {spent[0]:.0f} | {spent[1]:.0f} |", flush=True)
    for gateway in gateways:
        kept = gateway.storage.repositories  # type: ignore[attr-defined]
        every = itertools.cycle(itertools.product(METRICS, SCOPES, WINDOWS))
        for metric, (scope, subject), window in itertools.islice(every, 50):
            await kept.alert_rules.add(rule_of(metric, scope, subject, window, now))
        own = RuleWatch(gateway, gateway.storage, Teller(gateway.faults))  # type: ignore[arg-type]
        begun = time.perf_counter()
        await own.look_at_all(now)
        print(f"one look at 50 rules: {(time.perf_counter() - begun) * 1e3:.0f} ms", flush=True)


def rule_of(metric: str, scope: str, subject: str, window: int, now: datetime) -> AlertRule:
    """One that never fires, so that nothing but looking is measured."""
    given: dict[str, Any] = {"metric": metric, "scope": scope, "subject": subject, "window_min": window}
    return AlertRule(
        rule_id=new_id(),
        org_id="org-1",
        name="b",
        direction="over",
        threshold=1e12,
        created_at=now,
        updated_at=now,
        **given,
    )


def gateway_over(storage: PiccoloStorage) -> Gateway:
    """What a report is given."""
    gateway = Gateway(Settings(profile="development"))
    gateway.vault, gateway.storage = ephemeral(), storage
    gateway.registry = build(gateway.settings, {"mock"}, mock=True)
    return gateway


async def compare(name: str, query: dict[str, str], gateways: list[Gateway]) -> None:
    """In turns, so that whatever else the machine does meets both."""
    report = next(each for each in REPORTS if each.name == name)
    spent: tuple[list[float], list[float]] = ([], [])
    until = time.perf_counter() + BUDGET_S
    for turn in range(MOST):
        for times, gateway in zip(spent, gateways, strict=True):
            gateway.shared.clear()
            begun = time.perf_counter()
            await ask(gateway, report, Scope("org-1"), query)
            times.append((time.perf_counter() - begun) * 1e3)
        if turn >= 4 and time.perf_counter() > until:
            break
    empty, full = (statistics.median(times) for times in spent)
    p99 = sorted(spent[1])[max(0, int(len(spent[1]) * 0.99) - 1)]
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    print(f"| {name} {asked} | {empty:.1f} | {full:.1f} | {p99:.1f} | {full / empty:.1f} |", flush=True)


if __name__ == "__main__":
    main()
