"""Logins of the dashboard, CORS and proxies, against a served gateway behind a trusted proxy."""

import random
import re

import pytest
from tests.e2e.served import gateway
from tests.plugins.access.proxied import Browser
from tests.plugins.access.test_http import BOOT, Client

DASHBOARD = "https://dashboard.example"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logins")
    tree = {
        "auth": {"type": "keys", "identity_ttl_s": 30},
        "api": {
            "allowed_hosts": ["gateway.example"],
            "trusted_proxies": ["127.0.0.1", "10.0.0.0/8"],
            "cors_origins": [DASHBOARD, "http://localhost:3000"],
        },
    }
    with gateway(folder, tree, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT) as served:
        yield served.url


@pytest.fixture(scope="module")
def call(url):
    return Client(url)


@pytest.fixture
def browser(url):
    return Browser(url)


def made(call, **fields):
    return call.made(BOOT, **{"scopes": ["all"], **fields})


class TestLogin:
    def test_a_login_is_a_cookie_that_scripts_cannot_read_and_no_key(self, call, browser):
        key = made(call, role="admin")
        status, headers, told = browser.log_in(key["api_key"])
        assert status == 200, told
        assert (told["org_id"], told["user_id"], told["role"]) == ("default", "ann", "admin")
        assert set(told) == {"org_id", "user_id", "role", "permissions", "expires_at", "csrf"}
        cookie = headers["set-cookie"]
        assert re.fullmatch(
            r"__Host-asahi_session=[\w-]{43}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure", cookie
        )
        assert headers["cache-control"] == "no-store"
        assert browser("GET", "/auth/me")[2] == told
        assert key["api_key"] not in str(browser("GET", "/governance/api-keys?limit=500")[2])
        before = len(call(BOOT, "GET", "/governance/api-keys?limit=500")[1]["keys"])
        browser.log_in(key["api_key"])
        assert len(call(BOOT, "GET", "/governance/api-keys?limit=500")[1]["keys"]) == before

    def test_on_plain_loopback_it_is_another_cookie_and_elsewhere_none(self, call, url):
        key = made(call)["api_key"]
        local = Browser(url, https=False, host="localhost:8000")
        status, headers, _ = local.log_in(key)
        assert status == 200
        assert headers["set-cookie"].startswith("asahi_session=")
        assert "Secure" not in headers["set-cookie"]
        assert local("GET", "/auth/me")[0] == 200
        open_line = Browser(url, https=False)
        status, headers, told = open_line.log_in(key)
        assert (status, told["error"], "set-cookie" in headers) == (403, "https_required", False)
        open_line.cookies = dict(local.cookies)
        assert open_line("GET", "/auth/me")[0] == 401
        planted = Browser(url)
        planted.cookies = dict(local.cookies)
        assert planted("GET", "/auth/me")[0] == 401, "a name that another host could set does not count over https"

    def test_a_call_that_changes_something_needs_token_and_origin(self, call, browser):
        browser.log_in(made(call, role="admin")["api_key"])
        body = {"user_id": "bob", "scopes": ["infer"]}
        path = "/governance/api-keys"
        assert browser.change("POST", path, body)[0] == 201
        assert browser.change("POST", path, body, origin=None, sec_fetch_site="same-origin")[0] == 201
        assert browser.change("POST", path, body, origin=DASHBOARD)[0] == 201
        for wrong in (
            {"x_csrf_token": None},
            {"x_csrf_token": ""},
            {"x_csrf_token": browser.csrf[:-1]},
            {"x_csrf_token": "ü" * 8},
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": None},
            {"origin": "http://gateway.example"},
            {"origin": "https://gateway.example.evil.example"},
            {"origin": None, "sec_fetch_site": "cross-site"},
            {"origin": None, "sec_fetch_site": "same-site"},
        ):
            status, _, told = browser.change("POST", path, body, **wrong)
            assert (status, told["error"]) == (403, "permission_denied"), wrong
        other = Browser(browser.netloc and f"http://{browser.netloc}")
        other.log_in(made(call, role="admin")["api_key"])
        assert browser.change("POST", path, body, x_csrf_token=other.csrf)[0] == 403
        assert browser("GET", path)[0] == 200

    def test_the_playground_asks_for_inference_by_cookie(self, call, browser):
        browser.log_in(made(call)["api_key"])
        for path in ("/infer", "/v1/chat/completions"):
            body = (
                {"prompt": "hi"}
                if path == "/infer"
                else {"model": "mock", "messages": [{"role": "user", "content": "x"}]}
            )
            status, _, told = browser.change("POST", path, body)
            assert status in {200, 404}, told
            assert browser("POST", path, body)[0] == 403
        assert browser.change("POST", "/infer", {"prompt": "hi"})[0] == 200

    def test_another_sites_page_cannot_log_anybody_in(self, call, browser):
        key = made(call)["api_key"]
        for wrong in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": None, "sec_fetch_site": "cross-site"},
            {"origin": None, "sec_fetch_site": "same-site"},
        ):
            status, headers, _ = browser.log_in(key, **wrong)
            assert (status, "set-cookie" in headers) == (403, False), wrong
        for good in ({"origin": None}, {"origin": DASHBOARD}, {"origin": None, "sec_fetch_site": "same-origin"}):
            assert browser.log_in(key, **good)[0] == 200
        form = "application/x-www-form-urlencoded"
        assert browser("POST", "/auth/login", b"api_key=x", content_type=form, origin=browser.origin)[0] == 415

    def test_every_wrong_login_says_the_same(self, call, browser):
        key = made(call)
        call(BOOT, "DELETE", f"/governance/api-keys/{key['key_id']}")
        told = set()
        for text in (key["api_key"], key["api_key"][:-1] + "x", "ask_x", "", "ä", "x y", "A" * 512):
            browser.address = f"198.51.100.{random.randrange(20, 250)}"
            status, _, answer = browser.log_in(text)
            told.add((status, answer["error"], answer["message"]))
        assert len(told) == 1
        assert told.pop()[0] == 401
        for body in (b"{", b"\xff", b'{"api_key": 5}', b'{"api_key": "x", "more": 1}', b"[]", b"[" * 5_000):
            status, _, answer = browser("POST", "/auth/login", body, origin=browser.origin)
            assert (status, answer["error"]) == (400, "invalid_request")

    def test_logging_out_ends_it_on_the_server(self, call, browser):
        browser.log_in(made(call)["api_key"])
        kept = dict(browser.cookies)
        status, headers, told = browser.change("POST", "/auth/logout")
        assert (status, told) == (200, {"ended": 1})
        assert "Max-Age=0" in headers["set-cookie"]
        browser.cookies = kept
        assert browser("GET", "/auth/me")[0] == 401

    def test_revoking_the_key_ends_its_logins_at_once(self, call, browser):
        key = made(call)
        browser.log_in(key["api_key"])
        assert browser("GET", "/auth/me")[0] == 200
        call(BOOT, "DELETE", f"/governance/api-keys/{key['key_id']}")
        assert browser("GET", "/auth/me")[0] == 401

    def test_one_sees_and_ends_ones_own_logins_only(self, call, url):
        key, eve = made(call, user_id="ann2")["api_key"], made(call, user_id="eve2")["api_key"]
        one, two, other = Browser(url), Browser(url), Browser(url)
        for each, its in ((one, key), (two, key), (other, eve)):
            each.log_in(its)
        rows = one("GET", "/auth/sessions")[2]["sessions"]
        assert sorted(row["current"] for row in rows) == [False, True]
        assert not any(cookie in str(rows) for cookie in one.cookies.values())
        theirs = other("GET", "/auth/sessions")[2]["sessions"][0]["session_id"]
        assert one.change("DELETE", f"/auth/sessions/{theirs}")[0] == 404
        assert one.change("DELETE", "/auth/sessions/x")[0] == 400
        second = next(row["session_id"] for row in rows if not row["current"])
        assert one.change("DELETE", f"/auth/sessions/{second}")[0] == 204
        assert two("GET", "/auth/me")[0] == 401
        two.log_in(key)
        assert one.change("DELETE", "/auth/sessions")[2] == {"ended": 1}
        assert (one("GET", "/auth/me")[0], two("GET", "/auth/me")[0], other("GET", "/auth/me")[0]) == (200, 401, 200)

    def test_a_key_beside_a_cookie_wins_and_needs_no_token(self, call, browser):
        browser.log_in(made(call, user_id="ann3")["api_key"])
        other = made(call, user_id="bob3")["api_key"]
        assert browser("GET", "/auth/me", authorization=f"Bearer {other}")[2]["user_id"] == "bob3"
        assert browser("POST", "/infer", {"prompt": "x"}, authorization=f"Bearer {other}")[0] == 200
        assert browser("GET", "/auth/me", authorization="Bearer garbage")[0] == 401

    def test_login_and_logout_are_in_the_log_with_the_clients_address(self, call, browser):
        boss = made(call, org_id="logged", role="admin")["api_key"]
        browser.address = "203.0.113.77"
        browser.log_in(boss)
        browser.change("POST", "/auth/logout")
        entries = call(boss, "GET", "/governance/audit?limit=10")[1]["entries"]
        found = [(each["action"], each["ip_address"]) for each in entries if each["action"] in {"login", "logout"}]
        assert found == [("logout", "203.0.113.77"), ("login", "203.0.113.77")]
        assert not any(cookie and cookie in str(entries) for cookie in browser.cookies.values())

    def test_the_first_admin_logs_in_too(self, browser):
        assert browser.log_in(BOOT)[0] == 200
        assert browser("GET", "/governance/tenants")[0] == 200

    def test_how_to_log_in_is_told(self, browser):
        assert browser("GET", "/auth/providers")[2] == {"providers": [{"type": "api_key", "name": "API key"}]}


GOOD = (DASHBOARD, "http://localhost:3000")
#: C15: thirty origins, of which two are named in the configuration.
ORIGINS = (
    *GOOD,
    "null",
    "",
    "https://dashboard.example.evil.example",
    "https://evil-dashboard.example",
    "https://evildashboard.example",
    "https://dashboard-example",
    "https://dashboardXexample",
    "http://dashboard.example",
    "https://dashboard.example:443",
    "https://dashboard.example:8443",
    "https://dashboard.example/",
    "https://dashboard.example/path",
    "https://sub.dashboard.example",
    "https://DASHBOARD.example",
    "https://dashboard.example.",
    "https://user@dashboard.example",
    "https://evil.example#https://dashboard.example",
    "https://evil.example?https://dashboard.example",
    "https://dashboard.example https://evil.example",
    "https://dashboard.example, https://evil.example",
    "https://dashboard.example%00.evil.example",
    "//dashboard.example",
    "dashboard.example",
    "*",
    "file://",
    "http://localhost",
    "http://localhost:3001",
    "http://127.0.0.1:3000",
)


class TestCors:
    @pytest.mark.parametrize("origin", ORIGINS)
    def test_only_named_origins_may_read(self, browser, origin):
        """C15."""
        assert len(ORIGINS) == len(set(ORIGINS)) == 30
        for path in ("/health", "/infer", "/auth/me", "/nowhere"):
            _, headers, _ = browser("GET", path, origin=origin)
            granted = {name: value for name, value in headers.items() if name.startswith("access-control-")}
            if origin in GOOD:
                assert granted["access-control-allow-origin"] == origin
                assert granted["access-control-allow-credentials"] == "true"
            else:
                assert granted == {}
            assert headers["vary"] == "Origin"
        status, headers, _ = browser(
            "OPTIONS",
            "/infer",
            origin=origin,
            access_control_request_method="POST",
            access_control_request_headers="content-type, X-CSRF-Token, bad header, x-asahi-cost-budget",
        )
        if origin in GOOD:
            assert (status, headers["access-control-allow-origin"]) == (204, origin)
            assert headers["access-control-allow-headers"] == "content-type, x-csrf-token, x-asahi-cost-budget"
            assert "POST" in headers["access-control-allow-methods"]
        else:
            assert status == 403
            assert not any(name.startswith("access-control-") for name in headers)

    def test_every_answer_has_the_headers_of_a_browsers_caution(self, browser):
        for path in ("/health", "/infer", "/nowhere", "/auth/me", "/docs", "/%ff"):
            _, headers, _ = browser("GET", path)
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["referrer-policy"] == "no-referrer", path
            assert "strict-transport-security" not in headers


class TestProxy:
    def test_what_comes_before_the_proxys_own_word_is_not_believed(self, url):
        """AU-9, C9: 1,000 forged addresses in front of the real one: the limit holds."""
        dice = random.Random(9)
        seen = []
        for number in range(1_000):
            chain = ", ".join(f"{dice.randrange(1, 250)}.9.8.7" for _ in range(dice.randrange(1, 4)))
            browser = Browser(url, address=f"{chain}, 192.0.2.200, 10.1.2.3")
            more = (
                {"x_real_ip": "192.0.2.1"}
                if number % 2
                else {"forwarded": "for=192.0.2.2", "x_forwarded_host": "a.example"}
            )
            seen.append(browser("GET", "/models", authorization="Bearer garbage", **more)[0])
        assert seen == [401] * 10 + [429] * 990
        assert Browser(url, address="192.0.2.201")("GET", "/models", authorization="Bearer garbage")[0] == 401
        assert Browser(url, address="192.0.2.200")("GET", "/models", authorization=f"Bearer {BOOT}")[0] == 200
