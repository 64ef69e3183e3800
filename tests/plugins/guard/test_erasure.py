"""CO-3: delete means gone. A canary in prompt, answer, user id and comment is found nowhere after the erasure."""

import asyncio
import base64
import json
import secrets
import sqlite3
import time
import urllib.request
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from tests.e2e.served import gateway as serving
from tests.kernel.kit import gateway_of
from tests.plugins.guard import thief
from tests.plugins.guard.test_http import BOOT, TREE, Client
from tests.plugins.redis.kit import fresh

from asahi_guard import erasing
from asahi_guard.opening import SERVICES
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.records import Settled
from asahi_kernel.repositories.audit import ERASED
from asahi_kernel.repositories.judgements import Judgement, Opinion
from asahi_kernel.repositories.people import Tenant
from asahi_kernel.repositories.subjects import Erasure, subject_of
from asahi_kernel.repositories.work import Body, DataKey, Job
from asahi_kernel.testing import ServiceContract
from asahi_kernel.testing.samples import decision, event
from asahi_kernel.vault import Vault

pytestmark = pytest.mark.anyio
MARK = secrets.token_hex(6)
USER, PROMPT, COMMENT = f"zq-user-{MARK}", f"zq-prompt-{MARK}", f"zq-comment-{MARK}"
SECRET = "0123456789abcdef" * 4
NOW = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
ROOT = Actor(org="acme", user="root")


class TestErasing(ServiceContract):
    factory = SERVICES[0]


def sightings(folder, words):
    """Which files hold one of the words, as it is or in base64."""
    forms = [form for word in words for form in (word.encode(), word.encode("utf-16-le"), *_encoded(word))]
    found = []
    for path in sorted(each for each in Path(folder).rglob("*") if each.is_file()):
        data = path.read_bytes()
        found += [path.name for form in forms if form in data]
    return found


def files_with(folder, data):
    return [path for path in Path(folder).rglob("*") if path.is_file() and data in path.read_bytes()]


def _encoded(word):
    """The inner part of its base64 at each of the three offsets."""
    for skip in range(3):
        whole = base64.b64encode(b"\0" * skip + word.encode())
        yield whole[4:-4]


def stolen(folder, url):
    """Copies of all sealed values, and the keys by which a thief of the encryption key reads them now."""
    with closing(sqlite3.connect(next(Path(folder).rglob("*.db")))) as connection:
        copies = thief.in_files(folder) + thief.in_redis(redis.Redis.from_url(url), ["acme"])
        for table, column, sql in thief.statements():
            copies += [((org, table, column, row), blob) for org, row, blob in connection.execute(sql)]
        names = ("subject", "org_id", "key_version", "kek_id", "key_name", "wrapped_key")
        rows = connection.execute(f"SELECT {', '.join(names)} FROM data_keys WHERE org_id = 'acme'").fetchall()
    kept = [DataKey(created_at=NOW, **dict(zip(names, row, strict=True))) for row in rows]
    vault = Vault({"main": bytes.fromhex(SECRET)})
    return copies, [vault, *thief.keys_of(vault, kept)], {each.subject: each for each in kept}


def in_redis(url, words):
    client = redis.Redis.from_url(url)
    dumped = b"".join(key + (client.dump(key) or b"") for key in client.scan_iter("*"))
    return [word for word in words if word.encode() in dumped]


def sums(folder):
    with closing(sqlite3.connect(next(Path(folder).rglob("*.db")))) as connection:
        events = connection.execute(
            "SELECT count(*), sum(cost_nano), sum(saved_nano), sum(input_tokens) FROM inference_events "
            "WHERE org_id='acme'"
        ).fetchall()
        rollups = connection.execute(
            "SELECT granularity, sum(requests), sum(cost_nano), sum(saved_nano), sum(latency_us) FROM usage_rollups "
            "WHERE org_id='acme' GROUP BY granularity ORDER BY granularity"
        ).fetchall()
        names = connection.execute("SELECT DISTINCT user_id FROM inference_events WHERE org_id='acme'").fetchall()
    return events, rollups, {name for (name,) in names}


def exported(call, key, path):
    """The lines of an export by kind."""
    asked = urllib.request.Request(call.url + path, headers={"authorization": f"Bearer {key}"})
    found = {}
    with urllib.request.urlopen(asked, timeout=30) as answer:
        for line in answer:
            row = json.loads(line)
            found.setdefault(row["kind"], []).append(row["data"])
    return found


def finished(call, key, erasure_id):
    for _ in range(400):
        status, told = call(key, "GET", f"/governance/erasure/{erasure_id}")
        assert status == 200, told
        if told["state"] == "done":
            return told
        time.sleep(0.1)
    raise AssertionError(told)


@pytest.fixture(scope="module")
def place(tmp_path_factory, redis_url):
    """Two workers over SQLite, Redis and the semantic cache with its files."""
    folder = tmp_path_factory.mktemp("erasure")
    tree = {
        **TREE,
        "api": {"workers": 2},
        "redis": {"cache_prefix": fresh(), "timeout_ms": 1_000},
        "cache_tiers": {"semantic": {}},
        "logging": {"level": "DEBUG"},
    }
    with serving(
        folder, tree, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT, ASAHI_ENCRYPTION_KEY=SECRET, REDIS_URL=redis_url
    ) as served:
        yield Client(served.url), folder, redis_url


def lived(call, org, user):
    """All that a user leaves behind; gives the user's key."""
    body = {"user_id": user, "org_id": org, "role": "developer", "scopes": ["all"], "name": f"key of {user}"}
    key = call(BOOT, "POST", "/governance/api-keys", body)[1]["api_key"]
    prompt = {"prompt": f"{PROMPT} What is the capital of France?", "task_type": "faq"}
    for number in range(4):
        status, told = call(key, "POST", "/infer", prompt, idempotency_key=f"{user}-{number}")
        assert (status, PROMPT in told["response"]) == (200, True)
    time.sleep(0.5)
    opinion = {"request_id": told["request_id"], "thumb": "down", "comment": COMMENT}
    assert call(key, "POST", "/feedback", opinion)[0] == 204
    assert call(key, "POST", "/infer", {"prompt": "x", "model": "large", "routing_mode": "explicit"})[0] == 403
    budget = {"level": "user", "subject": user, "window": "day", "limit": 5.0}
    assert call(call.admin(org), "POST", "/governance/budgets", budget)[0] in {200, 201}
    for about in ({"scope": "user", "subject": user, "name": "own"}, {"name": f"what {user} asks"}):
        rule = {"metric": "requests", "threshold": 1, **about}
        assert call(call.admin(org), "POST", "/alerts/rules", rule)[0] == 201
    return key


def test_a_user_who_is_erased_is_found_nowhere(place):
    call, folder, url = place
    admin = call.admin("acme")
    call.policy("acme", blocked_models=["large"])
    assert call(admin, "PUT", "/settings", {"privacy": {"store_prompts": True}})[0] == 200
    time.sleep(1.2)
    key = lived(call, "acme", USER)
    call.infer("acme", "What is the capital of Peru?")
    time.sleep(1.5)
    assert {Path(name).suffix for name in sightings(folder, [USER])} >= {".wal"}
    assert any(name.startswith("asahi.db") for name in sightings(folder, [USER]))
    assert PROMPT in json.dumps(call(admin, "GET", "/cache/entries?limit=100")[1])
    before = sums(folder)
    assert USER in before[2]
    copies, keys, kept = stolen(folder, url)
    doomed = kept[subject_of("acme", USER)]
    theirs = [each for each in copies if each[1][1:13].hex() == doomed.key_name]
    tables = {table for _, table, _, _ in thief.readable(keys, theirs)}
    assert tables == {"event_bodies", "feedback", "idempotency_keys", "cache", "semantic_entries"}

    found = exported(call, admin, f"/governance/data-export?user_id={USER}")
    assert {kind: len(rows) for kind, rows in found.items()} == {
        "api_keys": 1, "feedback": 1, "budgets": 1, "alert_rules": 1, "event_bodies": 4, "events": 5, "decisions": 5,
        "audit_entries": 5,
        "cache_entries": len(found["cache_entries"]),
    }  # fmt: skip
    assert found["feedback"][0]["comment"] == COMMENT
    assert all(PROMPT in json.dumps(each["request"]) for each in found["event_bodies"])
    assert any(PROMPT in row["completion"]["text"] for row in found["cache_entries"])
    assert "key_hash" not in found["api_keys"][0]
    noted = call(admin, "GET", "/governance/audit?action=data_export")[1]["entries"]
    assert [each["details"] for each in noted] == [{"of": USER}]

    status, told = call(admin, "POST", "/governance/erasure", {"user_id": USER})
    assert (status, told["state"]) == (202, "queued")
    done = finished(call, admin, told["erasure_id"])
    assert done["residues"] == 0, done
    assert {name for name, count in done["counts"].items() if count} >= {
        "inference_events", "usage_rollups", "idempotency_keys", "event_bodies", "feedback", "api_keys", "budgets",
        "audit_entries", "alert_rules",
    }  # fmt: skip
    left = call(admin, "GET", "/alerts/rules")[1]["rules"]
    assert [each["name"] for each in left] == ["requests of the organisation"]

    words = [USER, PROMPT, COMMENT]
    assert sightings(folder, words) == []
    assert in_redis(url, words) == []
    for path in (
        "/cache/entries?limit=100",
        "/governance/audit?limit=100",
        "/governance/api-keys",
        "/analytics/inferences",
    ):
        assert not [word for word in words if word in json.dumps(call(admin, "GET", path)[1])], path
    _, keys, kept = stolen(folder, url)
    assert thief.readable(keys, theirs) == []
    assert thief.readable(keys, copies) != []
    assert kept[doomed.subject].wrapped_key is None
    assert files_with(folder, doomed.wrapped_key) == []
    assert call(key, "POST", "/infer", {"prompt": "again"})[0] == 401
    after = sums(folder)
    assert after[:2] == before[:2]
    assert after[2] == {None, "root"}
    told = call(admin, "GET", "/governance/audit/verify")[1]
    assert told["ok"] is True, told


def test_only_the_operator_erases_in_other_orgs_and_only_those_who_manage_users_erase_at_all(place):
    call, _, _ = place
    stranger = call.admin("stranger")
    theirs, nobody = (
        call(stranger, "POST", "/governance/erasure", {"org_id": org, "user_id": "root"}) for org in ("acme", "nowhere")
    )
    assert (theirs[0], theirs[1]["message"]) == (404, nobody[1]["message"])
    for role in ("developer", "viewer", "billing"):
        assert call(call.other("acme", role, ["all"]), "POST", "/governance/erasure", {"user_id": "x"})[0] == 403
    made = call(call.admin("acme"), "POST", "/governance/erasure", {"user_id": "nobody-at-all"})[1]["erasure_id"]
    assert call(stranger, "GET", f"/governance/erasure/{made}")[0] == 404
    assert finished(call, BOOT, made)["org_id"] == "acme"
    for path in ("?user_id=root&org_id=acme", "?user_id=root&org_id=nowhere"):
        assert call(stranger, "GET", f"/governance/data-export{path}")[0] == 404
    theirs = exported(call, stranger, "/governance/data-export?user_id=root")
    assert {row["org_id"] for rows in theirs.values() for row in rows} == {"stranger"}
    assert call(call.admin("acme"), "GET", "/governance/data-export")[0] == 400
    assert call(call.other("acme", "billing", ["all"]), "GET", "/governance/data-export?user_id=x")[0] == 403
    for body in ({}, {"user": "x"}, {"user_id": ""}, {"user_id": 7}, {"org_id": "../x"}, b"[]", b""):
        assert call(call.admin("acme"), "POST", "/governance/erasure", body)[0] == 400, body
    assert call(BOOT, "POST", "/governance/erasure", {"org_id": "default"})[0] == 422


def test_a_tenant_that_is_deleted_is_erased(place):
    call, folder, url = place
    assert call(BOOT, "POST", "/governance/tenants", {"org_id": "gone", "name": "Gone"})[0] == 201
    call.policy("gone", blocked_models=["large"])
    key = lived(call, "gone", USER)
    assert call(BOOT, "DELETE", "/governance/tenants/gone")[0] == 202
    for _ in range(300):
        with closing(sqlite3.connect(next(folder.rglob("*.db")))) as connection:
            rows = connection.execute("SELECT state, residues FROM erasures WHERE org_id='gone'").fetchall()
        if rows and rows[0][0] == "done":
            break
        time.sleep(0.1)
    assert rows == [("done", 0)]
    assert sightings(folder, [USER, PROMPT, COMMENT]) == []
    assert in_redis(url, [USER, PROMPT, COMMENT]) == []
    assert call(key, "GET", "/models")[0] in {401, 403}
    told = call(BOOT, "GET", "/governance/tenants/gone")[1]
    assert (told["status"], told["name"]) == ("erasing", "gone")
    time.sleep(2)
    with closing(sqlite3.connect(next(folder.rglob("*.db")))) as connection:
        assert connection.execute("SELECT count(*) FROM erasures WHERE org_id='gone'").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM savings_ledger WHERE org_id='gone'").fetchone()[0] > 0


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request, tmp_path, monkeypatch):
    """A gateway over each storage, which erases in no time."""
    monkeypatch.setattr(erasing, "SETTLE_S", 0.0)
    monkeypatch.setattr(erasing, "POLL_S", 0.05)
    storage = {"type": request.param}
    if request.param == "sqlite":
        storage["path"] = str(tmp_path / "a.db")
    elif request.param == "postgres":
        storage["url"] = request.getfixturevalue("fresh_database_url")
    tree = {"storage": storage, "journal": {"dir": str(tmp_path / "journal")}}
    async with gateway_of({**tree, "encryption": {"dir": str(tmp_path / "keys")}}) as gateway:
        yield gateway


async def populate(gateway, org, *users):
    """Something of each user in every table that may name one; gives the events."""
    kept, events = gateway.storage.repositories, []
    for user in users:
        for minute in range(3):
            moment = NOW + timedelta(minutes=minute)
            one = event(org, user_id=user, key_id=f"k{user}"[:16], timestamp=moment, tags={"end_user": user})
            events.append(Settled(one, decision(one)))
        request_id = events[-1].event.request_id
        opinion = Opinion(org_id=org, request_id=request_id, user_id=user, timestamp=NOW, comment=b"so so")
        await kept.feedback.save(opinion)
        judged = {"model": "m", "task_type": "faq", "score": 3.0, "source": "feedback", "timestamp": NOW}
        await kept.quality.save([Judgement(org_id=org, request_id=request_id, user_id=user, **judged)])
        subject = subject_of(org, user)
        body = Body(request_id=request_id, org_id=org, subject=subject, expires_at=NOW, request=b"q", response=b"a")
        await kept.bodies.save(body)
        key = DataKey(subject=subject, org_id=org, key_version=9, kek_id="k", created_at=NOW, wrapped_key=b"wrapped")
        await kept.data_keys.save(key)
        async with gateway.storage.together() as together:
            actor = Actor(org=org, user=user, ip_address="10.0.0.7")
            details = {"of": f"the key of {user}"}
            await together.audit.append([entry_of(actor, "x", f"y/{user}", details), entry_of(ROOT, "z", "z", org=org)])
    await gateway.storage.books.post(events)
    return events


async def summed(gateway, window):
    grouped = gateway.storage.rollups.grouped
    return [await grouped("acme", each, [window], set(), detail=True) for each in ("minute", "hour", "day")]


async def erased(gateway, org, user=None):
    made = await erasing.order(gateway, org, user, ROOT)
    done = await erasing.carry_out(gateway, made)
    return done if done is not None else await gateway.storage.repositories.erasures.anywhere(made.erasure_id)


async def test_sums_chains_and_everybody_else_are_spared(store):
    gateway, kept = store, store.storage.repositories
    others = await populate(gateway, "other", USER)
    events = await populate(gateway, "acme", USER, "bob")
    window = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)
    before = await summed(gateway, window)
    done = await erased(gateway, "acme", USER)
    while done.state != "done":
        done = await kept.erasures.anywhere(done.erasure_id)
    assert (done.residues, done.subject) == (0, None)
    assert done.counts["inference_events"] == 3
    assert await summed(gateway, window) == before
    by_user = await gateway.storage.rollups.grouped("acme", "day", [window], {"user_id"})
    assert {each.key.user_id: each.sums.requests for each in by_user} == {"": 3, "bob": 3}
    for each in events:
        found = await gateway.storage.events.find("acme", each.event.request_id)
        assert (found.user_id, found.tags) == (
            (None, {}) if each.event.user_id == USER else ("bob", {"end_user": "bob"})
        )
        decided = await gateway.storage.decisions.find("acme", each.event.request_id)
        assert decided.user_id == found.user_id
        assert decided.chosen == "model-a"
    theirs = others[0].event
    spared = await gateway.storage.events.find("other", theirs.request_id)
    assert (spared.user_id, spared.tags, spared.key_id) == (USER, {"end_user": USER}, theirs.key_id)
    assert await kept.feedback.get("other", others[-1].event.request_id, USER) is not None
    assert (await kept.data_keys.get("other", subject_of("other", USER))).wrapped_key == b"wrapped"
    assert (await kept.data_keys.get("acme", subject_of("acme", USER))).wrapped_key is None
    assert (await kept.data_keys.get("acme", subject_of("acme", "bob"))).wrapped_key == b"wrapped"
    assert await kept.bodies.get("acme", events[2].event.request_id) is None
    assert await kept.bodies.get("acme", events[5].event.request_id) is not None
    for org in ("acme", "other"):
        assert await kept.audit.verify_chain(org) == ""
    entries = [each async for each in kept.audit.entries("acme")]
    assert [each.user_id for each in entries[:4]] == [ERASED, "root", "bob", "root"]
    assert (entries[0].resource, entries[0].details, entries[0].ip_address) == (ERASED, {}, None)
    assert entries[2].resource == "y/bob"
    assert len([each async for each in gateway.storage.ledger.entries("acme")]) == 6


async def test_an_org_goes_whole_but_for_its_sums_and_chains(store):
    gateway, kept = store, store.storage.repositories
    tenant = {"created_at": NOW, "updated_at": NOW, "status": "active", "cache_salt": b"s"}
    await kept.tenants.create(Tenant(org_id="acme", name="Acme of Ann", **tenant))
    await populate(gateway, "other", "bob")
    events = await populate(gateway, "acme", USER, "bob")
    await kept.jobs.add(Job(request_id="j", org_id="acme", deadline=NOW, created_at=NOW, request=b"q"))
    before = await gateway.storage.events.totals("acme", None)
    done = await erased(gateway, "acme")
    while done.state != "done":
        done = await kept.erasures.anywhere(done.erasure_id)
    assert done.residues == 0
    assert await gateway.storage.events.find("acme", events[0].event.request_id) is None
    assert await kept.jobs.get("acme", "j") is None
    after = await gateway.storage.events.totals("acme", None)
    assert (after.requests, after.cost, after.saved) == (before.requests, before.cost, before.saved)
    assert (await gateway.storage.events.totals("other", None)).requests == 3
    assert len(await kept.feedback.of_org("other")) == 1
    assert await kept.audit.verify_chain("acme") == ""
    assert {each.user_id async for each in kept.audit.entries("acme")} == {ERASED, "asahi"}
    assert (await kept.tenants.get("acme")).name == "acme"


async def test_what_is_left_is_told_and_not_hidden(store, monkeypatch):
    gateway = store
    await populate(gateway, "acme", USER)

    async def idle(org, user):
        return {}

    monkeypatch.setattr(gateway.storage.purge, "user", idle)
    done = await erased(gateway, "acme", USER)
    while done.state != "done":
        done = await gateway.storage.repositories.erasures.anywhere(done.erasure_id)
    assert done.residues >= 3


async def test_one_that_a_dead_worker_began_is_taken_over(store):
    gateway, kept = store, store.storage.repositories
    await populate(gateway, "acme", USER)
    gateway.shared.pop(erasing.WAKE)
    begun = {"state": "running", "started_at": datetime.now(UTC) - timedelta(minutes=11)}
    order = Erasure(erasure_id="0" * 26, org_id="acme", requested_at=NOW, subject=USER.encode(), **begun)
    await kept.erasures.order(order)
    for _ in range(200):
        if (await kept.erasures.anywhere("0" * 26)).state == "done":
            break
        await asyncio.sleep(0.05)
    assert (await kept.erasures.anywhere("0" * 26)).residues == 0
