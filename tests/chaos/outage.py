"""A2: freeze PostgreSQL under load, then kill and restart it, and hold the gateway's books against the vendor's.

python -m tests.chaos.outage --frozen-s 60 --rate 50 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.chaos.ledger import KEY, Clients, Finding, configuration, reconcile, report
from tests.e2e.served import gateway, upstream
from tests.servers import postgres


class Load:
    """A steady rate of callers, each known by its mark."""

    def __init__(self, port: int, rate: float, dice: random.Random) -> None:
        self.clients = Clients(port, dice)
        self._rate = rate
        self._asked: list[asyncio.Task[None]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def asked(self) -> int:
        return len(self._asked)

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(*self._asked)

    async def _run(self) -> None:
        while True:
            self._asked.append(asyncio.ensure_future(self.clients.storm([f"o{len(self._asked)}"])))
            await asyncio.sleep(1 / self._rate)


class Outage(Finding):
    """And what the outage itself came to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answered = 0
        self.journal_bytes = 0
        self.catch_up_s = 0.0

    @property
    def good(self) -> bool:
        return super().good and self.asked == self.answered


async def run(frozen_s: float, rate: float, seed: int, folder: Path) -> Outage:
    """Load for a while, freeze, kill, restart, and wait until the books have caught up."""
    found, server = Outage(), postgres.start()
    try:
        with upstream(folder, "--price=m=3,15") as (vendor, ledger):
            assert server.server is not None
            tree = configuration(folder, vendor.url, {"type": "postgres", "url": server.new_database()})
            with gateway(folder, tree) as served:
                load = Load(int(served.url.rsplit(":", 1)[1]), rate, random.Random(seed))
                load.start()
                await asyncio.sleep(3)
                server.server.freeze()
                end = time.monotonic() + frozen_s
                while time.monotonic() < end:
                    found.journal_bytes = max(found.journal_bytes, _size(folder / "journal"))
                    await asyncio.sleep(0.25)
                await asyncio.to_thread(server.server.kill)
                await asyncio.to_thread(server.server.restart)
                back = time.monotonic()
                await asyncio.sleep(3)
                await load.stop()
                found.asked, found.answered = load.asked, len(load.clients.answered)
                await _caught_up(served.url, load.asked)
                found.catch_up_s = time.monotonic() - back
            await reconcile(tree, ledger, load.clients.answered, found)
            found.recovery_s.append(found.catch_up_s)
    finally:
        server.stop()
    return found


async def _caught_up(url: str, requests: int) -> None:
    while await asyncio.to_thread(_known, url) < requests:
        await asyncio.sleep(0.1)


def _known(url: str) -> int:
    """How many requests the books hold, as anybody may ask; none while storage is away."""
    asked = urllib.request.Request(f"{url}/metrics?period=all", headers={"authorization": f"Bearer {KEY}"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return int(json.load(answer)["requests"])
    except urllib.error.HTTPError as error:
        assert error.code == 503, error.code
        return -1


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.wal") if path.exists())


def told(found: Outage, frozen_s: float, rate: float) -> str:
    extra: dict[str, Any] = {
        "asked and answered": f"{found.asked} and {found.answered}",
        "journal at most": f"{found.journal_bytes / 1e6:.1f} MB",
        "caught up after": f"{found.catch_up_s:.2f} s",
    }
    head = f"PostgreSQL frozen for {frozen_s:g} s at {rate:g} requests/s, then killed and restarted\n"
    return (
        head
        + "\n".join(f"  {name:<27} {value}" for name, value in extra.items())
        + "\n"
        + report(found, "", 1, 0).partition("\n")[2]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frozen-s", type=float, default=60)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(given.frozen_s, given.rate, given.seed, Path(folder)))
    print(told(found, given.frozen_s, given.rate))
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
