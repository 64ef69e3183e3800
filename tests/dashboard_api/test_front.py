"""The front: pages and endpoints at the same addresses, told apart; a small export stands in for the built one."""

import base64
import hashlib
import re
from contextlib import asynccontextmanager

import httpx
import pytest

from asahi_dashboard_api import opening
from asahi_dashboard_api.accepting import packs, prefers_html
from asahi_dashboard_api.config import DashboardConfig
from asahi_dashboard_api.export import read
from asahi_kernel.app import create_app
from asahi_kernel.config import decode
from asahi_kernel.errors import ConfigError
from asahi_kernel.factory import Factory
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.plugins import load_plugins
from asahi_kernel.settings import Settings
from asahi_kernel.testing import ServiceContract

pytestmark = pytest.mark.anyio

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
INLINE = "self.__next_f.push('/__asahi_base__/_next/a.js')"
#: Paths that are both a page and an endpoint.
SHARED = ("/models", "/analytics/trends", "/analytics/forecast", "/governance/audit", "/settings")


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def built(tmp_path, monkeypatch):
    """An export with every kind of file, in the place of the package's own."""
    page = '<!doctype html><script src="/__asahi_base__/_next/static/a.js"></script><script>{}</script><p>{}</p>'
    folder = tmp_path / "_ui"
    for name in ("", "login/", "models/", "analytics/trends/", "analytics/forecast/", "governance/audit/", "settings/"):
        write(folder, f"{name}index.html", page.format(INLINE, name or "home"))
    write(folder, "404.html", page.format(INLINE, "nothing here"))
    write(folder, "_next/static/a.js", 'const base="/__asahi_base__",api="/__asahi_api__";' + "//x" * 400)
    write(folder, "models/__next._tree.txt", '0:{"at":"/__asahi_base__/models/"}')
    write(folder, "icon.svg", "<svg/>")
    monkeypatch.setattr(opening, "built", lambda: folder)
    return folder


@asynccontextmanager
async def served(**table):
    settings = Settings(profile="development", storage="memory", services={"dashboard": table})
    gateway, plugins = Gateway(settings), load_plugins()
    app = create_app(settings, plugins, gateway)
    async with (
        running(gateway, plugins),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        yield client


class TestDashboard(ServiceContract):
    factory = Factory("dashboard", DashboardConfig, opening.open_dashboard)


class TestPagesAndEndpoints:
    @pytest.mark.parametrize("path", SHARED)
    async def test_a_shared_path_is_a_page_with_a_slash_and_an_endpoint_without(self, built, path):
        async with served() as client:
            page = await client.get(f"{path}/", headers={"accept": "*/*"})
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            for accept in ("*/*", "application/json", "application/json, text/html;q=0.9"):
                data = await client.get(path, headers={"accept": accept})
                assert "json" in data.headers["content-type"], (accept, data.status_code)
                assert "Accept" in data.headers.get_list("vary", split_commas=True)

    @pytest.mark.parametrize("path", SHARED)
    async def test_a_browser_is_sent_to_the_page(self, built, path):
        async with served() as client:
            for method in ("GET", "HEAD"):
                sent = await client.request(method, f"{path}?range=7d&x=%2F", headers=BROWSER)
                assert (sent.status_code, sent.headers["location"]) == (308, f"{path}/?range=7d&x=%2F")
                assert sent.headers["vary"] == "Accept"

    async def test_another_method_is_the_endpoints(self, built):
        async with served() as client:
            assert (await client.post("/models/", headers=BROWSER)).status_code == 405
            assert (await client.post("/infer", json={"prompt": "hi"}, headers=BROWSER)).status_code == 200

    async def test_what_is_neither_is_told_in_the_clients_language(self, built):
        async with served() as client:
            for path in ("/nowhere", "/nowhere/", "/governance/nowhere"):
                page = await client.get(path, headers=BROWSER)
                assert (page.status_code, "nothing here" in page.text) == (404, True)
                data = await client.get(path)
                assert (data.status_code, data.json()["error"]) == (404, "not_found")

    async def test_endpoints_without_a_page_are_left_alone(self, built):
        async with served() as client:
            for path in ("/health", "/docs", "/openapi.json", "/metrics"):
                answer = await client.get(path, headers=BROWSER)
                assert answer.status_code == 200
                assert "home" not in answer.text

    async def test_a_path_cannot_leave_the_export(self, built):
        (built.parent / "secret.txt").write_text("secret")
        async with served() as client:
            for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/models/../../secret.txt", "//secret.txt"):
                assert (await client.get(path)).text != "secret"


class TestDelivery:
    async def test_head_says_what_get_does_without_a_body(self, built):
        async with served() as client:
            got, head = await client.get("/models/"), await client.head("/models/")
            assert head.content == b""
            assert {**head.headers, "date": ""} == {**got.headers, "date": ""}

    async def test_what_is_known_is_not_sent_again(self, built):
        async with served() as client:
            for encoding in ("identity", "gzip"):
                headers = {"accept-encoding": encoding}
                first = await client.get("/_next/static/a.js", headers=headers)
                again = await client.get(
                    "/_next/static/a.js", headers={**headers, "if-none-match": f'"x", {first.headers["etag"]}'}
                )
                assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
                other = await client.get("/_next/static/a.js", headers={**headers, "if-none-match": '"another"'})
                assert other.status_code == 200

    async def test_assets_live_for_ever_and_pages_are_asked_for_again(self, built):
        async with served() as client:
            asset = await client.get("/_next/static/a.js")
            assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
            for path in ("/", "/models/__next._tree.txt"):
                assert (await client.get(path)).headers["cache-control"] == "no-cache"

    async def test_what_pays_is_packed_for_who_takes_it(self, built):
        async with served() as client:
            plain = await client.get("/_next/static/a.js", headers={"accept-encoding": "identity"})
            packed = await client.get("/_next/static/a.js", headers={"accept-encoding": "br, gzip"})
            assert "content-encoding" not in plain.headers
            assert packed.headers["content-encoding"] == "gzip"
            assert int(packed.headers["content-length"]) < len(plain.content) / 2
            assert packed.content == plain.content
            assert plain.headers["etag"] != packed.headers["etag"]
            small = await client.get("/icon.svg", headers={"accept-encoding": "gzip"})
            assert "content-encoding" not in small.headers

    async def test_the_policy_names_the_scripts_of_the_page_as_it_is_sent(self, built):
        async with served(path="/ui") as client:
            page = await client.get("/ui/models/")
            (body,) = re.findall(r"<script>(.*?)</script>", page.text)
            assert body == INLINE.replace("/__asahi_base__", "/ui")
            digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
            policy = page.headers["content-security-policy"]
            (scripts,) = [part for part in policy.split("; ") if part.startswith("script-src")]
            assert scripts == f"script-src 'self' 'sha256-{digest}'"
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert page.headers["x-frame-options"] == "DENY"
            assert page.headers["cross-origin-opener-policy"] == "same-origin"


class TestAddresses:
    @pytest.mark.parametrize(
        ("table", "base", "links", "api"),
        [
            ({}, "", "", ""),
            ({"path": "/ui"}, "/ui", "/ui", ""),
            ({"path": "/ui/", "root_path": "/llm"}, "/ui", "/llm/ui", "/llm"),
        ],
    )
    async def test_one_build_serves_at_any_address(self, built, table, base, links, api):
        async with served(**table) as client:
            script = (await client.get(f"{base}/_next/static/a.js")).text
            assert script.startswith(f'const base="{links}",api="{api}";')
            assert f'src="{links}/_next/static/a.js"' in (await client.get(f"{base}/")).text
            sent = await client.get(f"{base}/login", headers=BROWSER)
            assert sent.headers["location"] == f"{links}/login/"

    async def test_elsewhere_the_endpoints_have_their_paths_alone(self, built):
        async with served(path="/ui") as client:
            assert (await client.get("/models", headers=BROWSER)).json()["count"]
            assert (await client.get("/uix", headers=BROWSER)).json()["error"] == "not_found"
            assert (await client.get("/ui", headers=BROWSER)).headers["location"] == "/ui/"

    @pytest.mark.parametrize("path", ["ui", "/a b", "/ü", "//evil.example", "/a?b", '/"'])
    async def test_what_is_no_path_stops_the_start(self, path):
        with pytest.raises(ConfigError):
            decode({"path": path}, DashboardConfig, "services.dashboard")

    def test_a_row_of_stated_length_is_not_broken(self, built):
        write(built, "models/long.txt", "1:T20,/__asahi_base__/models/ and more of it\n")
        with pytest.raises(ValueError, match="stated length"):
            read(built, "/ui", "")


class TestWithoutABuild:
    async def test_the_api_runs_and_says_how_to_get_the_pages(self, tmp_path, monkeypatch):
        monkeypatch.setattr(opening, "built", lambda: tmp_path / "none")
        async with served() as client:
            page = await client.get("/", headers=BROWSER)
            assert (page.status_code, "make dashboard" in page.text) == (200, True)
            assert "default-src 'none'" in page.headers["content-security-policy"]
            told = (await client.get("/health")).json()["warnings"]
            assert any("make dashboard" in each for each in told)
            assert (await client.post("/infer", json={"prompt": "hi"})).status_code == 200
            assert (await client.get("/models", headers=BROWSER)).json()["count"]

    async def test_turned_off_there_is_nothing(self, built):
        async with served(enabled=False) as client:
            assert (await client.get("/", headers=BROWSER)).json()["error"] == "not_found"
            assert not any("dashboard" in each for each in (await client.get("/health")).json()["warnings"])


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (b"", False),
        (b"*/*", False),
        (b"text/html", True),
        (b"text/html, application/json", False),
        (b"text/html;q=0.5, application/json;q=0.9", False),
        (b"application/json;q=0.1, text/html;q=0.2", True),
        (b"text/html;q=0", False),
        (b"text/html;q=x", False),
        (BROWSER["accept"].encode(), True),
    ],
)
def test_html_is_preferred_only_when_it_is_named(accept, html):
    assert prefers_html(accept) is html


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        (b"", False),
        (b"gzip", True),
        (b"br", False),
        (b"*", True),
        (b"gzip;q=0, *", False),
        (b"deflate, gzip;q=0.5", True),
    ],
)
def test_packing_follows_the_header(header, takes):
    assert packs(header) is takes
