"""Alert rules in a browser: made with a live preview, changed, switched off and removed; seen by who may only look."""

import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.error import HTTPError

import pytest
from tests.e2e.browsing import AXE, BOOT, NEEDED, RULES, Api, browsing, fits, sync_api, visit, watch
from tests.e2e.served import gateway

pytestmark = NEEDED


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Thirty requests, of which one fails."""
    tree = {
        "auth": {"type": "keys", "failed_per_minute": 1_000},
        "providers": {"mock": {"faults": [{"call": 3, "status": 422}]}},
        "services": {"alerts": {"interval_s": 1}},
    }
    with gateway(tmp_path_factory.mktemp("rules"), tree, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT) as served:
        found = Api(served.url)
        for number in range(30):
            with suppress(HTTPError):
                found("POST", "/infer", {"prompt": f"What is number {number}?", "routing_mode": "autopilot"})
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def admin(browser: sync_api.Browser, api: Api) -> Iterator[sync_api.Page]:
    with visit(browser, api) as page:
        yield page


def checked(page: sync_api.Page) -> list[str]:
    """What axe finds at both widths and in both themes, and what does not fit."""
    wrong: list[str] = []
    page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": AXE.read_text("utf-8")})
    for width in (1440, 360, 320):
        page.set_viewport_size({"width": width, "height": 900})
        if not fits(page):
            wrong.append(f"scrolls sideways at {width}")
        for theme in ("light", "dark"):
            page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", theme == "dark")
            found = page.evaluate(
                "r => axe.run({runOnly: r}).then(told => told.violations.map(v => v.id + ' ' + v.nodes[0].html))", RULES
            )
            wrong += [f"{width} {theme}: {each}" for each in found]
    page.set_viewport_size({"width": 1440, "height": 900})
    return wrong


def test_a_rule_lives_from_its_preview_to_its_removal(admin, api):
    wrong: list[str] = []
    watch(admin, api, wrong)
    admin.goto("/alerts/?tab=rules")
    sync_api.expect(admin.get_by_text("No rule yet")).to_be_visible()
    admin.get_by_role("button", name="Rule", exact=True).click()
    form = admin.get_by_role("dialog", name="Make a rule")
    form.get_by_label("Name", exact=True).fill("Too busy")
    form.get_by_label("Metric").select_option("requests")
    form.get_by_label("Threshold, requests").fill("20")
    preview = form.get_by_label("Preview")
    sync_api.expect(preview.get_by_text("It would have fired once in the last")).to_be_visible()
    sync_api.expect(preview.get_by_text(re.compile(r"Now it is 30\."))).to_be_visible()
    form.get_by_label("Threshold, requests").fill("2000")
    sync_api.expect(preview.get_by_text("It would have fired 0 times")).to_be_visible()
    form.get_by_label("Of", exact=True).select_option("model")
    sync_api.expect(form.get_by_role("button", name="Save rule")).to_be_disabled()
    if AXE.exists():
        assert checked(admin) == []
    form.get_by_label("Of", exact=True).select_option("org")
    form.get_by_label("Threshold, requests").fill("20")
    form.get_by_label("Severity").select_option("critical")
    form.get_by_role("button", name="Save rule").click()
    row = admin.get_by_role("listitem").filter(has_text="Too busy")
    sync_api.expect(row.get_by_text("Requests of the organisation at or over 20 within 1 hour.")).to_be_visible()
    (kept,) = api("GET", "/alerts/rules")["rules"]
    assert (kept["metric"], kept["threshold"], kept["severity"], kept["min_requests"]) == (
        "requests",
        20.0,
        "critical",
        0,
    )

    for _ in range(100):
        if api("GET", "/alerts/rules")["rules"][0]["firing_since"]:
            break
        admin.wait_for_timeout(100)
    admin.reload()
    sync_api.expect(row.get_by_text("firing since")).to_be_visible()
    count = api("GET", "/alerts/count")["open"]
    badge = admin.get_by_role("navigation", name="Main").get_by_role("link", name=f"Alerts {count} open")
    sync_api.expect(badge).to_be_visible()
    if AXE.exists():
        assert checked(admin) == []
    admin.get_by_role("navigation", name="Alerts").get_by_role("button", name="Open").click()
    raised = admin.get_by_role("listitem").filter(has_text="Too busy")
    sync_api.expect(raised.get_by_text("30 now, 20 is the threshold.")).to_be_visible()

    admin.goto("/alerts/?tab=rules")
    row.get_by_role("button", name="Edit Too busy").click()
    form = admin.get_by_role("dialog", name="Change a rule")
    sync_api.expect(form.get_by_label("Threshold, requests")).to_have_value("20")
    form.get_by_label("Metric").select_option("error_rate")
    form.get_by_label("Threshold, %").fill("12.5")
    form.get_by_label("And held for").select_option("10")
    form.get_by_role("button", name="Save rule").click()
    sync_api.expect(row.get_by_text(re.compile("Error rate of the organisation at or over 12.5 %"))).to_be_visible()
    (kept,) = api("GET", "/alerts/rules")["rules"]
    assert (kept["threshold"], kept["for_minutes"], kept["firing_since"]) == (0.125, 10, None)
    row.get_by_role("button", name="Switch off Too busy").click()
    sync_api.expect(row.get_by_text("switched off")).to_be_visible()
    assert api("GET", "/alerts/rules")["rules"][0]["enabled"] is False
    row.get_by_role("button", name="Remove Too busy").click()
    admin.get_by_role("dialog", name="Remove this rule").get_by_role("button", name="Remove").click()
    sync_api.expect(admin.get_by_text("No rule yet")).to_be_visible()
    assert api("GET", "/alerts/rules")["rules"] == []
    assert wrong == []


def test_what_the_gateway_refuses_is_told_in_the_form(admin, api):
    admin.goto("/alerts/?tab=rules")
    admin.get_by_role("button", name="Make the first").click()
    form = admin.get_by_role("dialog", name="Make a rule")
    form.get_by_label("Name", exact=True).fill("Nearly spent")
    form.get_by_label("Metric").select_option("budget_share")
    sync_api.expect(form.get_by_label("Preview").get_by_text("there is no budget")).to_be_visible()
    form.get_by_role("button", name="Save rule").click()
    sync_api.expect(form.get_by_role("alert").filter(has_text="make one first")).to_be_visible()
    admin.keyboard.press("Escape")
    sync_api.expect(form).to_be_hidden()
    assert api("GET", "/alerts/rules")["rules"] == []


def test_a_list_that_fails_says_so_and_is_asked_again(admin):
    admin.route("**/alerts/rules", lambda route: route.fulfill(status=503, json={"error": "x", "message": "away"}))
    admin.goto("/alerts/?tab=rules")
    sync_api.expect(admin.get_by_role("alert").filter(has_text="Away.")).to_be_visible()
    admin.unroute("**/alerts/rules")
    admin.get_by_role("button", name="Retry").click()
    sync_api.expect(admin.get_by_text("No rule yet")).to_be_visible()


def test_a_viewer_sees_rules_without_money_and_no_button(browser, api):
    rule = {"name": "Dear", "metric": "cost", "threshold": 4321, "window_minutes": 1440}
    made = api("POST", "/alerts/rules", rule)
    key = api("POST", "/governance/api-keys", {"user_id": "vic", "role": "viewer", "scopes": ["all"]})["api_key"]
    with visit(browser, api, key) as page:
        page.goto("/alerts/?tab=rules")
        row = page.get_by_role("listitem").filter(has_text="Dear")
        sync_api.expect(row.get_by_text("at or over a sum you may not see within 24 hours")).to_be_visible()
        for name in (re.compile("^Rule$"), "Edit", "Switch off", "Remove"):
            sync_api.expect(page.get_by_role("button", name=name)).to_have_count(0)
        assert "4,321" not in page.content()
    api("DELETE", f"/alerts/rules/{made['rule_id']}")
