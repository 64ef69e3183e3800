"""10.8, crypto-shredding: what somebody copied before an erasure opens with nothing that the gateway still has.

Two workers over one storage and one Redis, of which the second only hears of what the first does.
"""

import asyncio
import glob
import sqlite3
from contextlib import AsyncExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import msgspec
import pytest
import redis
from tests.kernel.kit import gateway_of
from tests.plugins.guard.thief import in_files, in_redis, keys_of, readable, statements
from tests.plugins.redis.kit import fresh

from asahi_guard import erasing
from asahi_kernel import pipeline
from asahi_kernel.auditing import Actor
from asahi_kernel.errors import AsahiError
from asahi_kernel.identity import new_id
from asahi_kernel.keyring import MARK
from asahi_kernel.records import Claim, Kept
from asahi_kernel.repositories.agents import AgentOutput
from asahi_kernel.repositories.judgements import Opinion
from asahi_kernel.repositories.people import Tenant
from asahi_kernel.repositories.subjects import subject_of
from asahi_kernel.repositories.work import Body, Job
from asahi_kernel.trace import Trace
from asahi_kernel.types import Message, Principal, Request, Terms

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
ROOT = Actor(org="acme", user="root")
SECRET = "0123456789abcdef" * 4
ORGS = ("acme", "other")


@pytest.fixture(params=["sqlite", "postgres"])
async def workers(request, tmp_path, monkeypatch, redis_url):
    """SQLite with the semantic cache in files; PostgreSQL with that in pgvector."""
    monkeypatch.setattr(erasing, "SETTLE_S", 0.5)
    monkeypatch.setattr(erasing, "POLL_S", 0.1)
    prefix, semantic, stores = fresh(), {"path": str(tmp_path / "vectors")}, {}
    exact = {"type": "redis", "url": redis_url, "cache_prefix": prefix, "timeout_ms": 2_000}
    storage = {"type": "sqlite", "path": str(tmp_path / "a.db")}
    if request.param == "postgres":
        url = request.getfixturevalue("fresh_database_url")
        storage = {"type": "postgres", "url": url}
        stores = {"pgvector": {"url": url, "dimension": 256, "timeout_ms": 5_000}}
        semantic |= {"vector_store": "pgvector", "store_timeout_ms": 5_000}
    async with AsyncExitStack() as stack:
        opened = []
        for number in range(2):
            tree = {
                "storage": storage,
                "journal": {"dir": str(tmp_path / f"journal{number}")},
                "encryption": {"dir": str(tmp_path / "keys"), "key": SECRET},
                "cache_tiers": {"exact": exact, "semantic": semantic},
                "vector_stores": stores,
            }
            opened.append(await stack.enter_async_context(gateway_of(tree)))
        yield Place(opened, tmp_path, storage, redis.Redis.from_url(redis_url), prefix)


class Place:
    """The workers, and all that they write, as a thief finds it."""

    def __init__(self, gateways, folder, storage, client, prefix):
        self.gateways, self.folder, self.storage, self.client, self.prefix = gateways, folder, storage, client, prefix

    async def read(self, sql):
        if self.storage["type"] == "sqlite":
            with closing(sqlite3.connect(self.storage["path"])) as connection:
                return [tuple(row) for row in connection.execute(sql)]
        connection = await asyncpg.connect(self.storage["url"])
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def copies(self):
        """Every sealed value with its place: of the tables, of Redis, and of the semantic cache."""
        found = in_files(self.folder) + in_redis(self.client, ORGS, self.prefix)
        for table, column, sql in statements():
            found += [((org, table, column, row), bytes(blob)) for org, row, blob in await self.read(sql)]
        if self.storage["type"] == "postgres":
            for key, payload in await self.read("SELECT key, payload FROM asahi_vectors"):
                found += [((org, "semantic_entries", "entry", key), payload) for org in ORGS]
        return found

    async def readable(self, copies):
        """What a thief of the copies reads who has all that the gateway still has: its encryption key, every wrapped
        key, and the memory of both workers."""
        vault, kept = self.gateways[0].vault, self.gateways[0].storage.repositories.data_keys
        keys = [vault]
        for org in ORGS:
            keys += keys_of(vault, await kept.of_org(org))
            for _, blob in copies:
                for gateway in self.gateways:
                    with suppress(AsahiError):
                        keys.append(await gateway.keyring.opening(org, blob))
        return readable(keys, copies)

    async def erase(self, org, user=None):
        first = self.gateways[0]
        made = await erasing.order(first, org, user, ROOT)
        done = await erasing.carry_out(first, made)
        while done is None or done.state != "done":
            await asyncio.sleep(0.1)
            done = await first.storage.repositories.erasures.anywhere(made.erasure_id)
        assert done.residues == 0, done
        return done


async def lived(place, org, user):
    """All that a user leaves behind, at both workers."""
    who = Principal(org=org, user=user, permissions=frozenset({"infer"}))
    kept, request_id = place.gateways[0].storage.repositories, new_id()
    for number, gateway in enumerate(place.gateways):
        text = f"What did {user} of {org} say to worker {number} about the capital of France?"
        terms = Terms(task_type="faq")
        await pipeline.infer(gateway, Request(messages=(Message("user", text),), terms=terms), who, Trace("/infer"))
        await gateway.drain(5)
        claim = Claim(
            org_id=org, route="/infer", key=f"{user}{number}", fingerprint=b"f", request_id=new_id(), user=user
        )
        await gateway.storage.idempotency.claim(claim)
        await gateway.storage.idempotency.keep(claim, Kept(fingerprint=b"f", status=200, body=b"an answer"))
    opinion = Opinion(org_id=org, request_id=request_id, user_id=user, timestamp=NOW, comment=b"so so")
    await kept.feedback.save(opinion)
    given = {"request_id": request_id, "org_id": org, "request": b"q", "response": b"a"}
    await kept.bodies.save(Body(subject=subject_of(org, user), expires_at=NOW, **given))
    await kept.jobs.add(Job(deadline=NOW, created_at=NOW, user_id=user, **given))
    return request_id


async def owned(place, org):
    """What is the org's own."""
    kept = place.gateways[0].storage.repositories
    given = {"created_at": NOW, "updated_at": NOW, "cache_salt": b"salt"}
    async with place.gateways[0].storage.together() as together:
        await together.tenants.create(Tenant(org_id=org, name=org, **given))
    fields = {"workflow_id": "w", "agent_id": "a", "agent_type": "t", "task_type": "faq", "expires_at": NOW}
    await kept.agents.save_output(AgentOutput(cache_id=f"c-{org}", org_id=org, output=b"found", **fields))


async def test_a_copy_of_an_erased_users_data_opens_no_more(workers):
    for org in ORGS:
        await owned(workers, org)
    for org, user in (("acme", "ann"), ("acme", "bob"), ("other", "ann")):
        await lived(workers, org, user)
    (name,) = {
        key
        for (key,) in await workers.read(
            f"SELECT key_name FROM data_keys WHERE subject = '{subject_of('acme', 'ann')}'"
        )
    }
    copies = await workers.copies()
    theirs = [(place, blob) for place, blob in copies if blob[1:13].hex() == name]
    readable = await workers.readable(theirs)
    assert {blob[:1] for _, blob in copies} == {MARK}
    tables = {"feedback", "event_bodies", "jobs", "idempotency_keys", "cache", "semantic_entries"}
    assert {place[1] for place in readable} == tables
    others = [(place, blob) for place, blob in copies if blob[1:13].hex() != name]
    before = await workers.readable(others)
    assert {place[:2] for place in before} >= {(org, table) for org in ORGS for table in tables}

    wrapped = (await workers.read(f"SELECT wrapped_key FROM data_keys WHERE key_name = '{name}'"))[0][0]
    await workers.erase("acme", "ann")
    assert await workers.readable(theirs) == []
    assert await workers.readable(others) == before
    assert await workers.read(f"SELECT wrapped_key FROM data_keys WHERE key_name = '{name}'") == [(None,)]
    assert await where_bytes_lie(workers, bytes(wrapped)) == []

    again = await workers.gateways[1].keyring.sealing("acme", subject_of("acme", "ann"))
    assert again.name != name
    assert await workers.readable(theirs) == []


async def where_bytes_lie(place, value):
    """Files of the database that hold them: of the tables, not of the server's log of changes."""
    if place.storage["type"] == "sqlite":
        files = place.folder.glob("a.db*")
    else:
        ((data, base),) = await place.read(
            "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
        )
        connection = await asyncpg.connect(place.storage["url"])
        await connection.execute("CHECKPOINT")
        await connection.close()
        files = glob.glob(f"{data}/base/{base}/*")
    return [path for path in map(Path, files) if path.is_file() and value in path.read_bytes()]


async def test_a_copy_of_an_erased_orgs_data_opens_no_more(workers):
    for org in ORGS:
        await owned(workers, org)
        await lived(workers, org, "ann")
    await lived(workers, "acme", "bob")
    copies = await workers.copies()
    before = await workers.readable(copies)
    assert {place[1] for place in before if place[0] == "acme"} == {
        "feedback", "event_bodies", "jobs", "idempotency_keys", "cache", "semantic_entries", "tenants", "agent_outputs",
    }  # fmt: skip
    for gateway in workers.gateways:
        gateway.keyring.forget()
    await workers.erase("acme")
    assert {place[0] for place in await workers.readable(copies)} == {"other"}
    keys = await workers.gateways[0].storage.repositories.data_keys.of_org("acme")
    assert (len(keys), {each.wrapped_key for each in keys}) == (3, {None})
    assert (await workers.gateways[1].storage.repositories.tenants.get("acme")).cache_salt == b""
    assert await workers.gateways[1].storage.repositories.subjects.condemned() == []


async def test_a_worker_that_missed_an_erasure_forgets_every_key(workers, monkeypatch):
    """One that was stopped for longer than a pass."""
    second = workers.gateways[1]
    await lived(workers, "acme", "ann")
    copies = await workers.copies()
    looked, stopping, going = erasing._Worker._look, asyncio.Event(), asyncio.Event()

    async def stopped(self):
        if self._gateway is second:
            stopping.set()
            await going.wait()
        await looked(self)

    monkeypatch.setattr(erasing._Worker, "_look", stopped)
    await stopping.wait()
    await second.keyring.sealing("acme", subject_of("acme", "ann"))
    await workers.erase("acme", "ann")
    assert await workers.readable(copies)
    going.set()
    async with asyncio.timeout(5):
        while await workers.readable(copies):
            await asyncio.sleep(0.05)


async def test_rows_that_outlived_their_key_read_as_empty(workers):
    """A backup that was put back, or a reader who was half-way: no list of an org's rows fails for one of them."""
    kept = workers.gateways[0].storage.repositories
    request_id = await lived(workers, "acme", "ann")
    await kept.data_keys.erase("acme", subject_of("acme", "ann"), NOW)
    workers.gateways[0].keyring.forget("acme")
    assert [each.comment for each in await kept.feedback.of_org("acme")] == [None]
    body, job = await kept.bodies.get("acme", request_id), await kept.jobs.get("acme", request_id)
    assert (body.request, body.response, job.request) == (None, None, None)
    claim = Claim(org_id="acme", route="/infer", key="ann0", fingerprint=b"f", request_id=new_id(), user="bob")
    assert await workers.gateways[0].storage.idempotency.claim(claim) is None


async def test_keys_that_are_made_in_a_transaction_that_fails_are_not_remembered(workers):
    storage = workers.gateways[0].storage
    given = {"created_at": NOW, "updated_at": NOW, "cache_salt": b"salt"}
    with suppress(ZeroDivisionError):
        async with storage.together() as together:
            await together.tenants.create(Tenant(org_id="acme", name="a", **given))
            assert (await together.tenants.get("acme")).cache_salt == b"salt"
            1 / 0  # noqa: B018
    assert await storage.repositories.data_keys.of_org("acme") == []
    await owned(workers, "acme")
    for gateway in workers.gateways:
        assert (await gateway.storage.repositories.tenants.get("acme")).cache_salt == b"salt"


async def test_an_export_of_a_user_is_whole_before_and_empty_after(workers):
    await lived(workers, "acme", "ann")
    kept = workers.gateways[1].storage.repositories.subjects
    found = [(table, msgspec.structs.asdict(row)) async for table, row in kept.kept_of("acme", "ann")]
    assert {(table, row.get("comment") or row.get("request")) for table, row in found} == {
        ("feedback", b"so so"), ("jobs", b"q"), ("event_bodies", b"q"),
    }  # fmt: skip
    await workers.erase("acme", "ann")
    assert [each async for each in kept.kept_of("acme", "ann")] == []


async def test_an_erasure_does_not_wait_for_a_backup_that_reads_the_keys_and_is_made_good_later(workers):
    if workers.storage["type"] == "sqlite":
        pytest.skip("readers of SQLite do not keep its rows from being overwritten")
    await lived(workers, "acme", "ann")
    (wrapped,) = {
        bytes(key) for (key,) in await workers.read("SELECT wrapped_key FROM data_keys WHERE org_id = 'acme'")
    }
    reader = await asyncpg.connect(workers.storage["url"])
    async with reader.transaction(isolation="repeatable_read"):
        await reader.fetch("SELECT * FROM data_keys")
        await workers.erase("acme", "ann")
        assert await where_bytes_lie(workers, wrapped) != []
    await reader.close()
    await workers.gateways[0].storage.purge.scrub()
    assert await where_bytes_lie(workers, wrapped) == []
