"""`privacy.store_prompts` over HTTP: what is kept on which route, who reads it, and that it goes when it must."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from litestar.testing import AsyncTestClient
from tests.kernel.kit import plugin
from tests.plugins.guard.kit import ALL, MODELS, Model
from tests.plugins.guard.test_served import bodies

from asahi_guard import erasing
from asahi_kernel.app import create_app
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway
from asahi_kernel.plugins import load_plugins
from asahi_kernel.repositories import subjects
from asahi_kernel.repositories.audit import AuditQuery
from asahi_kernel.settings import Settings

pytestmark = pytest.mark.anyio
MAIL = "ann@example.com"
PEOPLE = {
    name: {"key": f"{name}-0123456789abcdef0123456789", "org": org, "user": user, "role": role}
    for name, org, user, role in (
        ("root", "acme", "root", "admin"),
        ("ann", "acme", "ann", "developer"),
        ("bob", "acme", "bob", "developer"),
        ("eve", "evil", "ann", "admin"),
        ("operator", "default", "op", "admin"),
    )
}


class Desk:
    """Everybody's way in."""

    def __init__(self, gateway, client):
        self.gateway, self._client = gateway, client

    async def __call__(self, who, method, path, body=None, **headers):
        given = {"authorization": f"Bearer {PEOPLE[who]['key']}", **headers}
        return await self._client.request(method, path, json=body, headers=given)

    async def on(self, who="root", **privacy):
        told = await self(who, "PUT", "/settings", {"privacy": {"store_prompts": True, **privacy}})
        assert told.status_code == 200, told.text

    async def asked(self, who, prompt, **fields):
        answer = await self(who, "POST", "/infer", {"prompt": prompt, **fields})
        assert answer.status_code == 200, answer.text
        return answer.headers["x-asahi-request-id"]

    async def written(self):
        """Have what waits stored, in the loop of the application: an export does so first."""
        assert (await self("root", "GET", "/governance/data-export?user_id=nobody")).status_code == 200

    async def words(self, who, request_id):
        answer = await self(who, "GET", f"/explain/{request_id}")
        return answer.json()["words"] if answer.status_code == 200 else answer.status_code


def said(turns):
    return " ".join(each["text"] for each in turns)


@asynccontextmanager
async def desk(model=None, policies=ALL, storage="memory", folder="."):
    plugins = load_plugins()
    plugins.manager.register(plugin(providers=("scripted", model or Model("Paris."))), name="test")
    tree = {
        "auth": {"type": "static", "keys": list(PEOPLE.values())},
        "storage": storage,
        "journal": {"dir": f"{folder}/journal"},
        "encryption": {"key": "0123456789abcdef" * 4},
        "governance": {"policies": policies},
        **MODELS,
    }
    tree["providers"] = {"scripted": {"agreement": True}}
    settings = decode(tree, Settings, "test")
    gateway = Gateway(settings)
    async with AsyncTestClient(create_app(settings, plugins, gateway)) as client:
        yield Desk(gateway, client)


@pytest.mark.parametrize("path", ["/infer", "/v1/chat/completions", "/v1/messages", "/v1/responses"])
async def test_every_route_that_answers_is_kept_whole_streamed_and_from_the_cache(path):
    async with desk(Model("It is ", "Paris.")) as call:
        await call.on()
        for stream, hit in ((False, "false"), (False, "true"), (True, "true")):
            body = {**bodies(stream)[path], **({"cache": "on"} if path == "/infer" else {})}
            answer = await call("ann", "POST", path, body)
            assert answer.status_code == 200, answer.text
            told = await call.words("ann", answer.headers["x-asahi-request-id"])
            assert (said(told["request"]), said(told["response"])) == ("say it", "It is Paris."), (path, stream, hit)
        fresh = {**bodies(True)[path], **({"cache": "off"} if path == "/infer" else {})}
        answer = await call("ann", "POST", path, fresh, **{"x-asahi-cache": "off"} if path != "/infer" else {})
        told = await call.words("ann", answer.headers["x-asahi-request-id"])
        assert said(told["response"]) == "It is Paris."


async def test_what_is_kept_is_what_was_admitted_and_released():
    async with desk(Model("Write to bob@example.com.")) as call:
        await call.on(pii_action="redact")
        for stream in (False, True):
            request_id = await call.asked("ann", f"I am {MAIL}", stream=stream)
            told = json.dumps(await call.words("ann", request_id))
            assert "example.com" not in told
            assert told.count("[EMAIL_REDACTED]") == 2


async def test_what_is_refused_is_not_kept():
    async with desk() as call:
        await call.on(pii_action="block")
        refused = await call("ann", "POST", "/infer", {"prompt": f"I am {MAIL}"})
        assert refused.json()["error"] == "pii_blocked"
        told = await call.words("ann", refused.headers["x-asahi-request-id"])
        assert (told["kept"], "had no answer" in told["reason"]) == (False, True)
        await call.written()
        assert not await call.gateway.storage.repositories.bodies.holds("acme")


async def test_ones_own_words_are_ones_own_and_others_need_the_audit_log_which_says_so():
    async with desk() as call:
        await call.on()
        request_id = await call.asked("ann", "a secret of ann")
        assert said((await call.words("ann", request_id))["request"]) == "a secret of ann"
        audit = call.gateway.storage.repositories.audit
        assert await audit.query("acme", AuditQuery(action="words_read")) == []
        told = await call.words("bob", request_id)
        assert told == {"kept": False, "reason": "not shown: the words of others need the permission view_audit_log"}
        assert said((await call.words("root", request_id))["request"]) == "a secret of ann"
        (noted,) = await audit.query("acme", AuditQuery(action="words_read"))
        assert (noted.user_id, noted.resource) == ("root", f"request/{request_id}")
        assert "secret" not in str(noted)
        for stranger in ("eve", "operator"):
            assert await call.words(stranger, request_id) == 404


async def test_others_words_that_cannot_be_noted_are_not_shown(monkeypatch):
    from asahi_kernel.repositories.audit import Audit

    async with desk() as call:
        await call.on()
        request_id = await call.asked("ann", "a secret of ann")

        async def dead(self, entries):
            raise OSError("no space left on device")

        monkeypatch.setattr(Audit, "append", dead)
        answer = await call("root", "GET", f"/explain/{request_id}")
        assert answer.status_code == 503
        assert "secret" not in answer.text
        assert (await call("ann", "GET", f"/explain/{request_id}")).status_code == 200


async def test_why_there_are_none_is_said():
    async with desk() as call:
        off = await call.asked("ann", "one")
        assert await call.words("ann", off) == {"kept": False, "reason": "not stored: prompt storage is off"}
        await call.on()
        assert "while prompt storage was off" in (await call.words("ann", off))["reason"]
        profile = {"frameworks": ["hipaa"]}
        kept = await call.asked("ann", "two")
        assert (await call.words("ann", kept))["kept"]
        assert (await call("root", "POST", "/governance/compliance/acme", profile)).status_code == 200
        assert "compliance profile" in (await call.words("ann", kept))["reason"]


async def test_a_profile_that_forbids_it_has_what_is_there_forgotten_and_the_setting_refused():
    """CO-1, HIPAA: no bodies."""
    async with desk() as call:
        await call.on()
        await call.asked("ann", "before")
        await call.written()
        repositories = call.gateway.storage.repositories
        assert await repositories.bodies.holds("acme")
        for org in ("acme", "evil"):
            who = "root" if org == "acme" else "eve"
            await call(who, "POST", f"/governance/compliance/{org}", {"frameworks": ["hipaa"]})
        assert not await repositories.bodies.holds("acme")
        (noted,) = await repositories.audit.query("acme", AuditQuery(action="compliance_update"))
        assert noted.details["prompts_forgotten"] == 1
        await call.asked("ann", "after")
        await call.written()
        assert not await repositories.bodies.holds("acme")
        told = (await call("root", "GET", "/settings")).json()
        assert "privacy.store_prompts" in told["not_enforced"]
        refused = await call("eve", "PUT", "/settings", {"privacy": {"store_prompts": True}})
        assert (refused.status_code, refused.json()["error"]) == (422, "contradictory_settings")
        assert (await call("eve", "PUT", "/settings", {"privacy": {"store_prompts": False}})).status_code == 200


async def test_the_report_looks_for_words_that_are_there(monkeypatch):
    async with desk() as call:
        await call.on()
        await call.asked("ann", "before")
        await call.written()
        from asahi_kernel.repositories.work import Bodies

        async def spared(self, org, subject=None):
            return 0

        with monkeypatch.context() as patched:
            patched.setattr(Bodies, "forget", spared)
            await call("root", "POST", "/governance/compliance/acme", {"frameworks": ["hipaa"]})
        await call("root", "DELETE", "/cache/clear")
        path = "/governance/compliance/report?framework=hipaa"

        async def check():
            told = (await call("root", "GET", path)).json()["checks"]
            return next(each for each in told if each["check"] == "prompt_storage_disabled")

        found = await check()
        assert (found["status"], "still stored" in found["detail"]) == ("fail", True)
        await call("root", "POST", "/governance/compliance/acme", {"frameworks": ["hipaa"]})
        assert (await check())["status"] == "pass"


def exported(answer):
    rows = [json.loads(line) for line in answer.text.splitlines()]
    return [row["data"] for row in rows if row["kind"] == "event_bodies"]


async def test_an_export_has_them_and_the_operators_says_that_it_has_not(monkeypatch):
    monkeypatch.setattr(subjects, "_PAGE", 2)
    async with desk() as call:
        await call.on()
        for number in range(3):
            await call.asked("ann", f"question {number}")
        await call.asked("bob", "of bob")
        found = exported(await call("root", "GET", "/governance/data-export?user_id=ann"))
        assert sorted(said(each["request"]) for each in found) == [f"question {number}" for number in range(3)]
        assert {said(each["response"]) for each in found} == {"Paris."}
        answer = await call("operator", "GET", "/governance/data-export?user_id=ann&org_id=acme")
        found = exported(answer)
        assert [(each["request"], each["response"]) for each in found] == [(None, None)] * 3
        assert {each["withheld"] for each in found} == {"only the organisation itself may read its words"}
        assert "question 0" not in "".join(json.dumps(each) for each in found)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_erasing_a_user_takes_what_is_stored_and_what_waits(kind, tmp_path, monkeypatch):
    """CO-3."""
    monkeypatch.setattr(erasing, "SETTLE_S", 0.05)
    monkeypatch.setattr(erasing, "POLL_S", 0.05)
    storage = {"type": kind, **({"path": str(tmp_path / "a.db")} if kind == "sqlite" else {})}
    async with desk(storage=storage, folder=tmp_path) as call:
        await call.on()
        theirs = await call.asked("bob", "of bob")
        stored = await call.asked("ann", "canary-of-ann one")
        assert (await call.words("ann", stored))["kept"]
        waits = await call.asked("ann", "canary-of-ann two")
        made = (await call("root", "POST", "/governance/erasure", {"user_id": "ann"})).json()
        for _ in range(200):
            told = (await call("root", "GET", f"/governance/erasure/{made['erasure_id']}")).json()
            if told["state"] == "done":
                break
            await asyncio.sleep(0.05)
        assert (told["state"], told["residues"]) == ("done", 0)
        assert told["counts"]["event_bodies"] == 2
        assert [(await call.words("root", each))["kept"] for each in (stored, waits, theirs)] == [False, False, True]
        if kind == "sqlite":
            files = b"".join(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())
            assert b"canary-of-ann" not in files
