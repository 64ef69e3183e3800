"""A1: kill a gateway with a thousand requests in flight, again and again, and hold its books against the vendor's.

    python -m tests.chaos.ledger --engine sqlite --kills 20 --requests 1000 --seed 1

The vendor's own ledger is the witness. Every call that it billed must be in the gateway's books exactly once: at its
cost where the gateway heard how it ended, at no less than its cost where it did not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.served import Process, gateway, rows, upstream
from tests.servers import postgres

from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway, storing
from asahi_kernel.ledger import Head, fault
from asahi_kernel.plugins import load_plugins
from asahi_kernel.records import Event
from asahi_kernel.rollups import Sums, count, merge
from asahi_kernel.settings import Settings

KEY = "key-of-the-ledger-test-0123456789"
ORG = "acme"
_ALWAYS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
PRICES = {"cost_per_1k_input_tokens": 0.003, "cost_per_1k_output_tokens": 0.015}


def configuration(folder: Path, vendor: str, storage: dict[str, Any]) -> dict[str, Any]:
    return {
        "auth": {"type": "static", "keys": [{"key": KEY, "org": ORG}]},
        "api": {"max_inflight": 4_000, "max_queue": 4_000, "queue_timeout_s": 60},
        "storage": storage,
        "journal": {"dir": str(folder / "journal")},
        "encryption": {"key": "0123456789abcdef" * 4},
        "governance": {"audit_dir": str(folder / "audit")},
        "providers": {
            "openai": {
                "api_key": "sk",
                "base_url": f"{vendor}/v1",
                "max_retries": 0,
                "max_connections": 4_000,
                "timeout_s": 120,
                "first_token_timeout_s": 120,
            }
        },
        "models": [{"name": "m", "provider": "openai", "max_output_tokens": 64, **PRICES}],
    }


class Clients:
    """Many callers at once, half of them streaming. `answered` holds the marks whose whole answer came."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self._port = port
        self._dice = dice
        self.answered: set[str] = set()

    async def storm(self, marks: list[str]) -> None:
        await asyncio.gather(*map(self._ask, marks))

    async def _ask(self, mark: str) -> None:
        await asyncio.sleep(self._dice.random() * 0.5)
        stream = self._dice.random() < 0.5
        shape = f"mark={mark} tokens={self._dice.randint(4, 40)} latency_ms={self._dice.randint(0, 3_000)} pace_ms=50"
        text = f"[[fakeup: {shape}]] {mark} " + "word " * self._dice.randint(1, 60)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], "stream": stream}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n"
            f"x-request-id: {mark}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(head.encode() + body)
            answer = await reader.read()
            writer.close()
        except OSError:
            return
        ended = b"data: [DONE]" in answer if stream else _whole(answer)
        if answer.startswith(b"HTTP/1.1 200") and ended:
            self.answered.add(mark)


def _whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    size = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
    return bool(size) and len(body) == int(size)


class Finding:
    """What all rounds came to."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.doubled: list[str] = []
        self.wrong: list[str] = []
        self.unacknowledged: list[str] = []
        self.billed = 0
        self.unknown = 0
        self.overcharged = 0
        self.recovery_s: list[float] = []
        self.books = ""

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.wrong or self.unacknowledged or self.books)


async def round_of(folder: Path, tree: dict[str, Any], requests: int, number: int, dice: random.Random) -> Clients:
    """Start, storm, kill at a random moment."""
    with gateway(folder, tree) as served:
        clients = Clients(int(served.url.rsplit(":", 1)[1]), dice)
        storm = asyncio.ensure_future(clients.storm([f"r{number}n{index}" for index in range(requests)]))
        await asyncio.sleep(dice.uniform(0.5, 6.0))
        served.process.send_signal(signal.SIGKILL)
        served.process.wait()
        await storm
    return clients


async def recovered(folder: Path, tree: dict[str, Any]) -> float:
    """Start again; the seconds from there until nothing of the dead process is left in the journal. Then stop in
    order."""
    begun, own = time.monotonic(), 1
    with gateway(folder, tree) as served:
        while len(list((folder / "journal").glob("*.wal"))) > own:
            assert served.process.poll() is None, served.printed()
            await asyncio.sleep(0.02)
        took = time.monotonic() - begun
        _metrics(served)
        return took


def _metrics(served: Process) -> None:
    request = urllib.request.Request(f"{served.url}/health/ready")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


async def reconcile(tree: dict[str, Any], ledger: Path, acknowledged: set[str], found: Finding) -> None:
    """Hold the books against the vendor's, and against themselves."""
    settings = decode({key: tree[key] for key in ("storage", "encryption")}, Settings, "test")
    events: dict[str, list[Event]] = {}
    sums, rolled, head = Sums(), Sums(), Head()
    async with storing(Gateway(settings), load_plugins()) as storage:
        async for event in storage.events.between(ORG, *_ALWAYS):
            events.setdefault(event.client_request_id or "", []).append(event)
            count(sums, event)
        async for rollup in storage.rollups.between(ORG, "day", *_ALWAYS):
            merge(rolled, rollup.sums)
        books = {book.version: book for book in await storage.prices.all()}
        async for entry in storage.ledger.entries(ORG):
            found.books = found.books or fault(head, entry, books.get(entry.price_version or ""))
            head = Head(entry.seq, entry.entry_hash)
    if sums != rolled:
        found.books = found.books or "the rollups are not the sum of the events"
    if head.seq != sums.requests:
        found.books = found.books or "the ledger has not one entry for each event"
    found.doubled = [mark for mark, each in events.items() if len(each) > 1]
    billed: Counter[str] = Counter()
    for row in rows(ledger):
        if row["status"]:
            billed[row["mark"]] += row["cost"]
    found.billed = len(billed)
    for mark, cost in billed.items():
        _hold(found, mark, cost, events.get(mark, []))
    found.unacknowledged = [mark for mark in acknowledged if not any(e.status == "ok" for e in events.get(mark, []))]


def _hold(found: Finding, mark: str, cost: int, events: list[Event]) -> None:
    if not events:
        found.lost.append(mark)
        return
    charged = sum(event.cost or 0 for event in events)
    if all(event.status == "ok" for event in events):
        if charged != cost:
            found.wrong.append(f"{mark}: charged {charged}, billed {cost}")
        return
    found.unknown += 1
    found.overcharged += charged - cost
    if charged < cost:
        found.wrong.append(f"{mark}: charged {charged}, billed {cost}")


async def run(engine: str, kills: int, requests: int, seed: int, folder: Path, *, tell: bool = True) -> Finding:
    """All rounds on one database."""
    found, acknowledged = Finding(), set()
    with ExitStack() as stack:
        vendor, ledger = stack.enter_context(upstream(folder, "--price=m=3,15"))
        storage: dict[str, Any] = {"type": "sqlite", "path": str(folder / "asahi.db")}
        if engine == "postgres":
            server = postgres.start()
            stack.callback(server.stop)
            storage = {"type": "postgres", "url": server.new_database()}
        tree = configuration(folder, vendor.url, storage)
        for number in range(kills):
            dice = random.Random(f"{seed}-{number}")
            clients = await round_of(folder, tree, requests, number, dice)
            acknowledged |= clients.answered
            found.recovery_s.append(await recovered(folder, tree))
            if tell:
                print(
                    f"kill {number + 1:>2}/{kills}: {len(clients.answered)} answered before, "
                    f"recovered in {found.recovery_s[-1]:.2f} s",
                    flush=True,
                )
        await asyncio.sleep(2)  # the vendor notices the last hang-ups
        await reconcile(tree, ledger, acknowledged, found)
    return found


def report(found: Finding, engine: str, kills: int, requests: int) -> str:
    lines = [
        f"{engine}: {kills} kills with {requests} requests in flight",
        f"  calls billed by the vendor  {found.billed}",
        f"  charges lost                {len(found.lost)}",
        f"  charges doubled             {len(found.doubled)}",
        f"  charges wrong or too low    {len(found.wrong)}",
        f"  answers without a record    {len(found.unacknowledged)}",
        f"  unknown, at the worst case  {found.unknown} (${found.overcharged / 1e9:.6f} above the vendor's bill)",
        f"  books                       {found.books or 'rollups = events, ledger verified'}",
        f"  recovery                    median {sorted(found.recovery_s)[len(found.recovery_s) // 2]:.2f} s, "
        f"worst {max(found.recovery_s):.2f} s",
    ]
    return "\n".join([*lines, *found.wrong[:10], *found.lost[:10]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("sqlite", "postgres"), action="append")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    good = True
    for engine in given.engine or ("sqlite", "postgres"):
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(run(engine, given.kills, given.requests, given.seed, Path(folder)))
        print(report(found, engine, given.kills, given.requests))
        good &= found.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
