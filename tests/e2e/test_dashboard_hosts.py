"""The dashboard at other addresses: below a path of the gateway, on a host of static files, and as Vercel serves it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.browsing import BOOT, BUILT, NEEDED, Api, browsing, log_in, sync_api, watch
from tests.e2e.hosted import Host, hosted, pages, with_policies
from tests.e2e.served import gateway

pytestmark = NEEDED


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def host(folder: Path) -> Iterator[Host]:
    with hosted(folder) as found:
        yield found


@pytest.fixture(scope="module")
def api(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Its own pages are below /ui, and those of the host may call."""
    tree = {
        "auth": {"type": "keys"},
        "api": {"cors_origins": [host.url]},
        "providers": {"mock": {}},
        "services": {"dashboard": {"path": "/ui"}},
    }
    with gateway(tmp_path_factory.mktemp("hosts"), tree, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT) as served:
        yield Api(served.url)


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with browsing() as opened:
        yield opened


def work(browser: sync_api.Browser, api: Api, start: str) -> list[str]:
    """Log in at an address, change something, and go on to another page; what went wrong on the way."""
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    page = context.new_page()
    watch(page, api, wrong, start)
    log_in(page, BOOT, f"{start}/login/?next=/inference/")
    page.wait_for_url(f"{start}/inference/")
    page.get_by_label("Prompt", exact=True).fill(f"Where is {start}?")
    page.get_by_role("button", name="Run").click()
    sync_api.expect(page.get_by_text("Mock answer of").first).to_be_visible()
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Models").click()
    page.wait_for_url(f"{start}/models/")
    sync_api.expect(page.get_by_role("heading", name="mistral-7b")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{start}/login/")
    context.close()
    return wrong


def test_below_a_path_of_the_gateway(browser, api):
    assert work(browser, api, f"{api.url}/ui") == []


def test_on_static_files_with_the_gateway_at_another_origin(browser, api, host, folder):
    there = api.url.replace("127.0.0.1", "localhost")
    pages(BUILT.parent, folder, there)
    assert work(browser, Api(there), host.url) == []


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js on this machine")
def test_as_vercel_serves_it(browser, api, host, folder):
    """The headers and the rewrite of `dashboard/vercel.json`, and the policies that its build writes into the pages."""
    pages(BUILT.parent, folder, "/api")
    with_policies(folder)
    host.gateway = api.url
    assert work(browser, Api(host.url), host.url) == []
