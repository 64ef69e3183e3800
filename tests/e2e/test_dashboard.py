"""The dashboard in a browser, against a served gateway: what a person does, and whether everybody could."""

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.served import gateway

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

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine"),
    pytest.mark.skipif(not BUILT.exists(), reason="the pages are not built: make dashboard"),
]


class Api:
    """The gateway, asked by key and not by browser."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, method: str, path: str, body: dict | None = None) -> dict:
        headers = {"authorization": f"Bearer {BOOT}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers, method=method)) as answer:
            return json.loads(answer.read() or b"{}")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    tree = {"auth": {"type": "keys", "failed_per_minute": 1_000}, "providers": {"mock": {}}}
    with gateway(tmp_path_factory.mktemp("dashboard"), tree, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT) as served:
        found = Api(served.url)
        for number in range(12):
            found("POST", "/infer", {"prompt": f"What is number {number % 8}?", "routing_mode": "autopilot"})
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS.split())
        yield opened
        opened.close()


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


@pytest.fixture(scope="module")
def admin(browser: sync_api.Browser, api: Api) -> Iterator[sync_api.Page]:
    with visit(browser, api) as page:
        yield page


class TestLogin:
    def test_a_wrong_key_is_told_and_a_stranger_is_sent_here(self, browser, api):
        context = browser.new_context(base_url=api.url)
        page = context.new_page()
        page.goto("/models/")
        page.wait_for_url("**/login/?next=*")
        log_in(page, "ask_wrong", page.url)
        sync_api.expect(page.get_by_role("alert").filter(has_text="not known here")).to_be_visible()
        log_in(page, BOOT, page.url)
        page.wait_for_url("**/models/")
        sync_api.expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
        cookies = context.cookies()
        assert [(each["httpOnly"], each["sameSite"]) for each in cookies] == [(True, "Strict")]
        assert page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})").find(BOOT) == -1
        context.close()

    def test_it_never_leads_to_another_site(self, browser, api):
        for evil in ("//evil.example", "/\\evil.example", "https://evil.example"):
            context = browser.new_context(base_url=api.url)
            page = context.new_page()
            log_in(page, BOOT, f"/login/?next={evil}")
            page.wait_for_url(f"{api.url}/dashboard/")
            context.close()


class TestWork:
    def test_the_second_answer_comes_from_the_cache_and_says_why(self, admin):
        admin.goto("/inference/")
        admin.get_by_label("Prompt", exact=True).fill("Why is the sky blue over the harbour?")
        run = admin.get_by_role("button", name="Run")
        run.click()
        sync_api.expect(admin.get_by_text("Mock answer of").first).to_be_visible()
        sync_api.expect(admin.get_by_role("button", name="Why this answer")).to_have_count(1)
        run.click()
        sync_api.expect(admin.get_by_text("hit, tier 1")).to_be_visible()
        admin.get_by_role("button", name="Why this answer").first.click()
        drawer = admin.get_by_role("dialog", name="Why this answer")
        sync_api.expect(drawer.get_by_text("Tier 1: hit")).to_be_visible()
        admin.keyboard.press("Escape")
        sync_api.expect(drawer).to_be_hidden()

    def test_a_key_is_shown_once_and_revoked_by_its_name(self, admin, api):
        admin.goto("/governance/keys/")
        admin.get_by_role("button", name="Create key").click()
        form = admin.get_by_role("dialog", name="Create a key")
        form.get_by_label("Name").fill("ci-prod")
        form.get_by_label("User").fill("ci")
        form.get_by_role("button", name="Create", exact=True).click()
        shown = admin.get_by_role("dialog", name="Your new key")
        secret = shown.get_by_label("Key", exact=True).input_value()
        assert secret.startswith("ask_")
        sync_api.expect(shown.get_by_role("button", name="Close").last).to_be_disabled()
        shown.get_by_label("I have stored it").check()
        shown.get_by_role("button", name="Close").last.click()
        sync_api.expect(admin.get_by_role("cell", name="ci-prod", exact=True)).to_be_visible()
        assert secret not in admin.content()
        admin.get_by_role("button", name="Revoke ci-prod").click()
        confirm = admin.get_by_role("dialog", name="Revoke ci-prod")
        sync_api.expect(confirm.get_by_role("button", name="Revoke")).to_be_disabled()
        confirm.get_by_label("Type ci-prod").fill("ci-prod")
        confirm.get_by_role("button", name="Revoke").click()
        sync_api.expect(admin.get_by_text("Revoked", exact=True)).to_be_visible()
        sync_api.expect(confirm).to_be_hidden()
        sync_api.expect(admin.get_by_role("cell", name="ci-prod", exact=True)).to_be_hidden()
        (row,) = [each for each in api("GET", "/governance/api-keys?include_revoked=true")["keys"] if each["name"]]
        assert (row["name"], row["revoked"]) == ("ci-prod", True)

    def test_a_policy_that_somebody_saved_meanwhile_is_not_overwritten(self, admin, api):
        admin.goto("/governance/policies/")
        admin.get_by_label("Dollars a day").fill("5")
        api("POST", "/governance/policies/default", {"max_cost_per_day": 7.0})
        admin.get_by_role("button", name="Review").click()
        review = admin.get_by_role("dialog", name="Review the changes")
        sync_api.expect(review.get_by_text("requests refused")).to_be_visible()
        review.get_by_role("button", name="Save policy").click()
        conflict = admin.get_by_role("dialog", name="Somebody saved meanwhile")
        sync_api.expect(conflict.get_by_role("cell", name="7", exact=True)).to_be_visible()
        assert api("GET", "/governance/policies/default")["max_cost_per_day"] == 7.0
        conflict.get_by_role("button", name="Keep mine").click()
        review.get_by_role("button", name="Save policy").click()
        sync_api.expect(admin.get_by_text("Saved as version 2")).to_be_visible()
        sync_api.expect(admin.get_by_text("Version 2, saved")).to_be_visible()
        sync_api.expect(admin.get_by_text("Nothing changed")).to_be_visible()
        sync_api.expect(admin.get_by_label("Dollars a day")).to_have_value("5")
        assert api("GET", "/governance/policies/default")["max_cost_per_day"] == 5.0

    def test_settings_are_kept_and_sent_as_changed(self, admin, api):
        admin.goto("/settings/?tab=cache")
        hours = admin.get_by_label("Exact entries live for, hours")
        sync_api.expect(hours).to_have_value("24")
        hours.fill("48")
        sync_api.expect(admin.get_by_text("1 change not saved")).to_be_visible()
        admin.get_by_role("button", name="Save").click()
        sync_api.expect(admin.get_by_text("Version 1, saved")).to_be_visible()
        sync_api.expect(hours).to_have_value("48")
        assert api("GET", "/settings")["cache"]["t1_ttl_hours"] == 48

    def test_another_range_or_filter_begins_at_the_first_page(self, admin, api):
        for _ in range(55):
            api("GET", "/governance/audit")
        admin.goto("/governance/audit/")
        pages, rows = admin.get_by_role("navigation", name="Pages"), admin.get_by_role("row")
        for act in (
            lambda: admin.get_by_label("Range", exact=True).select_option("24h"),
            lambda: admin.get_by_label("Result").select_option("success"),
        ):
            sync_api.expect(pages).to_contain_text("Page 1")
            sync_api.expect(rows).to_have_count(51)
            pages.get_by_role("button", name="Older").click()
            sync_api.expect(pages).to_contain_text("Page 2")
            sync_api.expect(rows).not_to_have_count(51)
            act()
            sync_api.expect(pages).to_contain_text("Page 1")

    def test_a_viewer_sees_no_money_and_changes_nothing(self, browser, api):
        made = api("POST", "/governance/api-keys", {"user_id": "vic", "role": "viewer", "scopes": ["all"]})
        with visit(browser, api, made["api_key"]) as page:
            main = page.get_by_role("navigation", name="Main")
            sync_api.expect(main.get_by_role("link", name="Dashboard")).to_be_visible()
            for hidden in ("Inference", "Cost", "Forecast", "Audit log", "API keys"):
                sync_api.expect(main.get_by_role("link", name=hidden)).to_have_count(0)
            sync_api.expect(page.get_by_role("heading", name="Cost with and without Asahi")).to_have_count(0)
            page.goto("/governance/policies/")
            sync_api.expect(page.get_by_label("Dollars a day")).to_be_disabled()
            sync_api.expect(page.get_by_role("button", name="Review")).to_have_count(0)
            page.goto("/governance/audit/")
            sync_api.expect(page.get_by_text("Your key does not open this").first).to_be_visible()
            page.goto("/governance/keys/")
            sync_api.expect(page.get_by_text("Your key does not open this")).to_be_visible()
            sync_api.expect(page.get_by_role("button", name="Create key")).to_have_count(0)


@pytest.mark.parametrize(
    ("path", "most"), [("/", 160), ("/login/", 170), ("/governance/keys/", 200), ("/dashboard/", 340)]
)
def test_a_phone_loads_no_more_script_than_its_page_needs(browser, api, admin, path, most):
    """In KB, packed; the sidebar, which loads pages ahead, is closed on a phone."""
    state = admin.context.storage_state()
    context = browser.new_context(base_url=api.url, viewport={"width": 360, "height": 800}, storage_state=state)
    page, sizes = context.new_page(), {}
    page.on("response", lambda answer: sizes.update({answer.url: int(answer.headers.get("content-length", 0))}))
    page.goto(path)
    page.wait_for_load_state("networkidle")
    scripts = sum(size for url, size in sizes.items() if url.endswith(".js"))
    styles = sum(size for url, size in sizes.items() if url.endswith(".css"))
    context.close()
    assert 50 < scripts / 1024 <= most
    assert 0 < styles / 1024 <= 15


class TestEverybody:
    def test_pages_have_no_barrier_no_error_and_ask_nobody_else(self, admin, api):
        """Every page at both widths and in both themes; the themes differ in colours alone."""
        if not AXE.exists():
            pytest.skip("axe-core is not installed: cd dashboard && npm ci")
        wrong: list[str] = []
        watch(admin, api, wrong)
        axe, devtools = AXE.read_text("utf-8"), admin.context.new_cdp_session(admin)
        for path in ("/", *(f"/{name}/" for name in BEHIND), "/login/", "/nowhere/"):
            admin.goto(path)
            sync_api.expect(admin.get_by_role("heading", level=1)).to_be_visible()
            sync_api.expect(admin.get_by_text("Loading", exact=True)).to_have_count(0)
            devtools.send("Runtime.evaluate", {"expression": axe})
            for width in (1440, 360):
                admin.set_viewport_size({"width": width, "height": 900})
                if not fits(admin):
                    wrong.append(f"{path} scrolls sideways at {width}")
                for theme in ("light", "dark"):
                    admin.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", theme == "dark")
                    rules = RULES if theme == "light" else ["color-contrast"]
                    found = admin.evaluate(
                        "rules => axe.run({runOnly: rules}).then(told => told.violations.map(each => each.id + ' ' + "
                        "each.nodes.map(node => node.target.join(' ')).join(', ')))",
                        rules,
                    )
                    wrong += [f"{path} {width} {theme}: {each}" for each in found]
            admin.set_viewport_size({"width": 1440, "height": 900})
        assert wrong == []

    def test_the_menu_and_the_dialogs_have_no_barrier_either(self, admin, api):
        if not AXE.exists():
            pytest.skip("axe-core is not installed: cd dashboard && npm ci")
        axe, devtools = AXE.read_text("utf-8"), admin.context.new_cdp_session(admin)
        admin.set_viewport_size({"width": 360, "height": 900})
        try:
            for path, button in (("/dashboard/", "Open the menu"), ("/governance/keys/", "Create key")):
                admin.goto(path)
                admin.get_by_role("button", name=button).click()
                sync_api.expect(admin.get_by_role("dialog")).to_be_visible()
                devtools.send("Runtime.evaluate", {"expression": axe})
                assert (
                    admin.evaluate("r => axe.run({runOnly: r}).then(told => told.violations.map(v => v.id))", RULES)
                    == []
                )
                admin.keyboard.press("Escape")
                sync_api.expect(admin.get_by_role("button", name=button)).to_be_focused()
        finally:
            admin.set_viewport_size({"width": 1440, "height": 900})

    def test_the_keyboard_goes_to_pages_but_not_while_one_writes(self, admin):
        admin.goto("/dashboard/")
        sync_api.expect(admin.get_by_role("heading", name="Dashboard")).to_be_visible()
        admin.keyboard.press("g")
        admin.keyboard.press("m")
        sync_api.expect(admin.get_by_label("Search")).to_be_visible()
        admin.keyboard.press("/")
        sync_api.expect(admin.get_by_label("Search")).to_be_focused()
        admin.keyboard.type("gd")
        sync_api.expect(admin.get_by_label("Search")).to_have_value("gd")
        assert admin.url.endswith("/models/")
        admin.evaluate("document.activeElement.blur()")
        admin.keyboard.press("?")
        sync_api.expect(admin.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()


def fits(page: sync_api.Page) -> bool:
    """Whether nothing is wider than the window, once charts have found their size."""
    for _ in range(30):
        if page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            return True
        page.wait_for_timeout(100)
    return False


def watch(page: sync_api.Page, api: Api, wrong: list[str]) -> None:
    """Write down what a page may not do."""

    def asked(request: sync_api.Request) -> None:
        if not request.url.startswith((api.url, "data:", "blob:")):
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
