"""AU-1, AU-3, AU-4: every route of the application with all plugins, for every role and scope, and for foreign objects.

The routes come from the application, the expectation from `access_rows`: neither is made from the other.
"""

from __future__ import annotations

import itertools
import json
from typing import get_args

import httpx
import pytest
from tests.e2e.access_rows import ROWS

from asahi_access.config import KeysConfig
from asahi_access.issuing import Issuer, Order
from asahi_access.opening import peppers_of
from asahi_kernel.alerting import alert
from asahi_kernel.app import create_app
from asahi_kernel.auditing import Actor
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.plugins import load_plugins
from asahi_kernel.settings import Settings
from asahi_kernel.types import Permission

pytestmark = pytest.mark.anyio

ALL = set(get_args(Permission))
#: 10.2, written out by hand.
OF_ROLE = {
    "admin": ALL,
    "developer": {"infer", "view_metrics", "view_cost"},
    "viewer": {"view_metrics"},
    "billing": {"view_metrics", "view_cost", "view_audit_log", "manage_billing"},
}
OF_SCOPE = {"infer": {"infer"}, "analytics": {"view_metrics", "view_cost"}, "admin": ALL, "all": ALL, "none": set()}
CELLS = list(itertools.product(OF_ROLE, OF_SCOPE))
INFERENCE = {
    "/infer": {"prompt": "hello"},
    "/v1/chat/completions": {"model": "mock", "messages": [{"role": "user", "content": "hello"}]},
    "/v1/messages": {"model": "mock", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]},
    "/v1/responses": {"model": "mock", "input": "hello"},
    "/v1/embeddings": {"model": "mock", "input": "hello"},
}
HIDDEN = "a-secret-of-globex"
RULE = {"name": "busy", "metric": "requests", "threshold": 100}


def table(app):
    """Method and path of every route, as the application has them."""
    found = []
    for route in app.routes:
        for handler in getattr(route, "route_handlers", None) or [route.route_handler]:
            if not handler.fn.__module__.startswith("litestar."):
                found += [(method, route.path) for method in getattr(handler, "http_methods", None) or ["POST"]]
    return sorted({(method, path) for method, path in found if method not in {"OPTIONS", "HEAD"}})


def test_every_route_has_a_row_and_every_row_a_route():
    app = create_app(Settings(profile="development", storage="memory")).app
    assert set(table(app)) == set(ROWS)


def test_what_asks_a_login_for_its_key_again_is_as_written():
    app = create_app(Settings(profile="development", storage="memory")).app
    asks = {
        (method, route.path)
        for route in app.routes
        for handler in getattr(route, "route_handlers", None) or [route.route_handler]
        if handler.opt.get("confirm")
        for method in getattr(handler, "http_methods", None) or ["POST"]
        if method not in {"OPTIONS", "HEAD"}
    }
    assert asks == {place for place, row in ROWS.items() if row.confirm}
    assert len(asks) == 13


def test_a_new_route_without_a_row_fails():
    from litestar import get

    @get("/brand-new", opt={"permission": "infer"})
    async def new() -> None: ...

    plugins = load_plugins()
    plugins.manager.register(_plugin(new), name="new")
    app = create_app(Settings(profile="development", storage="memory"), plugins).app
    assert set(table(app)) - set(ROWS) == {("GET", "/brand-new")}


def _plugin(handler):
    from asahi_kernel.hookspecs import hookimpl

    class New:
        @hookimpl
        def register_routes(self, gateway):
            return [handler]

    return New()


class Place:
    """A gateway with all plugins, and callers of it."""

    def __init__(self, gateway, app):
        self.gateway = gateway
        peppers = peppers_of(KeysConfig(), gateway)
        self.issuer = Issuer(gateway.storage, peppers)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost", timeout=10)
        self.foreign = {}

    async def key(self, org, role="admin", scope="all", user=None):
        scopes = () if scope == "none" else (scope,)
        order = Order(org=org, user=user or f"{role}-{scope}", role=role, scopes=scopes)
        return (await self.issuer.create(order, Actor(org="default", user="test")))[1].text

    async def ask(self, key, method, path, body=None):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        sent = {"json": {} if body is None else body} if method in {"POST", "PATCH", "PUT"} else {}
        return await self.client.request(method, path, headers=headers, **sent)

    async def settle(self):
        """Objects of another tenant, of each kind that a path may name."""
        key = await self.key("globex", user="eve")
        answer = await self.ask(key, "POST", "/infer", {"prompt": HIDDEN})
        await self.gateway.journal.catch_up()
        rows = (await self.ask(key, "GET", "/cache/entries")).json()["entries"]
        login = await self.client.post("/auth/login", json={"api_key": key})
        self.client.cookies.clear()
        sessions = (await self.ask(key, "GET", "/auth/sessions")).json()["sessions"]
        assert login.status_code == 200, login.text
        assert sessions
        await self.ask(await self.key("default"), "POST", "/governance/tenants", {"org_id": "globex", "name": HIDDEN})
        budget = {"level": "user", "subject": "eve", "window": "day", "limit": 9}
        made = await self.ask(key, "POST", "/governance/budgets", budget)
        assert made.status_code == 201, made.text
        for path, body in (("policies", {"max_requests_per_day": 9}), ("compliance", {"frameworks": []})):
            saved = await self.ask(key, "POST", f"/governance/{path}/globex", body)
            assert saved.status_code == 200, saved.text
        alert(self.gateway, "globex", "cost", "cost", HIDDEN, alert_id="1" * 26)
        await self.gateway.drain(5)
        rule = await self.ask(key, "POST", "/alerts/rules", RULE | {"name": HIDDEN})
        assert rule.status_code == 201, rule.text
        erasure = await self.ask(key, "POST", "/governance/erasure", {"user_id": "nobody"})
        self.foreign = {
            "erasure": erasure.json()["erasure_id"],
            "budget": made.json()["budget_id"],
            "alert": "1" * 26,
            "rule": rule.json()["rule_id"],
            "request": answer.headers["x-asahi-request-id"],
            "entry": rows[0]["entry_id"],
            "key": key.split("_")[1],
            "session": sessions[0]["session_id"],
            "org": "globex",
        }
        return self


@pytest.fixture
async def place(monkeypatch):
    plugins = load_plugins()
    tree = {"storage": "memory", "auth": {"type": "keys", "failed_per_minute": 10_000}, "providers": {"mock": {}}}
    settings = decode({"profile": "production", **tree}, Settings, "test")
    gateway = Gateway(settings)
    app = create_app(settings, plugins, gateway)
    async with running(gateway, plugins):
        place = await Place(gateway, app).settle()
        yield place
        await place.client.aclose()


def filled(path, value):
    """The path with something in the place of its parameter."""
    if "{" not in path:
        return path
    head, _, rest = path.partition("{")
    return head + value + rest.partition("}")[2]


def opens(row, permissions):
    wanted = row.permission.split("|")
    return row.permission in {"public", "identified"} or bool(set(wanted) & permissions)


async def test_every_cell_of_the_matrix_is_as_written(place):
    """AU-1: routes, roles and scopes. The objects that are asked for do not exist: who is let in gets 404."""
    absent = {"key": "A" * 12, "session": "0" * 16, "org": "nobody", "entry": "none", "request": "0" * 26, None: "none"}
    absent |= dict.fromkeys(("budget", "alert", "erasure", "rule"), "0" * 26)
    wrong, count = [], 0
    for org, (role, scope) in itertools.product(("acme", "default"), CELLS):
        key = await place.key(org, role, scope)
        permissions = OF_ROLE[role] & OF_SCOPE[scope]
        for (method, path), row in ROWS.items():
            answer = await place.ask(key, method, filled(path, absent[row.foreign]) + row.query)
            count += 1
            if not opens(row, permissions):
                good = answer.status_code == 403 and answer.headers["content-type"].endswith("json")
            elif row.operator and org != "default":
                good = answer.status_code in ({403} if row.foreign is None else {404})
            else:
                good = answer.status_code not in {401, 403, 405, 500}
            if path == "/auth/login":
                good = answer.status_code == 400
            if not good:
                wrong.append((org, role, scope, method, path, answer.status_code, answer.text[:80]))
    assert wrong == []
    assert count == 2 * len(CELLS) * len(ROWS)


async def test_without_a_key_only_what_is_public_answers(place):
    for (method, path), row in ROWS.items():
        answer = await place.ask(None, method, filled(path, "none"))
        assert (answer.status_code == 401) == (row.permission != "public"), (method, path, answer.text)


async def test_another_tenants_objects_are_not_there(place):
    """AU-1: an admin of one org, with the ids of another: the same answer as for what never was, and no byte of it."""
    admin = await place.key("acme", "admin", "all")
    tried = 0
    for (method, path), row in ROWS.items():
        if row.foreign is None:
            continue
        tried += 1
        answer = await place.ask(admin, method, filled(path, place.foreign[row.foreign]))
        assert answer.status_code == 404, (method, path, answer.text)
        assert HIDDEN not in answer.text + repr(answer.headers)
    assert tried == sum(row.foreign is not None for row in ROWS.values()) >= 18
    for method, path in ROWS:
        if method == "GET":
            answer = await place.ask(admin, method, filled(path, place.foreign["request"]))
            assert HIDDEN not in answer.text, path
    eve = await place.key("globex", user="eve2")
    assert HIDDEN in (await place.ask(eve, "GET", "/governance/tenants/globex")).text, "or the test sees nothing"
    assert (await place.ask(eve, "GET", f"/governance/api-keys/{place.foreign['key']}")).json()["revoked"] is False


@pytest.mark.parametrize("path", INFERENCE)
async def test_a_body_never_widens_a_key(place, path):
    """AU-3, in the body and as a header."""
    key = await place.key("acme", "developer", "infer", user="ann")
    for field, value, code in (("organization_id", "globex", "org_mismatch"), ("user_id", "eve", "user_mismatch")):
        answer = await place.ask(key, "POST", path, {**INFERENCE[path], field: value})
        assert answer.status_code == 403, answer.text
        assert code in answer.text
        name = f"x-asahi-{field.replace('_', '-')}"
        answer = await place.client.post(path, json=INFERENCE[path], headers={"x-api-key": key, name: value})
        assert answer.status_code == 403, answer.text


async def test_everybody_is_never_an_admin():
    """AU-4: under `auth: open`, also with whatever key."""
    plugins, settings = load_plugins(), Settings(profile="development", storage="memory")
    gateway = Gateway(settings)
    app = create_app(settings, plugins, gateway)
    async with running(gateway, plugins):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for (method, path), row in ROWS.items():
                answer = await client.request(method, filled(path, "none"), headers={"x-api-key": "x" * 40})
                closed = not opens(row, OF_ROLE["developer"])
                assert (answer.status_code == 403) == closed, (method, path, answer.status_code)
            me = (await client.get("/auth/me")).json()
            assert (me["org_id"], me["user_id"], me["role"]) == ("default", "local", "developer")
            assert json.dumps(me)


async def test_no_change_without_its_entry(place, monkeypatch):
    """AD-3, C14: while the audit log cannot be written every change is refused and none is made; inference goes on."""
    from asahi_kernel.repositories.audit import Audit

    operator = await place.key("default", "admin", "all")
    made = (await place.ask(operator, "POST", "/governance/api-keys", {"user_id": "ann", "scopes": ["infer"]})).json()
    await place.ask(operator, "POST", "/infer", {"prompt": "kept"})
    entry = (await place.ask(operator, "GET", "/cache/entries")).json()["entries"][0]["entry_id"]
    rule = (await place.ask(operator, "POST", "/alerts/rules", RULE)).json()["rule_id"]
    login = (await place.client.post("/auth/login", json={"api_key": operator})).json()
    cookie = "; ".join(f"{name}={value}" for name, value in place.client.cookies.items())
    place.client.cookies.clear()
    seen = ("/governance/api-keys", "/governance/tenants", "/cache/entries", "/auth/sessions", "/governance/budgets")
    seen += ("/governance/policies/globex/history", "/alerts/rules")

    async def state():
        told = [(await place.ask(operator, "GET", path)).json() for path in seen]
        return json.dumps([{**each, "last": None} for each in told], sort_keys=True)

    before = await state()

    async def broken(self, entries):
        raise OSError("the audit log is away")

    append = Audit.append
    monkeypatch.setattr(Audit, "append", broken)
    changes = {
        ("POST", "/governance/api-keys"): {"user_id": "eve", "scopes": ["infer"]},
        ("DELETE", f"/governance/api-keys/{made['key_id']}"): None,
        ("POST", f"/governance/api-keys/{made['key_id']}/rotate"): {},
        ("POST", "/governance/tenants"): {"org_id": "new", "name": "New"},
        ("PATCH", "/governance/tenants/globex"): {"status": "suspended"},
        ("DELETE", "/governance/tenants/globex"): None,
        ("POST", "/governance/policies/globex"): {"max_requests_per_day": 1},
        ("DELETE", "/governance/policies/globex"): None,
        ("POST", "/governance/compliance/globex"): {"frameworks": ["soc2"]},
        ("POST", "/governance/budgets"): {"level": "user", "subject": "ann", "window": "day", "limit": 1},
        ("POST", "/alerts/rules"): RULE,
        ("PUT", f"/alerts/rules/{rule}"): RULE | {"threshold": 200},
        ("DELETE", f"/alerts/rules/{rule}"): None,
        ("DELETE", "/cache/clear"): None,
        ("DELETE", "/cache/expired"): None,
        ("DELETE", f"/cache/entries/{entry}"): None,
        ("GET", "/cache/export"): None,
        ("GET", "/governance/audit"): None,
        ("GET", "/governance/audit/export"): None,
        ("POST", "/auth/login"): {"api_key": operator},
    }
    for (method, path), body in changes.items():
        answer = await place.ask(operator, method, path, body)
        assert (answer.status_code, answer.json()["error"]) == (503, "storage_unavailable"), (method, path, answer.text)
    session = (await place.ask(operator, "GET", "/auth/sessions")).json()["sessions"][0]["session_id"]
    csrf = {"x-csrf-token": login["csrf"], "origin": "http://localhost", "cookie": cookie}
    for method, path in (
        ("POST", "/auth/confirm"),
        ("POST", "/auth/logout"),
        ("DELETE", f"/auth/sessions/{session}"),
    ):
        sent = {"json": {"api_key": operator}} if path == "/auth/confirm" else {}
        answer = await place.client.request(method, path, headers=csrf, **sent)
        assert answer.status_code == 503, (method, path, answer.text)
    answer = await place.ask(operator, "POST", "/infer", {"prompt": "still answered"})
    assert answer.status_code == 200
    monkeypatch.setattr(Audit, "append", append)
    for row in (await place.ask(operator, "GET", "/cache/entries")).json()["entries"]:
        if row["entry_id"] != entry and "still answered" in json.dumps(row):
            await place.ask(operator, "DELETE", f"/cache/entries/{row['entry_id']}")
    after = json.loads(await state())
    then = json.loads(before)
    assert len(changes) == 20
    assert [_settled(each) for each in after] == [_settled(each) for each in then]


def _settled(told):
    """A list without what every look changes; of cached answers which they are."""
    rows = next(value for value in told.values() if isinstance(value, list))
    if rows and "entry_id" in rows[0]:
        return [row["entry_id"] for row in rows if row["query"] != "still answered"]
    moving = {"last_used_at", "last_seen_at"}
    return [{name: value for name, value in row.items() if name not in moving} for row in rows]
