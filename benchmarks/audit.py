"""How fast the audit log takes entries, and is verified.

    python -m benchmarks.audit [--entries 20000] [--postgres URL]

A thousand appenders at once over 20 organisations, each waiting until its entry is in the database, through the one
writer of a process; then the whole log is read and verified. On SQLite, and on PostgreSQL where one is given.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from asahi_audit.verifying import Verification
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.plugins import load_plugins
from asahi_kernel.repositories import Governing
from asahi_kernel.settings import Settings
from asahi_kernel.signing import signing_key

ORGS, APPENDERS = 20, 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--postgres", help="a database of its own, such as postgresql://localhost/bench")
    given = parser.parse_args()
    print(f"{'storage':<12}{'appended/s':>12}{'verified/s':>12}{'entries':>10}{'faults':>8}")
    for kind in ("sqlite", *(["postgres"] if given.postgres else [])):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure(kind, Path(folder), given.entries, given.postgres))


async def measure(kind: str, folder: Path, count: int, url: str | None) -> None:
    storage = {"type": "postgres", "url": url} if kind == "postgres" else {"type": "sqlite", "path": f"{folder}/a.db"}
    dirs = {"encryption": {"dir": f"{folder}/k"}, "journal": {"dir": f"{folder}/j"}}
    tree = {"profile": "development", "storage": storage, **dirs, "governance": {"audit_dir": f"{folder}/audit"}}
    gateway = Gateway(decode(tree, Settings, "benchmark"))
    async with running(gateway, load_plugins()):
        assert isinstance(gateway.storage, Governing)
        audit = gateway.storage.repositories.audit
        await gateway.audit.record(entry_of(Actor(org="warm", user="up"), "x", "y"))

        async def append(start: int) -> None:
            for number in range(start, count, APPENDERS):
                actor = Actor(org=f"org{number % ORGS}", user="ann", ip_address="192.0.2.1", user_agent="benchmark")
                await gateway.audit.record(entry_of(actor, "policy_update", "policy", {"n": number}))

        begun = time.perf_counter()
        await asyncio.gather(*[append(start) for start in range(min(APPENDERS, count))])
        appending = time.perf_counter() - begun
        work = Verification([], signing_key(gateway.settings).public)
        begun = time.perf_counter()
        async for _, entry in audit.everything():
            work.add(entry)
        finding, verifying = work.finding(), time.perf_counter() - begun
        assert work.tree.size == count + 1
    rates = f"{count / appending:>12,.0f}{finding.entries / verifying:>12,.0f}"
    print(f"{kind:<12}{rates}{finding.entries:>10,}{len(finding.faults):>8}")


if __name__ == "__main__":
    main()
