"""`POST /alerts/channels/test`: each channel is tried once, and told in words that give nothing away."""

from __future__ import annotations

from contextlib import AsyncExitStack

import httpx
import pytest
from tests.plugins.analytics.test_alerting import receiver
from tests.plugins.telemetry.mailing import free_port, posting

from asahi_analytics.channel_routes import MOST
from asahi_kernel.app import create_app
from asahi_kernel.channels import channels
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.plugins import load_plugins
from asahi_kernel.settings import Settings

pytestmark = pytest.mark.anyio
KEYS = {role: f"{role}-0123456789abcdef0123456789" for role in ("admin", "viewer")}
SECRET = "t0ken-canary"


class Place:
    """A gateway whose operator has configured these services."""

    def __init__(self, **services):
        keys = [{"key": key, "org": "acme", "user": role, "role": role} for role, key in KEYS.items()]
        tree = {"auth": {"type": "static", "keys": keys}, "storage": "memory", "providers": {"mock": {}}}
        tree |= {"encryption": {"key": "0123456789abcdef" * 4}, "services": services}
        settings, self.plugins = decode(tree, Settings, "test"), load_plugins()
        self.gateway = Gateway(settings)
        app = create_app(settings, self.plugins, self.gateway)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost")
        self.opened = AsyncExitStack()

    async def __aenter__(self):
        await self.opened.enter_async_context(running(self.gateway, self.plugins))
        await self.opened.enter_async_context(self.client)
        return self

    async def __aexit__(self, *raised):
        await self.opened.aclose()

    async def ask(self, method, path, body=None, role="admin"):
        headers = {"authorization": f"Bearer {KEYS[role]}"}
        return await self.client.request(method, path, json=body, headers=headers)

    async def tested(self):
        answer = await self.ask("POST", "/alerts/channels/test")
        assert answer.status_code == 200, answer.text
        return {each["channel"]: (each["delivered"], each["reason"]) for each in answer.json()["channels"]}


def hook(url):
    return {"webhook_url": f"{url}/hook?token={SECRET}", "webhook_timeout_s": 1}


def post(port):
    return {"smtp_url": f"smtp://127.0.0.1:{port}", "sender": "asahi@example.com", "security": "none", "timeout_s": 2}


async def test_each_channel_gets_one_message_and_says_so():
    with posting() as inbox:
        async with receiver() as (url, got), Place(alerts=hook(url), mail=post(inbox.port)) as place:
            assert await place.tested() == {
                "mail": (False, "the settings of the organisation name no address to send to (alert_emails)"),
                "webhook": (True, None),
            }
            await place.ask("PUT", "/settings", {"general": {"alert_emails": ["ann@example.com"]}})
            assert await place.tested() == {"mail": (True, None), "webhook": (True, None)}
    assert [(body["state"], body["org_id"]) for _, body in got] == [("test", "acme")] * 2
    assert [each.rcpt_tos for each in inbox.envelopes] == [["ann@example.com"]]
    audit = place.gateway.storage.repositories.audit
    assert [each.action async for each in audit.entries("acme")].count("alert_channel_test") == 2


@pytest.mark.parametrize(
    ("status", "told"), [("404 Not Here", "it answered 404"), ("302 Moved", "it answered 302"), (None, "reached")]
)
async def test_a_refusal_names_neither_host_nor_secret(status, told):
    async with receiver(status or "200 OK", "location: http://elsewhere.example/\r\n") as (url, _):
        place = f"http://127.0.0.1:{free_port()}" if status is None else url
        async with Place(alerts=hook(place), mail=post(free_port())) as here:
            await here.ask("PUT", "/settings", {"general": {"alert_emails": ["ann@example.com"]}})
            answer = await here.ask("POST", "/alerts/channels/test")
    rows = {each["channel"]: each for each in answer.json()["channels"]}
    assert rows["webhook"]["delivered"] is rows["mail"]["delivered"] is False
    assert told in rows["webhook"]["reason"]
    assert "cannot be reached" in rows["mail"]["reason"]
    for secret in (SECRET, "127.0.0.1", "elsewhere", "hook", "smtp"):
        assert secret not in answer.text.replace("webhook", "")


async def test_what_a_channel_raises_is_not_repeated_and_keeps_no_other():
    class Broken:
        async def test(self, org):
            raise OSError(f"http://internal.example/{SECRET}")

    async with receiver() as (url, got), Place(alerts=hook(url)) as place:
        channels(place.gateway)["broken"] = Broken()
        assert await place.tested() == {"broken": (False, "it could not be tried"), "webhook": (True, None)}
    assert len(got) == 1


async def test_without_a_channel_there_is_nothing_to_test():
    async with Place() as place:
        assert await place.tested() == {}


async def test_tests_are_few_and_for_admins():
    async with receiver() as (url, got), Place(alerts=hook(url)) as place:
        assert (await place.ask("POST", "/alerts/channels/test", role="viewer")).status_code == 403
        for _ in range(MOST):
            await place.tested()
        over = await place.ask("POST", "/alerts/channels/test")
        assert over.status_code == 429
        assert int(over.headers["retry-after"]) >= 1
    assert len(got) == MOST


async def test_what_cannot_be_noted_is_not_sent(monkeypatch):
    from asahi_kernel.repositories.audit import Audit

    async def broken(self, entries):
        raise OSError("away")

    async with receiver() as (url, got), Place(alerts=hook(url)) as place:
        monkeypatch.setattr(Audit, "append", broken)
        assert (await place.ask("POST", "/alerts/channels/test")).status_code == 503
    assert got == []
