"""The key of a login is asked for again before what must not be done by whoever finds an open browser."""

from contextlib import AsyncExitStack
from datetime import timedelta

import httpx
import pytest

from asahi_access.config import KeysConfig
from asahi_access.issuing import Issuer, Order
from asahi_access.opening import peppers_of
from asahi_kernel import clock
from asahi_kernel.app import create_app
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.plugins import load_plugins
from asahi_kernel.settings import Settings

pytestmark = pytest.mark.anyio
SENSITIVE = ("POST", "/governance/budgets", {"level": "org", "window": "day", "limit": 5})


class Page:
    """The dashboard's own page in a browser."""

    def __init__(self, gateway, app):
        self.gateway = gateway
        self.issuer = Issuer(gateway.storage, peppers_of(KeysConfig(), gateway))
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost", timeout=10)
        self.csrf = None

    async def key(self, user="ann", role="admin", scope="all", org="acme"):
        order = Order(org=org, user=user, role=role, scopes=(scope,))
        return (await self.issuer.create(order, Actor(org="default", user="test")))[1].text

    async def log_in(self, key):
        answer = await self.client.post("/auth/login", json={"api_key": key})
        assert answer.status_code == 200, answer.text
        self.csrf = answer.json()["csrf"]

    async def __call__(self, method, path, body=None, **headers):
        given = {"x-csrf-token": self.csrf, "origin": "http://localhost", **headers}
        sent = {} if body is None else {"json": body}
        answer = await self.client.request(
            method, path, headers={name: value for name, value in given.items() if value is not None}, **sent
        )
        return answer.status_code, answer.json() if answer.content else {}

    async def confirm(self, key, **headers):
        return await self("POST", "/auth/confirm", {"api_key": key}, **headers)

    async def audited(self, action, org="acme"):
        """Once all that was noted before is written."""
        await self.gateway.audit.record(entry_of(Actor(org=org, user="test"), "marker", "test"))
        audit = self.gateway.storage.repositories.audit
        return [entry async for entry in audit.entries(org) if entry.action == action]


@pytest.fixture
async def opened():
    """Opens a gateway with its page; its clock is the test's."""
    async with AsyncExitStack() as stack:
        stack.enter_context(clock.moving())

        async def open_page(**auth):
            tree = {"storage": "memory", "auth": {"type": "keys", **auth}, "providers": {"mock": {}}}
            settings, plugins = decode(tree, Settings, "test"), load_plugins()
            gateway = Gateway(settings)
            app = create_app(settings, plugins, gateway)
            await stack.enter_async_context(running(gateway, plugins))
            page = Page(gateway, app)
            await stack.enter_async_context(page.client)
            return page

        yield open_page


def later(**fields):
    clock.move(clock.now() + timedelta(**fields))


async def test_after_a_quarter_of_an_hour_the_key_is_asked_for_and_its_own_opens(opened):
    page = await opened()
    key = await page.key()
    await page.log_in(key)
    assert (await page(*SENSITIVE))[0] == 201
    later(minutes=14, seconds=58)
    assert (await page(*SENSITIVE))[0] == 201
    later(seconds=5)
    status, told = await page(*SENSITIVE)
    assert (status, told["error"]) == (403, "confirmation_required")
    assert (await page("GET", "/governance/budgets"))[0] == 200, "reading goes on"
    assert (await page("POST", "/alerts/rules", {"name": "n", "metric": "requests", "threshold": 1}))[0] == 201
    assert (await page.confirm(key))[0] == 204
    assert (await page(*SENSITIVE))[0] == 201
    (entry,) = await page.audited("login_confirmed")
    assert (entry.user_id, entry.resource.split("/")[0]) == ("ann", "login")
    later(minutes=16)
    assert (await page(*SENSITIVE))[0] == 403, "it is renewed for as long, and no longer"


async def test_nothing_was_done_before(opened):
    page = await opened()
    await page.log_in(await page.key())
    later(minutes=16)
    await page(*SENSITIVE)
    status, _ = await page("POST", "/governance/api-keys", {"user_id": "eve", "scopes": ["all"]})
    assert status == 403
    assert (await page("GET", "/governance/data-export?user_id=ann"))[0] == 403, "a method that reads may be sensitive"
    assert (await page("GET", "/governance/budgets"))[1]["count"] == 0
    assert [row["user_id"] for row in (await page("GET", "/governance/api-keys"))[1]["keys"]] == ["ann"]


async def test_a_wrong_key_confirms_nothing_and_ends_no_login(opened):
    page = await opened()
    key, good = await page.key(), await page.key("bob")
    others = [good, await page.key("ann", org="globex"), await page.key("ann", role="viewer")]
    await page.log_in(key)
    later(minutes=16)
    for wrong in (*others, "ask_" + "A" * 12 + "_" + "b" * 43, "x", "", key[:-1], "ü"):
        status, told = await page.confirm(wrong)
        assert (status, told["error"]) == (403, "confirmation_failed"), wrong
        assert wrong == "" or wrong == "x" or wrong not in str(told)
    assert (await page(*SENSITIVE))[1]["error"] == "confirmation_required"
    assert (await page("GET", "/auth/me"))[0] == 200
    assert await page.audited("login_confirmed") == []


async def test_another_key_of_the_same_person_is_as_good(opened):
    page = await opened()
    key, another = await page.key(scope="admin"), await page.key(scope="all")
    await page.log_in(key)
    later(minutes=16)
    assert (await page.confirm(another))[0] == 204
    assert (await page(*SENSITIVE))[0] == 201


async def test_wrong_keys_count_as_failed_authentications(opened):
    page = await opened(failed_per_minute=4)
    key, other = await page.key(), await page.key("bob")
    await page.log_in(key)
    later(minutes=16)
    for wrong in ("x", other, "y", other):
        assert (await page.confirm(wrong))[0] == 403
    for tried in ("z", other):
        assert (await page.confirm(tried))[0] == 429
    assert (await page("GET", "/auth/me"))[0] == 200, "the login lives"
    failed = await page.audited("auth_failure", "default")
    assert len(failed) == 4
    assert {entry.resource for entry in failed} == {"/auth/confirm"}


async def test_it_takes_our_own_page(opened):
    page = await opened()
    key = await page.key()
    await page.log_in(key)
    later(minutes=16)
    for headers in ({"x-csrf-token": None}, {"x-csrf-token": "0" * 64}, {"origin": "https://evil.example"}):
        status, told = await page.confirm(key, **headers)
        assert (status, told["error"]) == (403, "permission_denied"), headers
    assert (await page(*SENSITIVE))[0] == 403


async def test_a_key_in_the_header_is_never_asked(opened):
    page = await opened()
    key = await page.key()
    await page.log_in(key)
    later(minutes=60)
    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
        assert (await page(*SENSITIVE, **headers))[0] == 201
        assert (await page.confirm(key, **headers))[0] == 400


async def test_with_zero_nobody_is_ever_asked(opened):
    page = await opened(confirm_after_minutes=0)
    await page.log_in(await page.key())
    for _ in range(3):
        later(minutes=55)
        assert (await page(*SENSITIVE))[0] == 201


async def test_who_may_not_is_told_that_first(opened):
    page = await opened()
    await page.log_in(await page.key(role="viewer"))
    later(minutes=16)
    assert (await page(*SENSITIVE))[1]["error"] == "permission_denied"


async def test_the_login_alone_is_confirmed(opened):
    """Each browser for itself."""
    page = await opened()
    key = await page.key()
    await page.log_in(key)
    first, csrf = dict(page.client.cookies), page.csrf
    page.client.cookies.clear()
    await page.log_in(key)
    later(minutes=16)
    assert (await page.confirm(key))[0] == 204
    page.client.cookies.clear()
    page.client.cookies.update(first)
    page.csrf = csrf
    assert (await page(*SENSITIVE))[0] == 403
