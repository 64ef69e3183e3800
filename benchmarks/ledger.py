"""How fast the savings ledger is verified, beside its hashes alone.

    python -m benchmarks.ledger [--entries 100000]

All steps go over the same chain in one run: SHA-256 of each entry's JSON and no more; verification (links, hashes,
every amount at its prices) of entries in memory, of those in SQLite, and of those in a dump.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path

from asahi_analytics.dump import Dump, write
from asahi_analytics.verifying import Finding, fault_of_books, verify
from asahi_kernel.identity import new_id
from asahi_kernel.ledger import Book, Entry, digest
from asahi_kernel.money import Prices, per_million
from asahi_kernel.pricing import price_version
from asahi_kernel.records import Attempt, Event, Settled
from asahi_kernel.testing.samples import decision
from asahi_kernel.types import Usage
from asahi_kernel.vault import ephemeral
from asahi_piccolo.config import SqliteConfig
from asahi_piccolo.storage import open_storage

PRICES = {
    "small": Prices(input=per_million("0.15"), output=per_million("0.6")),
    "large": Prices(input=per_million(10), output=per_million(30)),
}
BOOK = Book(version=price_version(PRICES.items()), effective_from="2026-11-26", source="benchmark", prices=PRICES)
BATCH = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), parser.parse_args().entries))


async def measure(folder: Path, count: int) -> None:
    async with open_storage(SqliteConfig(path=str(folder / "asahi.db")), ephemeral()) as storage:
        await storage.prices.save(BOOK)
        for start in range(0, count, BATCH):
            await storage.books.post([settled(number) for number in range(start, min(start + BATCH, count))])
        entries = [entry async for entry in storage.ledger.entries("acme")]
        path = folder / "dump.jsonl"
        with path.open("wb") as out:
            await write(storage, ["acme"], out)
        begun = time.perf_counter()
        for entry in entries:
            digest(entry)
        alone = time.perf_counter() - begun
        print(f"{'step':<24}{'entries/s':>12}{'time, ratio':>14}")
        print(f"{'hashes alone':<24}{count / alone:>12,.0f}{1:>14.2f}")
        dump = Dump(path)
        steps = {
            "in memory": of(entries),
            "in SQLite": storage.ledger.entries("acme"),
            "in a dump": dump.entries("acme"),
        }
        for name, source in steps.items():
            begun = time.perf_counter()
            found: Finding = await verify("acme", source, {BOOK.version: BOOK})
            took = time.perf_counter() - begun
            assert (found.entries, found.fault, fault_of_books([BOOK])) == (count, "", "")
            print(f"{'verified ' + name:<24}{count / took:>12,.0f}{took / alone:>14.2f}")


async def of(entries: Iterable[Entry]) -> AsyncIterator[Entry]:
    for entry in entries:
        yield entry


def settled(number: int) -> Settled:
    """Every third request is a hit."""
    usage = Usage(20 + number % 3_000, 10 + number % 800)
    cost = 0 if number % 3 == 0 else PRICES["small"].cost(usage)
    before = PRICES["large"].cost(usage)
    attempt = Attempt(n=1, provider="p", model="small", outcome="ok", usage=usage, cost=cost, billed=True)
    event = Event(
        request_id=new_id(),
        timestamp=datetime.now(UTC),
        org_id="acme",
        route="/infer",
        status="ok",
        model_selected="small",
        provider="p",
        cost=cost,
        baseline_cost=before,
        saved=before - cost,
        baseline_model="large",
        baseline_usage=usage,
        price_version=BOOK.version,
        attempts=(attempt,) if cost else (),
    )
    return Settled(event, decision(event))


if __name__ == "__main__":
    main()
