"""Erasing: everything that is kept of a user or an org goes, in passes, until nothing of it is found any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec
from msgspec.structs import replace

from asahi_kernel import Config, clearing, clock
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.background import running
from asahi_kernel.errors import NotFound, Unavailable
from asahi_kernel.identity import fixed_id, new_id
from asahi_kernel.purging import Purging
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.subjects import Erasure
from asahi_kernel.tiers import ListingTier, ScrubbingTier

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

log = logging.getLogger("asahi.guard")

WAKE = "guard.erasing"
#: Every worker looks so often whether something is to be erased, and forgets its own share of it.
POLL_S = 1.0
#: A pass waits so long for the other workers before it looks for what is left.
SETTLE_S = 2.5
_PASSES = 5
_MOST = 100_000
#: Who began this long ago and has not ended is dead.
_DEAD = timedelta(minutes=10)


@runtime_checkable
class Forgetting(Protocol):
    """Who remembers keys, and can be told that one changed."""

    async def forget(self, key_id: str) -> None: ...


def able(gateway: Gateway) -> Governing:
    """The storage, if it can erase at all."""
    storage = gateway.storage
    if not isinstance(storage, Purging) or not isinstance(storage, Governing):
        raise NotFound("this gateway's storage cannot erase")
    return storage


async def order(gateway: Gateway, org: str, user: str | None, actor: Actor, erasure_id: str | None = None) -> Erasure:
    """Keep the order together with its entry in the audit log, unless there is one of that id. A worker carries it
    out."""
    erasure = Erasure(
        erasure_id=erasure_id or new_id(),
        org_id=org,
        requested_at=clock.now(),
        whole_org=user is None,
        subject=None if user is None else user.encode(),
    )
    async with able(gateway).together() as kept:
        if not await kept.erasures.order(erasure):
            return erasure
        told = {"whole_org": erasure.whole_org, "by_org": actor.org}
        resource = f"erasure/{erasure.erasure_id}"
        await kept.audit.append(
            [entry_of(actor, "erasure_request", resource, told, org=org, classification="restricted")]
        )
    if isinstance(event := gateway.shared.get(WAKE), asyncio.Event):
        event.set()
    return erasure


async def carry_out(gateway: Gateway, erasure: Erasure) -> Erasure | None:
    """Do what was ordered; None when another worker does."""
    repositories = able(gateway).repositories
    begun = replace(erasure, state="running", started_at=clock.now())
    if not await repositories.erasures.move(erasure, begun):
        return None
    user = None if erasure.subject is None else erasure.subject.decode()
    counts: Counter[str] = Counter()
    residues = 0
    for _ in range(_PASSES):
        counts.update(await _pass(gateway, erasure.org_id, user))
        await asyncio.sleep(SETTLE_S)
        await _share(gateway, erasure.org_id)
        if not (residues := await residue(gateway, erasure.org_id, user)):
            break
    ended = replace(begun, state="done", subject=None, completed_at=clock.now(), residues=residues, counts=dict(counts))
    async with able(gateway).together() as kept:
        await kept.erasures.move(begun, ended)
        told = {"residues": residues, **{f"rows_{name}": count for name, count in counts.items() if count}}
        resource = f"erasure/{erasure.erasure_id}"
        actor = Actor(org=erasure.org_id, user="asahi")
        await kept.audit.append([entry_of(actor, "erasure", resource, told, classification="restricted")])
    await _purge(gateway).scrub()
    if residues:
        log.warning("erasure %s left %d residues", erasure.erasure_id, residues)
    return ended


async def residue(gateway: Gateway, org: str, user: str | None) -> int:
    """How much of the subject is still found: in storage, in every cache, in the files of the journal."""
    found = await able(gateway).repositories.subjects.residues(org, user)
    found += int(await _purge(gateway).residues(org, user))
    for tier in gateway.tiers.values():
        if isinstance(tier, ListingTier):
            found += sum([user in {None, row.user} async for row in tier.rows(org)])
    folder, name = Path(gateway.settings.journal.dir), msgspec.msgpack.encode(org if user is None else user)
    return found + await asyncio.to_thread(_files_with, folder, name)


@asynccontextmanager
async def at_work(config: Config, gateway: Gateway) -> AsyncIterator[None]:
    """Carries out orders, also those that a worker left when it died, and those of tenants that are to be erased."""
    if not isinstance(gateway.storage, Purging) or not isinstance(gateway.storage, Governing):
        yield None
        return
    gateway.shared[WAKE] = asyncio.Event()
    async with running(_Worker(gateway, gateway.storage).work()):
        yield None


class _Worker:
    def __init__(self, gateway: Gateway, storage: Governing) -> None:
        self._gateway = gateway
        self._storage = storage
        self._shared: dict[str, float] = {}
        self._looked_at = time.monotonic()

    async def work(self) -> None:
        """Until cancelled. What fails is tried again."""
        wake = self._gateway.shared[WAKE]
        while True:
            try:
                async with asyncio.timeout(POLL_S):
                    await wake.wait()
            except TimeoutError:
                pass
            wake.clear()
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - it is looked for again
                self._gateway.faults["guard.erasing"] += 1
                log.warning("erasing failed (%s); it is tried again", type(error).__name__)

    async def _look(self) -> None:
        """An erasure that another worker carries out asks its share of each of its passes. Who could not look for as
        long as a pass waits may have missed one, and forgets every key."""
        kept = self._storage.repositories
        now = time.monotonic()
        if now - self._looked_at > SETTLE_S:
            self._gateway.keyring.forget()
        for tenant in await kept.subjects.condemned():
            org = tenant.org_id
            if not [each for each in await kept.erasures.of_org(org, whole_org=True) if each.state != "done"]:
                operator = Actor(org=self._gateway.settings.governance.operator_org, user="asahi")
                # The same in each worker that sees it: one of them orders.
                await order(self._gateway, org, None, operator, fixed_id(tenant.updated_at, org))
        for erasure in await kept.erasures.in_state("running"):
            dead = erasure.started_at is None or clock.now() - erasure.started_at > _DEAD
            if dead:
                await carry_out(self._gateway, erasure)
            elif now - self._shared.get(erasure.erasure_id, -SETTLE_S) >= SETTLE_S:
                self._shared[erasure.erasure_id] = now
                await _share(self._gateway, erasure.org_id)
        for erasure in await kept.erasures.in_state("queued"):
            await carry_out(self._gateway, erasure)
        self._looked_at = now


async def _pass(gateway: Gateway, org: str, user: str | None) -> dict[str, int]:
    now = clock.now()
    if (journal := getattr(gateway, "journal", None)) is not None:
        await journal.catch_up()
    if gateway.scribe is not None:
        await gateway.scribe.flush()
    named = await able(gateway).repositories.keys.of_org(org, user=user, include_revoked=True, limit=_MOST)
    async with able(gateway).together() as kept:
        work = kept.subjects.erase_org(org, now) if user is None else kept.subjects.erase_user(org, user, now)
        counts = Counter(await work)
    if isinstance(desk := gateway.shared.get("access"), Forgetting):
        for key in named:
            await desk.forget(key.key_id)
    purge = _purge(gateway)
    counts.update(await (purge.org(org) if user is None else purge.user(org, user)))
    counts["budgets"] = await _budgets(gateway, org, user)
    counts["cache_entries"] = await _share(gateway, org)
    return counts


async def _share(gateway: Gateway, org: str) -> int:
    """What this process holds itself: the org's keys, its caches, what it knows of the org, words that wait, its
    journal. How many entries went. The keys go first, so that nothing is kept under a destroyed one after the caches
    are cleared."""
    gone = 0
    gateway.keyring.forget(org)
    try:
        gone = sum((await clearing.clear(gateway, org)).values())
    except Unavailable:
        log.warning("a cache could not be cleared for an erasure; it is tried again")
    for tier in gateway.tiers.values():
        if isinstance(tier, ScrubbingTier):
            await tier.scrub()
    gateway.standings.forget(org)
    if gateway.scribe is not None:
        await gateway.scribe.forget(org)
    if (journal := getattr(gateway, "journal", None)) is not None:
        await journal.retire()
    await _purge(gateway).scrub()
    return gone


async def _budgets(gateway: Gateway, org: str, user: str | None) -> int:
    """A user's own go, and nothing says any more who made the others."""
    budgets, gone = able(gateway).budgets, 0
    for budget in await budgets.of_org(org):
        if user is None or (budget.level == "user" and budget.subject == user):
            gone += await budgets.remove(org, budget.budget_id)
        elif budget.created_by == user:
            await budgets.save(replace(budget, created_by=None))
    return gone


def _purge(gateway: Gateway) -> Any:
    storage = gateway.storage
    assert isinstance(storage, Purging)
    return storage.purge


def _files_with(folder: Path, name: bytes) -> int:
    if not folder.is_dir():
        return 0
    return sum(name in path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())
