"""Over HTTP with a model that says what it is told to: streams on every wire, and changes that cannot be audited."""

import json
from contextlib import asynccontextmanager

import pytest
from litestar.testing import AsyncTestClient
from tests.kernel.kit import plugin
from tests.plugins.guard.kit import ALL, MODELS, Model

from asahi_kernel.app import create_app
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway
from asahi_kernel.plugins import load_plugins
from asahi_kernel.settings import Settings
from asahi_kernel.types import Chunk, ToolCallDelta

pytestmark = pytest.mark.anyio
KEY = "acme-0123456789abcdef0123456789"
CARD, MAIL = "4111 1111 1111 1111", "ann@example.com"
HEAD = {"authorization": f"Bearer {KEY}"}


@asynccontextmanager
async def serving(model):
    plugins = load_plugins()
    plugins.manager.register(plugin(providers=("scripted", model)), name="test")
    tree = {
        "auth": {"type": "static", "keys": [{"key": KEY, "org": "acme", "user": "ann", "role": "admin"}]},
        "storage": "memory",
        "encryption": {"key": "0123456789abcdef" * 4},
        "governance": {"policies": ALL},
        **MODELS,
    }
    settings = decode(tree, Settings, "test")
    gateway = Gateway(settings)
    async with AsyncTestClient(create_app(settings, plugins, gateway)) as client:
        yield gateway, client


def bodies(stream):
    turns = [{"role": "user", "content": "say it"}]
    return {
        "/infer": {"prompt": "say it", "stream": stream, "cache": "off"},
        "/v1/chat/completions": {"model": "auto", "messages": turns, "stream": stream},
        "/v1/messages": {"model": "auto", "messages": turns, "max_tokens": 99, "stream": stream},
        "/v1/responses": {"model": "auto", "input": "say it", "stream": stream, "store": False},
    }


def uncached(path):
    return HEAD if path == "/infer" else {**HEAD, "x-asahi-cache": "off"}


async def test_answers_are_redacted_on_every_wire_whole_and_streamed():
    """CO-4. Text and tool calls; the entity is split where it hurts."""
    call = ToolCallDelta(index=0, id="call_1", name="mail", arguments=json.dumps({"to": MAIL}))
    for calls in ((), (call,)):
        async with serving(Model("It is 4111 1111 ", "1111 11", "11, of ann@exam", "ple.com, yes.", calls=calls)) as (
            _,
            client,
        ):
            saved = await client.post("/governance/policies/acme", json={"pii_action": "redact"}, headers=HEAD)
            assert saved.status_code == 200, saved.text
            for stream in (True, False):
                for path, body in bodies(stream).items():
                    answer = await client.post(
                        path, json=body, headers={**HEAD, "x-asahi-cache": "off"} if path != "/infer" else HEAD
                    )
                    assert answer.status_code == 200, answer.text
                    assert "4111 1" not in answer.text, path
                    assert "1111 1" not in answer.text, path
                    assert "example.com" not in answer.text, path
                    assert "CC_REDACTED" in answer.text, path


async def test_a_refusal_inside_a_stream_is_a_terminal_error_event():
    """C18."""
    model = Model("A long enough beginning that goes out at once. ", "The word is zebra-7731-", "quartz.")
    async with serving(model) as (gateway, client):
        from asahi_guard.leaking import Canaries

        gateway.policies["injection"]._canaries = Canaries(["zebra-7731-quartz"])
        await client.post("/governance/policies/acme", json={"injection_action": "block"}, headers=HEAD)
        answer = await client.post("/infer", json={"prompt": "say", "stream": True}, headers=HEAD)
        assert "quartz" not in answer.text
        assert "zebra" not in answer.text
        assert "injection_blocked" in answer.text
        assert "A long enough beginning" in answer.text
        whole = await client.post("/infer", json={"prompt": "say"}, headers=HEAD)
        assert (whole.status_code, whole.json()["error"]) == (403, "injection_blocked")


CHANGES = (
    ("POST", "/governance/policies/acme", {"blocked_models": ["large"]}),
    ("DELETE", "/governance/policies/acme", None),
    ("POST", "/governance/compliance/acme", {"frameworks": ["ccpa"]}),
)


@pytest.mark.parametrize(("method", "path", "body"), CHANGES, ids=["save", "drop", "profile"])
async def test_a_change_that_cannot_be_audited_is_refused_and_nothing_changes(monkeypatch, method, path, body):
    """AD-3. Inference is unaffected."""
    async with serving(Model("fine")) as (gateway, client):
        assert (
            await client.post("/governance/policies/acme", json={"pii_action": "off"}, headers=HEAD)
        ).status_code == 200
        kept = gateway.storage.repositories
        before = await kept.policies.history("acme"), await kept.compliance.get("acme")

        async def dead(self, entries):
            raise OSError("no space left on device")

        from asahi_kernel.repositories.audit import Audit

        with monkeypatch.context() as patched:
            patched.setattr(Audit, "append", dead)
            answer = await client.request(method, path, json=body, headers=HEAD)
            assert (answer.status_code, answer.json()["error"]) == (503, "storage_unavailable")
            assert (await kept.policies.history("acme"), await kept.compliance.get("acme")) == before
            answer = await client.post("/infer", json={"prompt": "go on"}, headers=HEAD)
            assert answer.status_code == 200
        assert (await client.request(method, path, json=body, headers=HEAD)).status_code in {200, 204}


async def test_each_change_is_one_entry_that_says_who_and_what():
    from asahi_kernel.repositories.audit import AuditQuery

    async with serving(Model("fine")) as (gateway, client):
        await client.post("/governance/policies/acme", json={"max_cost_per_day": 2.5}, headers=HEAD)
        for method, path, body in CHANGES:
            await client.request(method, path, json=body, headers=HEAD)
        found = await gateway.storage.repositories.audit.query("acme", AuditQuery())
        assert [each.action for each in found] == [
            "compliance_update",
            "policy_delete",
            "policy_update",
            "policy_update",
        ]
        assert found[-1].details["changes"]["max_cost_per_day"] == {"from": None, "to": 2_500_000_000}
        assert found[2].details["changes"]["blocked_models"] == {"from": (), "to": ("large",)}
        assert {each.user_id for each in found} == {"ann"}
        assert {each.data_classification for each in found} == {"confidential"}
        assert await gateway.storage.repositories.audit.verify_chain("acme") == ""


async def test_dead_storage_is_503_on_every_route(monkeypatch):
    async with serving(Model("fine")) as (gateway, client):

        async def dead(*args, **kwargs):
            raise OSError("no route to host")

        monkeypatch.setattr(gateway.storage.repositories.policies, "get_policy", dead)
        monkeypatch.setattr(gateway.storage.repositories.policies, "history", dead)
        monkeypatch.setattr(gateway.storage.repositories.compliance, "get", dead)
        for path in (
            "/governance/policies/acme",
            "/governance/policies/acme/history",
            "/governance/compliance/acme",
            "/governance/compliance/report?framework=soc2",
        ):
            answer = await client.get(path, headers=HEAD)
            assert (answer.status_code, answer.json()["error"]) == (503, "storage_unavailable"), path


async def test_a_policy_of_a_provider_is_no_business_of_a_stream_without_one():
    """What is not filtered is not touched: the pieces come as the provider made them."""
    async with serving(Model(Chunk(text="a 4111"), Chunk(text=" 1111"))) as (_, client):
        answer = await client.post("/infer", json={"prompt": "say", "stream": True}, headers=HEAD)
        assert "a 4111" in answer.text


async def test_a_count_of_tokens_sends_nothing_that_inference_might_not():
    """C8, CO-4. Counting asks a vendor, so what holds for prompts holds for it."""
    counted = []

    class Counting(Model):
        async def count_tokens(self, model, request):
            counted.append(request)
            return 7

    turns = [{"role": "user", "content": f"write to {MAIL}"}]
    async with serving(Counting("fine")) as (_, client):

        async def count(model="small"):
            body = {"model": model, "messages": turns}
            return await client.post("/v1/messages/count_tokens", json=body, headers=HEAD)

        async def policy(**fields):
            assert (await client.post("/governance/policies/acme", json=fields, headers=HEAD)).status_code == 200

        assert (await count()).json() == {"input_tokens": 7}
        assert counted[0].messages[0].text == f"write to {MAIL}"
        await policy(pii_action="redact")
        assert (await count()).status_code == 200
        assert counted[1].messages[0].text == "write to [EMAIL_REDACTED]"
        await policy(pii_action="block")
        assert (await count()).status_code == 403
        await policy(blocked_models=["small"])
        assert (await count()).status_code == 403
        await policy(data_residency="us")
        assert (await count()).status_code == 403
        assert (await count("large")).status_code == 200
        assert len(counted) == 3


async def test_a_recheck_is_released_too_before_a_cache_keeps_it():
    from asahi_kernel.recheck import recheck
    from asahi_kernel.testing import ASK, HERE

    async with serving(Model(f"It is {CARD}.")) as (gateway, _):
        from datetime import UTC, datetime

        from asahi_kernel.repositories.rules import OrgPolicy

        strict = OrgPolicy(org_id=HERE.org, updated_at=datetime.now(UTC), pii_action="redact")
        await gateway.storage.repositories.policies.save_policy(strict)
        fresh = await recheck(gateway, ASK, HERE, "small", "semantic_cache")
        assert fresh.text == "It is [CC_REDACTED]."
