"""The dashboard in a browser, against a served gateway: what a person does, and whether everybody could."""

import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.error import HTTPError

import pytest
from tests.e2e.browsing import (
    AXE,
    BEHIND,
    BOOT,
    NEEDED,
    RULES,
    Api,
    browsing,
    fits,
    log_in,
    sync_api,
    visit,
    watch,
)
from tests.e2e.served import gateway

pytestmark = NEEDED


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One call fails, so that there is an alert."""
    tree = {
        "auth": {"type": "keys", "failed_per_minute": 1_000},
        "providers": {"mock": {"faults": [{"call": 3, "status": 422}]}},
        "services": {"alerts": {"interval_s": 1}},
    }
    with gateway(tmp_path_factory.mktemp("dashboard"), tree, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT) as served:
        found = Api(served.url)
        for number in range(24):
            with suppress(HTTPError):
                found("POST", "/infer", {"prompt": f"What is number {number % 8}?", "routing_mode": "autopilot"})
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with browsing() as opened:
        yield opened


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

    @pytest.mark.parametrize("mode", ["guided", "explicit"])
    def test_the_other_modes_answer_too(self, admin, mode):
        admin.goto("/inference/")
        admin.get_by_role("radio", name=mode).check()
        if mode == "explicit":
            admin.get_by_label("Model", exact=True).select_option("claude-3-5-haiku")
        admin.get_by_label("Prompt", exact=True).fill(f"How long is a {mode} walk around the harbour?")
        admin.get_by_role("button", name="Run").click()
        sync_api.expect(admin.get_by_text("Mock answer of").first).to_be_visible()
        sync_api.expect(admin.get_by_text(re.compile(f"^{mode}.*: How long"))).to_be_visible()

    def test_a_drawer_goes_through_its_rows_by_the_keyboard(self, admin):
        admin.goto("/dashboard/")
        openers = admin.locator("tbody [data-row]")
        openers.first.click()
        drawer = admin.get_by_role("dialog", name="Why this answer")
        sync_api.expect(drawer.get_by_role("button", name="Previous")).to_be_disabled()
        ids = [each.get_attribute("data-row") for each in openers.all()]
        for key, at in (("j", 1), ("j", 2), ("k", 1)):
            admin.keyboard.press(key)
            admin.wait_for_url(f"**/dashboard/?id={ids[at]}")
            sync_api.expect(drawer.get_by_text(ids[at])).to_be_visible()
            row = admin.locator("tr", has=admin.locator(f"[data-row='{ids[at]}']"))
            sync_api.expect(row).to_have_class(re.compile("bg-accent-soft"))
        admin.keyboard.press("Escape")
        sync_api.expect(admin.locator(f"[data-row='{ids[1]}']").first).to_be_focused()
        assert "id=" not in admin.url

    def test_the_chain_is_verified_an_alert_acknowledged_and_the_cache_cleared(self, admin, api):
        admin.goto("/governance/audit/")
        with admin.expect_response("**/governance/audit/verify"):
            admin.get_by_role("button", name="Verify now").click()
        sync_api.expect(admin.get_by_text("Chain intact:")).to_be_visible()
        admin.goto("/alerts/")
        alert = admin.get_by_role("listitem").filter(has_text="requests of the last hour failed")
        alert.get_by_role("button", name="Acknowledge").click()
        sync_api.expect(alert.get_by_text("acknowledged").last).to_be_visible()
        (told,) = [each for each in api("GET", "/analytics/anomalies?state=all")["data"] if each["acknowledged_at"]]
        assert told["anomaly_type"] == "error_rate"
        assert api("GET", "/cache/entries")["entries"]
        admin.goto("/cache/")
        admin.get_by_role("button", name="Clear all").click()
        confirm = admin.get_by_role("dialog", name="Clear every cache")
        confirm.get_by_label("Type clear").fill("clear")
        confirm.get_by_role("button", name="Clear all").click()
        sync_api.expect(confirm).to_be_hidden()
        assert api("GET", "/cache/entries")["entries"] == []

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
        admin.get_by_role("button", name="Rotate ci-prod").click()
        rotate = admin.get_by_role("dialog", name="Rotate ci-prod")
        rotate.get_by_label("The old key lives on for").select_option("not at all")
        rotate.get_by_role("button", name="Rotate").click()
        assert shown.get_by_label("Key", exact=True).input_value() not in {"", secret}
        shown.get_by_label("I have stored it").check()
        shown.get_by_role("button", name="Close").last.click()
        sync_api.expect(admin.get_by_text("expired", exact=True).first).to_be_visible()
        admin.get_by_role("button", name="Revoke ci-prod").click()
        confirm = admin.get_by_role("dialog", name="Revoke ci-prod")
        sync_api.expect(confirm.get_by_role("button", name="Revoke")).to_be_disabled()
        confirm.get_by_label("Type ci-prod").fill("ci-prod")
        confirm.get_by_role("button", name="Revoke").click()
        sync_api.expect(admin.get_by_text("Revoked", exact=True)).to_be_visible()
        sync_api.expect(confirm).to_be_hidden()
        sync_api.expect(admin.get_by_role("button", name="Revoke ci-prod")).to_be_hidden()
        new, old = [each for each in api("GET", "/governance/api-keys?include_revoked=true")["keys"] if each["name"]]
        assert (new["name"], new["revoked"], new["rotated_from"]) == ("ci-prod", True, old["key_id"])

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

    def test_kept_words_are_shown_or_why_there_are_none(self, admin, api):
        drawer = admin.get_by_role("dialog", name="Why this answer")
        asked = {"prompt": "Why is the harbour deep?", "cache": "off"}
        for store, words in ((False, "Not stored: prompt storage is off."), (True, "Why is the harbour deep?")):
            api("PUT", "/settings", {"privacy": {"store_prompts": store}})
            told = api("POST", "/infer", asked)
            admin.goto(f"/dashboard/?id={told['request_id']}")
            part = drawer.locator("section", has=admin.get_by_role("heading", name="Kept words"))
            sync_api.expect(part).to_contain_text(re.compile(words, re.IGNORECASE))
        sync_api.expect(part).to_contain_text(told["response"])
        api("PUT", "/settings", {"privacy": {"store_prompts": False}})
        admin.keyboard.press("Escape")

    def test_a_login_somewhere_else_is_ended_and_one_s_own_key_is_listed(self, admin, api, browser):
        with visit(browser, api) as other:
            admin.goto("/settings/?tab=sessions")
            sync_api.expect(admin.get_by_text("this one").first).to_be_visible()
            admin.get_by_role("button", name="Log out everywhere else").click()
            sync_api.expect(admin.get_by_role("button", name="Log out there")).to_have_count(0)
            other.goto("/models/")
            other.wait_for_url("**/login/**")
        admin.get_by_role("button", name="API keys").click()
        sync_api.expect(admin.get_by_role("heading", name="Your own keys")).to_be_visible()

    def test_a_trend_is_drawn_beside_the_period_before(self, admin):
        admin.goto("/analytics/trends/?metric=requests")
        admin.get_by_label("The period before").click()
        admin.get_by_text("View as table").click()
        sync_api.expect(admin.get_by_role("columnheader", name="Requests, the period before")).to_be_visible()

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
            for path, changing in (("cache", "Clear all"), ("settings", "Save"), ("alerts", "Acknowledge")):
                page.goto(f"/{path}/")
                sync_api.expect(page.get_by_text("Loading", exact=True)).to_have_count(0)
                sync_api.expect(page.get_by_role("button", name=changing)).to_have_count(0)
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
        tabs = ("/settings/?tab=keys", "/settings/?tab=sessions")
        for path in ("/", *(f"/{name}/" for name in BEHIND), *tabs, "/login/", "/nowhere/"):
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
                    found = admin.evaluate(
                        "rules => axe.run({runOnly: rules}).then(told => told.violations.map(each => each.id + ' ' + "
                        "each.nodes.map(node => node.target.join(' ')).join(', ')))",
                        RULES,
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
