"""A browser, and how it comes into the dashboard: what the tests of it and the pictures of it share."""

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "dashboard_api/src/asahi_dashboard_api/_ui/index.html"
AXE = ROOT / "dashboard/node_modules/axe-core/axe.min.js"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = os.environ.get("ASAHI_TEST_BROWSER") or next((found for name in NAMES if (found := shutil.which(name))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
BOOT = "kJ8mQ2vX5zR1nT7wY4bC6dF9gH3pL0sA"
BEHIND = (
    "dashboard",
    "inference",
    "cache",
    "models",
    "alerts",
    "analytics",
    "analytics/cost",
    "analytics/trends",
    "analytics/forecast",
    "governance/audit",
    "governance/keys",
    "governance/policies",
    "settings",
)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: Where there is no profile the gateway says 404, which is an answer here.
EXPECTED = "/governance/compliance/"

NEEDED = [
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine"),
    pytest.mark.skipif(not BUILT.exists(), reason="the pages are not built: make dashboard"),
]


@contextmanager
def browsing() -> Iterator[sync_api.Browser]:
    """A browser of this machine."""
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS.split())
        yield opened
        opened.close()


class Api:
    """The gateway, asked by key and not by browser."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, method: str, path: str, body: dict | None = None) -> dict:
        headers = {"authorization": f"Bearer {BOOT}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers, method=method)) as answer:
            return json.loads(answer.read() or b"{}")


@contextmanager
def visit(browser: sync_api.Browser, api: Api, key: str = BOOT) -> Iterator[sync_api.Page]:
    """A page after the login."""
    context = browser.new_context(base_url=api.url, viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    page = context.new_page()
    log_in(page, key)
    page.wait_for_url("**/dashboard/**")
    yield page
    context.close()


def log_in(page: sync_api.Page, key: str, path: str = "/login/") -> None:
    page.goto(path)
    page.get_by_label("API key", exact=True).fill(key)
    page.get_by_role("button", name="Log in").click()


def fits(page: sync_api.Page) -> bool:
    """Whether nothing is wider than the window, once charts have found their size."""
    for _ in range(30):
        if page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            return True
        page.wait_for_timeout(100)
    return False


def watch(page: sync_api.Page, api: Api, wrong: list[str], host: str = "") -> None:
    """Write down what a page may not do; its own host may be another than the API's."""

    def asked(request: sync_api.Request) -> None:
        if not request.url.startswith((api.url, host or api.url, "data:", "blob:")):
            wrong.append(f"another host was asked: {request.url}")

    def answered(answer: sync_api.Response) -> None:
        if answer.status >= 400 and EXPECTED not in answer.url and not answer.url.endswith("/nowhere/"):
            wrong.append(f"{answer.status} {answer.url}")

    def said(message: sync_api.ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            wrong.append(f"{page.url}: {message.text}")

    page.on("request", asked)
    page.on("response", answered)
    page.on("console", said)
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
