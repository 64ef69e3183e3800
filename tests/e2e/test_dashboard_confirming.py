"""The dashboard asks for the key again before what matters, and then does what was asked once."""

from collections.abc import Iterator

import pytest
from tests.e2e.browsing import AXE, BOOT, NEEDED, RULES, Api, browsing, fits, sync_api, visit
from tests.e2e.served import gateway

pytestmark = NEEDED
AFTER_S = 2.5


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A quarter of an hour is two seconds and a half here."""
    tree = {
        "auth": {"type": "keys", "failed_per_minute": 1_000, "confirm_after_minutes": AFTER_S / 60},
        "services": {"alerts": {"webhook_url": "http://127.0.0.1:9/hook", "webhook_timeout_s": 1}},
    }
    with gateway(tmp_path_factory.mktemp("confirming"), tree, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT) as served:
        yield Api(served.url)


@pytest.fixture(scope="module")
def admin(api: Api) -> Iterator[sync_api.Page]:
    with browsing() as browser, visit(browser, api) as page:
        yield page


def test_the_key_is_asked_for_again_and_the_call_made_once(admin, api):
    sent: list[str] = []
    admin.on("request", lambda request: sent.append(f"{request.method} {request.url.removeprefix(api.url)}"))
    admin.goto("/governance/keys/")
    admin.wait_for_timeout(1_000 * AFTER_S)
    admin.get_by_role("button", name="Create key").click()
    form = admin.get_by_role("dialog", name="Create a key")
    form.get_by_label("Name").fill("ci-prod")
    form.get_by_label("User").fill("ci")
    form.get_by_role("button", name="Create", exact=True).click()
    again = admin.get_by_role("dialog", name="Paste your key again")
    sync_api.expect(again.get_by_label("API key")).to_be_focused()
    assert api("GET", "/governance/api-keys")["keys"] == []

    if AXE.exists():
        admin.context.new_cdp_session(admin).send("Runtime.evaluate", {"expression": AXE.read_text("utf-8")})
        for width in (1440, 320):
            admin.set_viewport_size({"width": width, "height": 900})
            assert fits(admin)
            for dark in (False, True):
                admin.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", dark)
                told = "r => axe.run({runOnly: r}).then(told => told.violations.map(v => v.id + ' ' + v.nodes[0].html))"
                assert admin.evaluate(told, RULES) == []
        admin.set_viewport_size({"width": 1440, "height": 900})

    again.get_by_label("API key").fill("ask_wrong")
    again.get_by_role("button", name="Go on").click()
    sync_api.expect(again.get_by_role("alert").filter(has_text="This is not the key of this login")).to_be_attached()
    sync_api.expect(again.get_by_label("API key")).to_have_attribute("type", "password")
    again.get_by_label("API key").fill(BOOT)
    again.get_by_role("button", name="Go on").click()
    sync_api.expect(again).to_be_hidden()
    shown = admin.get_by_role("dialog", name="Your new key")
    sync_api.expect(shown).to_be_visible()
    assert [row["name"] for row in api("GET", "/governance/api-keys")["keys"]] == ["ci-prod"]
    assert sent.count("POST /governance/api-keys") == 2
    assert sent.count("POST /auth/confirm") == 2
    stored = admin.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    assert BOOT not in stored + admin.content()
    shown.get_by_label("I have stored it").check()
    shown.get_by_role("button", name="Close").last.click()
    assert admin.url.endswith("/governance/keys/")


def test_who_does_not_show_it_has_done_nothing_and_is_still_here(admin, api):
    admin.goto("/governance/policies/")
    admin.wait_for_timeout(1_000 * AFTER_S)
    admin.get_by_role("button", name="Add budget").click()
    form = admin.get_by_role("dialog", name="Add a budget")
    form.get_by_label("Dollars").fill("7")
    form.get_by_role("button", name="Save budget").click()
    again = admin.get_by_role("dialog", name="Paste your key again")
    again.get_by_role("button", name="Cancel").click()
    sync_api.expect(again).to_be_hidden()
    sync_api.expect(form.get_by_role("alert").filter(has_text="Show the key of this login again")).to_be_visible()
    sync_api.expect(form.get_by_label("Dollars")).to_have_value("7")
    assert api("GET", "/governance/budgets")["budgets"] == []
    admin.keyboard.press("Escape")


def test_a_channel_that_is_away_is_told_in_the_settings(admin):
    """And what is not sensitive is not asked for a key."""
    admin.goto("/settings/")
    admin.get_by_role("button", name="Send a test message").click()
    row = admin.get_by_role("listitem").filter(has_text="webhook")
    sync_api.expect(row.get_by_text("refused")).to_be_visible()
    sync_api.expect(row.get_by_text("it could not be reached")).to_be_visible()
    sync_api.expect(admin.get_by_role("dialog")).to_have_count(0)
