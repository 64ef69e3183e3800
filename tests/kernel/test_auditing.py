"""The one writer of the audit log: batches, no forks, nothing changed that cannot be written."""

import asyncio
import hashlib
from collections import Counter
from contextlib import asynccontextmanager

import msgspec
import pytest
from msgspec.structs import replace

from asahi_kernel.auditing import Actor, AuditWriter, entry_of
from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.errors import Unavailable
from asahi_kernel.ledger import Head
from asahi_kernel.repositories.audit import ERASED, AuditQuery, digest, fault

pytestmark = pytest.mark.anyio
#: What was hashed before actors and resources had hashes of their own.
OLD_FIELDS = (
    "entry_id", "timestamp", "org_id", "user_id", "action", "resource", "ip_address", "user_agent", "result",
    "data_classification", "seq", "details_hash", "prev_hash",
)  # fmt: skip
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


async def test_however_much_waits_at_the_end_is_written():
    storage, faults = Failing(), Counter()
    storage.dead = True
    writer = AuditWriter(storage, faults)
    async with writer.writing():
        for _ in range(2_500):
            writer.note(entry_of(ANA, "login", "-"))
        await asyncio.sleep(0.05)
        storage.dead = False
    assert len(await chain(storage)) == 2_500
    assert not faults["audit.lost"]


async def test_what_is_lost_at_the_end_is_counted():
    storage, faults = Failing(), Counter()
    storage.dead = True
    writer = AuditWriter(storage, faults)
    async with writer.writing():
        writer.note(entry_of(ANA, "login", "-"))
    assert faults["audit.lost"] == 1


class Unheard(Failing):
    """A storage that commits, and whose answer never comes while `deaf`."""

    deaf = True

    @asynccontextmanager
    async def together(self):
        async with self.inner.together() as kept:
            yield kept
        if self.deaf:
            raise ConnectionResetError


async def test_a_commit_whose_answer_was_lost_is_not_written_twice_and_holds_up_nothing():
    storage, faults = Unheard(), Counter()
    writer = AuditWriter(storage, faults)
    async with writer.writing():
        writer.note(entry_of(ANA, "login", "-"))
        writer.note(entry_of(ANA, "logout", "-"))
        await asyncio.sleep(0.05)
        assert await chain(storage) == ["login", "logout"]
        storage.deaf = False
        async with asyncio.timeout(5):
            await writer.record(entry_of(ANA, "cache_clear", "cache"))
    assert await chain(storage) == ["login", "logout", "cache_clear"]
    assert not faults["audit.lost"]
    assert await storage.repositories.audit.verify_chain("acme") == ""


async def test_an_entry_that_can_never_be_written_takes_no_other_with_it():
    storage, faults = Failing(), Counter()
    writer = AuditWriter(storage, faults)
    good = [entry_of(ANA, f"a{number}", "-") for number in range(20)]
    twice = entry_of(ANA, "twice", "-")
    async with writer.writing():
        await writer.record(twice)
        for entry in (*good[:7], twice, *good[7:]):
            writer.note(entry)
        async with asyncio.timeout(5):
            await writer.record(entry_of(ANA, "last", "-"))
    assert await chain(storage) == ["twice", *[entry.action for entry in good], "last"]
    assert faults == {"audit.lost": 1}


async def test_an_entry_tells_who_and_from_where():
    storage = Failing()
    writer = AuditWriter(storage, Counter())
    async with writer.writing():
        await writer.record(entry_of(ANA, "policy_update", "policy/acme", {"version": 2}, org="other"))
    (entry,) = await storage.repositories.audit.query("other", AuditQuery())
    assert (entry.user_id, entry.ip_address, entry.details) == ("ana", "127.0.0.1", {"version": 2})


async def linked():
    storage = Failing()
    told = {"of": "ana", "n": 1}
    entries = [entry_of(ANA, "x", "key/ana", told), entry_of(Actor(org="acme", user="bob"), "y", "key/k1", told)]
    return storage.repositories.audit, await storage.repositories.audit.append(entries)


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "eve"},
        {"ip_address": "10.9.9.9"},
        {"user_agent": "other"},
        {"resource": "key/k2"},
        {"actor_salt": ""},
        {"resource_salt": ""},
        {"actor_hash": None},
        {"user_id": ERASED},
        {"user_id": "eve", "actor_salt": ""},
        {"user_id": ERASED, "actor_salt": "", "ip_address": "10.9.9.9"},
        {"resource": "key/k2", "resource_salt": ""},
    ],
)
async def test_nobody_can_be_put_in_the_place_of_who_did_it(change):
    _, (first, _) = await linked()
    assert fault(Head(), first) == ""
    assert fault(Head(), replace(first, **change))


async def test_who_is_erased_is_named_nowhere_and_the_chain_verifies():
    audit, _ = await linked()
    assert await audit.erase("acme", "ana") == 2
    first, second = [entry async for entry in audit.entries("acme")]
    assert (first.user_id, first.resource, first.ip_address, first.details) == (ERASED, ERASED, None, {})
    assert (second.user_id, second.resource, second.details) == ("bob", "key/k1", {})
    assert await audit.verify_chain("acme") == ""
    assert await audit.erase("acme", "ana") == 0


async def test_an_entry_of_before_there_were_salts_still_verifies():
    _, (first, _) = await linked()
    bare = replace(first, actor_salt=None, actor_hash=None, resource_salt=None, resource_hash=None, entry_hash="")
    old = replace(bare, entry_hash=digest(bare))
    fields = {name: getattr(bare, name) for name in OLD_FIELDS}
    assert old.entry_hash == hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()
    assert fault(Head(), old) == ""
    assert fault(Head(), replace(old, user_id="eve"))


async def test_erasing_a_user_spares_whose_name_only_holds_theirs():
    storage = Failing()
    writer = AuditWriter(storage, Counter())
    async with writer.writing():
        for resource in ("user/a", "user/anna", "api_key/a1a", "budget/user/a"):
            await writer.record(entry_of(ANA, "budget_update", resource, {"about": resource}))
    await storage.repositories.audit.erase("acme", "a")
    found = {entry.seq: entry async for entry in storage.repositories.audit.entries("acme")}
    assert [found[seq].resource for seq in (1, 2, 3, 4)] == ["[erased]", "user/anna", "api_key/a1a", "[erased]"]
    assert [bool(found[seq].details) for seq in (1, 2, 3, 4)] == [False, True, True, False]
    assert await storage.repositories.audit.verify_chain("acme") == ""
