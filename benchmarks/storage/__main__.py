"""What storage costs at 1,000,000 events, beside an empty database of the same engine.

    python -m benchmarks.storage [sqlite] [postgres] [--events 1000000]

Both databases of an engine are measured in one run, in turns, with the same questions; what counts is the ratio. The
servers are those of the tests: a real PostgreSQL with `fsync=off`, and SQLite as the gateway opens it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from tests.servers import postgres

from asahi_kernel import Secret
from asahi_kernel.records import Attempt, Event, EventQuery, Settled
from asahi_kernel.testing.samples import decision
from asahi_kernel.types import Usage
from asahi_kernel.vault import ephemeral
from asahi_piccolo.config import PostgresConfig, SqliteConfig, StorageConfig
from asahi_piccolo.storage import PiccoloStorage, open_storage

Question: TypeAlias = Callable[[PiccoloStorage], Awaitable[Any]]
BATCH = 5_000
ROUNDS = 200
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", default=["sqlite", "postgres"])
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args()
    for engine in arguments.engines:
        with tempfile.TemporaryDirectory() as folder:
            if engine == "sqlite":
                full, empty = (SqliteConfig(path=f"{folder}/{name}.db") for name in ("full", "empty"))
                asyncio.run(measure(engine, full, empty, arguments.events))
                size = sum(each.stat().st_size for each in Path(folder).glob("full.db*"))
                print(f"{size / arguments.events:.0f} bytes an event on the disk\n")
            else:
                server = postgres.start()
                try:
                    configs = (PostgresConfig(url=Secret(server.new_database())) for _ in range(2))
                    asyncio.run(measure(engine, *configs, arguments.events))
                finally:
                    server.stop()


async def measure(engine: str, full: StorageConfig, empty: StorageConfig, events: int) -> None:
    print(f"## {engine}, {events:,} events", flush=True)
    chance = random.Random(1)
    async with open_storage(full, ephemeral()) as filled, open_storage(empty, ephemeral()) as bare:
        known = await fill(filled, events, chance)
        await bare.books.post([settled(number, events, chance) for number in range(20)])
        now = datetime.now(UTC)
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        questions: dict[str, Question] = {
            "find": lambda storage: storage.events.find("org-1", chance.choice(known)),
            "explain": lambda storage: storage.decisions.find("org-1", chance.choice(known)),
            "page, newest": lambda storage: storage.events.newest("org-1", EventQuery()),
            "page, one user": lambda storage: storage.events.newest("org-1", EventQuery(user_id="user-7")),
            "page, one model": lambda storage: storage.events.newest("org-1", EventQuery(model="model-3")),
            "totals, ever": lambda storage: storage.events.totals("org-1", None),
            "totals, month": lambda storage: storage.events.totals("org-1", month),
            "totals, 24 hours": lambda storage: storage.events.totals("org-1", now - timedelta(hours=24)),
            "cost by model, month by day": lambda storage: by_model(storage, month, now),
            "cost by user, month": lambda storage: storage.rollups.grouped(
                "org-1", "day", [(month, now)], ("user_id",)
            ),
            "percentiles by model, month": lambda storage: storage.rollups.grouped(
                "org-1", "day", [(month, now)], ("model",), detail=True
            ),
            "chain heads": lambda storage: storage.ledger.heads(),
            "post one": lambda storage: storage.books.post([settled(events, events, chance)]),
            "post 100": lambda storage: storage.books.post([settled(events, events, chance) for _ in range(100)]),
        }
        print("| question | empty p50 ms | full p50 ms | full p99 ms | ratio of p50 |\n|---|---|---|---|---|")
        for name, question in questions.items():
            await compare(name, question, bare, filled)
        begun, count = time.perf_counter(), 0
        async for _ in filled.events.between("org-1", now - timedelta(days=400), now + timedelta(days=1)):
            count += 1
        print(f"streamed {count:,} events at {count / (time.perf_counter() - begun):,.0f} a second")


async def fill(storage: PiccoloStorage, events: int, chance: random.Random) -> list[str]:
    """Load the events; some of the ids of org-1."""
    known: list[str] = []
    spent = 0.0
    rates = []
    for start in range(0, events, BATCH):
        batch = [settled(number, events, chance) for number in range(start, min(start + BATCH, events))]
        known += [each.event.request_id for each in batch if each.event.org_id == "org-1"][:20]
        begun = time.perf_counter()
        await storage.books.post(batch)
        took = time.perf_counter() - begun
        spent += took
        rates.append(len(batch) / took)
    tenth = max(1, len(rates) // 10)
    print(
        f"post in batches of {BATCH:,}: {events / spent:,.0f} events a second; first tenth "
        f"{statistics.mean(rates[:tenth]):,.0f}, last tenth {statistics.mean(rates[-tenth:]):,.0f}",
        flush=True,
    )
    return known


async def compare(name: str, question: Question, bare: PiccoloStorage, filled: PiccoloStorage) -> None:
    """In turns, so that whatever else the machine does meets both."""
    spent: dict[int, list[float]] = {0: [], 1: []}
    budget = time.perf_counter() + 20
    for turn in range(ROUNDS):
        for index, storage in enumerate((bare, filled)):
            begun = time.perf_counter()
            await question(storage)
            spent[index].append((time.perf_counter() - begun) * 1e3)
        if turn >= 20 and time.perf_counter() > budget:
            break
    empty, full = (statistics.median(spent[index]) for index in (0, 1))
    p99 = sorted(spent[1])[int(len(spent[1]) * 0.99) - 1]
    print(f"| {name} | {empty:.2f} | {full:.2f} | {p99:.2f} | {full / empty:.1f} |", flush=True)


async def by_model(storage: PiccoloStorage, start: datetime, end: datetime) -> dict[str, int]:
    costs: dict[str, int] = {}
    for rollup in await storage.rollups.grouped("org-1", "day", [(start, end)], ("bucket", "model")):
        costs[rollup.key.model] = costs.get(rollup.key.model, 0) + rollup.sums.cost
    return costs


def settled(number: int, events: int, chance: random.Random) -> Settled:
    """The n-th of the requests of 30 days, which end now: five orgs, 40 users, six models, five tasks, hits as well."""
    hit = chance.random() < 0.4
    moment = datetime.now(UTC) - timedelta(days=30) * (1 - number / events)
    usage = Usage(chance.randint(20, 3_000), chance.randint(10, 800))
    model = f"model-{chance.randint(0, 5)}"
    baseline, cost = usage.total_tokens * 30, 0 if hit else usage.total_tokens * 3
    attempts = () if hit else (_attempt(model, usage, cost),)
    event = Event(
        request_id=identity(moment, chance),
        timestamp=moment,
        org_id=f"org-{chance.randint(0, 4)}",
        user_id=f"user-{chance.randint(0, 39)}",
        route="/infer",
        status="ok",
        task_type=chance.choice(("faq", "coding", "general", "summarization", "legal")),
        model_selected=model,
        provider="mock",
        cache_hit=hit,
        cache_tier=int(hit),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        latency_ms=chance.lognormvariate(5, 0.5),
        cost=cost,
        baseline_cost=baseline,
        saved=baseline - cost,
        saved_by={"exact_cache" if hit else "routing": baseline - cost},
        attempts=attempts,
        quality_score=4.1,
        price_version="bench",
    )
    return Settled(event, decision(event))


def _attempt(model: str, usage: Usage, cost: int) -> Attempt:
    return Attempt(n=1, provider="mock", model=model, outcome="ok", usage=usage, cost=cost, billed=True)


def identity(moment: datetime, chance: random.Random) -> str:
    """An id as the gateway would have made it at that time."""
    value = round(moment.timestamp() * 1e3) << 80 | chance.getrandbits(80)
    return "".join(digits(value))


def digits(value: int) -> Iterator[str]:
    for shift in range(125, -1, -5):
        yield _ALPHABET[value >> shift & 31]


if __name__ == "__main__":
    main()
