"""The one writer of the audit log: batches, no forks, nothing changed that cannot be written."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from asahi_kernel.auditing import Actor, AuditWriter, entry_of
from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.errors import Unavailable
from asahi_kernel.repositories.audit import AuditQuery

pytestmark = pytest.mark.anyio
ANA = Actor(org="acme", user="ana", ip_address="127.0.0.1")


class Failing:
    """A storage whose transactions fail while `dead`."""

    def __init__(self):
        self.inner, self.dead = MemoryStorage(1_000), False
        self.repositories, self.budgets = self.inner.repositories, self.inner.budgets

    @asynccontextmanager
    async def together(self):
        if self.dead:
            raise OSError("no route to host")
        async with self.inner.together() as kept:
            yield kept


async def chain(storage, org="acme"):
    return [entry.action async for entry in storage.repositories.audit.entries(org)]


async def test_a_thousand_at_once_make_one_chain():
    storage = Failing()
    writer = AuditWriter(storage, Counter())
    async with writer.writing():
        orgs = [Actor(org=f"org{number % 20}", user="u") for number in range(1_000)]
        await asyncio.gather(*[writer.record(entry_of(actor, "login", "-")) for actor in orgs])
    for number in range(20):
        assert len(await chain(storage, f"org{number}")) == 50
        assert await storage.repositories.audit.verify_chain(f"org{number}") == ""


async def test_what_cannot_be_written_is_refused():
    storage = Failing()
    storage.dead = True
    writer = AuditWriter(storage, Counter())
    async with writer.writing():
        with pytest.raises(Unavailable):
            await writer.record(entry_of(ANA, "cache_clear", "cache"))
        storage.dead = False
    assert await chain(storage) == []


async def test_what_is_only_noted_waits_for_storage_and_keeps_its_order():
    storage, faults = Failing(), Counter()
    storage.dead = True
    writer = AuditWriter(storage, faults)
    async with writer.writing():
        for action in ("login", "auth_failure", "logout"):
            writer.note(entry_of(ANA, action, "-"))
        await asyncio.sleep(0.05)
        assert faults["audit.storage"]
        storage.dead = False
    assert await chain(storage) == ["login", "auth_failure", "logout"]


async def test_what_is_lost_at_the_end_is_counted():
    storage, faults = Failing(), Counter()
    storage.dead = True
    writer = AuditWriter(storage, faults)
    async with writer.writing():
        writer.note(entry_of(ANA, "login", "-"))
    assert faults["audit.lost"] == 1


async def test_an_entry_tells_who_and_from_where():
    storage = Failing()
    writer = AuditWriter(storage, Counter())
    async with writer.writing():
        await writer.record(entry_of(ANA, "policy_update", "policy/acme", {"version": 2}, org="other"))
    (entry,) = await storage.repositories.audit.query("other", AuditQuery())
    assert (entry.user_id, entry.ip_address, entry.details) == ("ana", "127.0.0.1", {"version": 2})
