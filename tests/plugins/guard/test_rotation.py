"""C10: encryption keys are exchanged while requests run. C11: a value opens nowhere but in its place."""

import json
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from click.testing import CliRunner
from tests.e2e.served import gateway as serving
from tests.kernel.kit import gateway_of
from tests.plugins.guard.kit import NOW
from tests.plugins.guard.test_http import BOOT, TREE, Client

from asahi_guard.commands import rotate_encryption
from asahi_kernel.errors import ConfigError
from asahi_kernel.keyring import MARK, Keyring, unwrapped, wrapped
from asahi_kernel.repositories.judgements import Opinion
from asahi_kernel.repositories.people import Tenant
from asahi_kernel.repositories.subjects import subject_of
from asahi_kernel.repositories.work import Body, Job
from asahi_kernel.rooting import rotate
from asahi_kernel.vault import Unsealable, Vault

ONE, TWO, THREE = (letter * 8 + "0123456789abcdef" * 3 + letter * 8 for letter in "abc")


def served(folder, keys):
    return serving(folder, TREE, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT, ASAHI_ENCRYPTION_KEYS=keys)


def rotated(folder, monkeypatch, keys):
    """What the command says, run beside the server."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASAHI_ENCRYPTION_KEYS", keys)
    done = CliRunner().invoke(rotate_encryption, ["--config", str(folder / "config.yaml"), "--json"])
    return done.exit_code, json.loads(done.output)


def test_keys_are_exchanged_under_load_and_the_old_one_is_retired(tmp_path, monkeypatch):
    """C10."""
    with served(tmp_path, f"v1:{ONE}") as process:
        call = Client(process.url)
        key = call.admin("acme")
        told = [call(key, "POST", "/infer", {"prompt": f"p{n}"}, idempotency_key=f"k{n}")[1] for n in range(20)]
        call(BOOT, "POST", "/governance/tenants", {"org_id": "acme", "name": "Acme"})
        time.sleep(0.5)
        for each in told:
            call(key, "POST", "/feedback", {"request_id": each["request_id"], "thumb": "up", "comment": "fine"})

    both = f"v2:{TWO},v1:{ONE}"
    statuses, stop = [], threading.Event()

    def load(url):
        asking = Client(url)
        number = 0
        while not stop.is_set():
            number += 1
            name = f"k{number % 20}" if number % 2 else f"new{number}"
            prompt = {"prompt": f"p{number % 20}" if number % 2 else f"fresh {number}"}
            statuses.append(asking(key, "POST", "/infer", prompt, idempotency_key=name)[0])

    with served(tmp_path, both) as process:
        worker = threading.Thread(target=load, args=(process.url,))
        worker.start()
        time.sleep(0.5)
        code, first = rotated(tmp_path, monkeypatch, both)
        time.sleep(0.3)
        stop.set()
        worker.join()
    assert len(statuses) > 20
    assert set(statuses) == {200}
    assert (code, first["left"], first["rewrapped"], first["resealed"]) == (0, 0, 3, 0)
    with closing(sqlite3.connect(tmp_path / "data/asahi.db")) as connection:
        for table, column in (("idempotency_keys", "body"), ("feedback", "comment"), ("tenants", "cache_salt")):
            found = connection.execute(f"SELECT {column} FROM {table} WHERE length({column}) > 0").fetchall()
            assert {bytes(value)[:1] for (value,) in found} == {MARK}, table
        found = connection.execute("SELECT wrapped_key, kek_id FROM data_keys").fetchall()
        assert {(bytes(value)[2:4], kek) for value, kek in found} == {(b"v2", "v2")}

    with served(tmp_path, f"v2:{TWO}") as process:
        call = Client(process.url)
        assert call(key, "POST", "/infer", {"prompt": "p3"}, idempotency_key="k3") == (200, told[3])
        assert call(key, "GET", "/settings")[0] == 200


def test_a_store_of_another_key_stops_the_start_and_says_why(tmp_path):
    with served(tmp_path, f"v1:{ONE}"):
        pass
    for keys in (f"v1:{TWO}", f"v2:{TWO}"):
        with pytest.raises(AssertionError, match="sealed under another key"), served(tmp_path, keys):
            pass


async def sealed(gateway, *, old=False):
    """A value in each sealed column; `old` ones are from before subjects had keys."""
    kept = gateway.storage.repositories
    keyring = gateway.storage.keyring
    keys, keyring._keys = keyring._keys, None if old else keyring._keys
    await kept.tenants.create(Tenant(org_id="acme", name="A", created_at=NOW, updated_at=NOW, cache_salt=b"salt"))
    given = {"org_id": "acme", "request": b"q", "response": b"a"}
    await kept.bodies.save(Body(request_id="b1", subject="acme", expires_at=NOW, **given))
    await kept.bodies.save(Body(request_id="b2", subject="acme", expires_at=NOW, **given))
    await kept.jobs.add(Job(request_id="j", deadline=NOW, created_at=NOW, **given))
    await kept.feedback.save(Opinion(org_id="acme", request_id="r", user_id="u", timestamp=NOW, comment=b"c"))
    keyring._keys = keys


@pytest.fixture(params=["sqlite", "postgres"])
def tree(request, tmp_path):
    storage = {"type": request.param}
    if request.param == "sqlite":
        storage["path"] = str(tmp_path / "a.db")
    else:
        storage["url"] = request.getfixturevalue("fresh_database_url")
    journal = {"dir": str(tmp_path / "journal")}

    def made(keys, folder="keys"):
        return {"storage": storage, "journal": journal, "encryption": {"dir": str(tmp_path / folder), "keys": keys}}

    return made


@pytest.mark.anyio
@pytest.mark.parametrize("old", [True, False])
async def test_what_is_under_the_keys_of_subjects_stays_and_what_is_older_comes_under_them(tree, old):
    async with gateway_of(tree(f"v1:{ONE}")) as gateway:
        await sealed(gateway, old=old)
        derived = gateway.vault.derive("api keys")
    async with gateway_of(tree(f"v2:{TWO},v1:{ONE}")) as gateway:
        assert gateway.vault.derive("api keys") == derived
        assert (await gateway.storage.repositories.feedback.get("acme", "r", "u")).comment == b"c"
        done = await rotate(gateway.vault, gateway.storage)
        assert (done.rewrapped, done.resealed, done.left) == ((1, 8, 0) if old else (3, 0, 0))
        keys = await gateway.storage.repositories.data_keys.of_org("acme")
        assert {key.subject for key in keys} == {"acme", subject_of("acme", "u")}
        again = await rotate(gateway.vault, gateway.storage)
        assert (again.rewrapped, again.resealed, again.left) == (0, 0, 0)
    async with gateway_of(tree(f"v2:{TWO}", "others")) as gateway:
        assert gateway.vault.derive("api keys") == derived
        kept = gateway.storage.repositories
        assert (await kept.bodies.get("acme", "b1")).request == b"q"
        assert (await kept.feedback.get("acme", "r", "u")).comment == b"c"
        assert (await kept.tenants.get("acme")).cache_salt == b"salt"


@pytest.mark.anyio
@pytest.mark.parametrize("old", [True, False])
async def test_an_old_key_that_is_retired_too_early_stops_the_start(tree, old):
    async with gateway_of(tree(f"v1:{ONE}")) as gateway:
        await sealed(gateway, old=old)
    async with gateway_of(tree(f"v2:{TWO},v1:{ONE}")) as gateway:
        keys = gateway.storage.repositories.data_keys
        (root,) = [key async for key in keys.wrapped_by_others("v2") if not key.org_id]
        await keys.rewrap(root, wrapped(gateway.vault, root, unwrapped(gateway.vault, root)), "v2")
        left = sum((await gateway.storage.seals.strange(gateway.vault.marks()[:1])).values())
        assert left == (5 if old else 2)
    told = "2 in event_bodies, 1 in feedback, 1 in jobs, 1 in tenants" if old else "2 in data_keys"
    with pytest.raises(ConfigError, match=rf"under a key that is not configured \({told}\)"):
        async with gateway_of(tree(f"v2:{TWO}")):
            pass


@pytest.mark.anyio
async def test_what_cannot_be_opened_is_counted_as_left(tree):
    async with gateway_of(tree(f"v1:{ONE}")) as gateway:
        await sealed(gateway, old=True)
        stranger = Vault({"v9": bytes(32)})
        gateway.storage.seals._keyring = Keyring(stranger)
        assert await gateway.storage.seals.renew(stranger.marks()[0]) == 0
        assert sum((await gateway.storage.seals.strange(stranger.marks())).values()) == 6


@pytest.mark.anyio
async def test_what_is_written_meanwhile_is_not_overwritten(tree):
    async with gateway_of(tree(f"v1:{ONE}")) as gateway:
        await sealed(gateway, old=True)
    async with gateway_of(tree(f"v2:{TWO},v1:{ONE}")) as gateway:
        feedback, seals = gateway.storage.repositories.feedback, gateway.storage.seals
        fetch = seals._database.fetch
        newer = Opinion(org_id="acme", request_id="r", user_id="u", timestamp=NOW, comment=b"changed my mind")

        async def slow(statement, *values):
            rows = await fetch(statement, *values)
            if rows and "comment" in rows[0]:
                await feedback.save(newer)
            return rows

        seals._database.fetch = slow
        await seals.renew(gateway.vault.marks()[0])
        seals._database.fetch = fetch
        assert (await feedback.get("acme", "r", "u")).comment == b"changed my mind"


@pytest.mark.anyio
async def test_a_value_that_is_moved_does_not_open(tree, tmp_path):
    """C11."""
    if "path" not in tree("")["storage"]:
        pytest.skip("the rows are exchanged with sqlite3")
    async with gateway_of(tree(f"v1:{ONE}")) as gateway:
        await sealed(gateway)
        with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
            connection.execute("UPDATE event_bodies SET request = (SELECT request FROM jobs) WHERE request_id = 'b1'")
            swap = "SELECT request FROM event_bodies WHERE request_id = 'b2'"
            connection.execute(f"UPDATE jobs SET request = ({swap})")
            connection.execute("UPDATE event_bodies SET org_id = 'evil' WHERE request_id = 'b2'")
            connection.execute("UPDATE feedback SET user_id = 'eve'")
        kept = gateway.storage.repositories
        for work in (
            kept.bodies.get("acme", "b1"),
            kept.bodies.get("evil", "b2"),
            kept.jobs.get("acme", "j"),
            kept.feedback.get("acme", "r", "eve"),
        ):
            with pytest.raises(Unsealable):
                await work
