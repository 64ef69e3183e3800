"""`/settings` over HTTP, and that each key which is not called unenforced changes what happens."""

from datetime import timedelta

import msgspec
import pytest
from tests.e2e.served import gateway as serving
from tests.kernel.kit import ask, gateway_of
from tests.plugins.guard.kit import NOW, ORG, Model, asking
from tests.plugins.guard.test_http import BOOT, TREE, Client

from asahi_guard.preferring import DISPLAYED, UNENFORCED
from asahi_kernel import pipeline
from asahi_kernel.preferences import Preferences
from asahi_kernel.repositories.rules import OrgPolicy, SettingsOf
from asahi_kernel.testing import ASK, HERE
from asahi_kernel.trace import Trace

#: Where the test of a key is, for those that other files test.
TESTED = {
    "cache.max_size_gb": "kernel/test_room.py",
    "cache.auto_cleanup": "kernel/test_room.py",
    "cache.t2_enabled": "semantic/test_wishes.py",
    "cache.t2_cost_sensitivity": "semantic/test_wishes.py",
    "cache.t2_threshold": "semantic/test_wishes.py",
    "cache.t2_max_error_rate": "semantic/test_wishes.py",
    "cache.t3_enabled": "semantic/test_intermediate.py",
    "cache.t3_ttl_hours": "semantic/test_intermediate.py",
    "privacy.store_prompts": "guard/test_words.py",
    "privacy.pii_action": "guard/test_pii.py",
    "privacy.injection_action": "guard/test_injection.py",
    "general.notifications": "telemetry/test_mail.py",
    "general.email_alerts": "telemetry/test_mail.py",
    "general.weekly_report": "telemetry/test_mail.py",
    "general.alert_emails": "telemetry/test_mail.py",
}
HERE_TESTED = {
    "cache.t1_enabled",
    "cache.t1_ttl_hours",
    "routing.default_mode",
    "routing.default_quality_threshold",
    "routing.default_latency_budget_ms",
    "routing.task_overrides",
    "routing.cautious",
}
TIERED = {
    "providers": {"scripted": {}},
    "models": [
        {"name": name, "provider": "scripted", "quality_score": quality, "avg_latency_ms": latency,
         "cost_per_1k_input_tokens": price, "cost_per_1k_output_tokens": price}
        for name, quality, latency, price in (("low", 3.6, 100, 0.001), ("mid", 4.1, 250, 0.01), ("top", 4.8, 280, 0.1))
    ],
}  # fmt: skip
OPTIMIZED = ["explicit", "bounds", "autopilot", "guided", "cheapest"]
PLAIN = ["explicit", "bounds", "cheapest"]


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    folder = tmp_path_factory.mktemp("settings")
    with serving(folder, TREE, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT, ASAHI_ENCRYPTION_KEY="0123456789abcdef" * 4) as served:
        yield Client(served.url)


async def wanting(gateway, **groups):
    settings = gateway.storage.repositories.settings
    old = await settings.get(ORG)
    await settings.save(SettingsOf(org_id=ORG, updated_at=NOW, body=groups), old.version if old else 0)
    gateway.standings.forget(ORG)
    await gateway.standings.of(ORG)


async def decided(gateway, request):
    trace = Trace("/infer")
    await pipeline.infer(gateway, request, HERE, trace)
    return trace


def tiered(rules):
    return gateway_of({**TIERED, "routing": {"rules": rules}}, providers=("scripted", Model("Paris.")))


def test_every_key_is_enforced_and_tested_or_called_what_it_is():
    keys = {f"{group}.{key}" for group, body in msgspec.to_builtins(Preferences()).items() for key in body}
    told = [*TESTED, *HERE_TESTED, *DISPLAYED, *UNENFORCED]
    assert sorted(told) == sorted(keys)


def test_settings_are_read_changed_by_key_and_audited(call):
    admin = call.admin("wants")
    status, told = call(admin, "GET", "/settings")
    assert (status, told["version"], told["cache"]["t1_ttl_hours"]) == (200, 0, 24)
    assert "general.weekly_report" in told["not_enforced"]
    body = {"cache": {"t1_ttl_hours": 5}, "general": {"timezone": "Asia/Tokyo"}}
    status, told = call(admin, "PUT", "/settings", body)
    assert (status, told["version"], told["cache"]["t1_ttl_hours"]) == (200, 1, 5)
    status, told = call(admin, "PUT", "/settings", {"cache": {"t1_enabled": False}}, if_match='"1"')
    assert (told["version"], told["cache"]["t1_ttl_hours"], told["cache"]["t1_enabled"]) == (2, 5, False)
    assert told["updated_by"] == "root"
    assert call(admin, "GET", "/settings")[1] == told
    found = call(admin, "GET", "/governance/audit?action=settings_update")[1]
    changes = [each["details"]["changes"] for each in found["entries"]]
    assert changes[0] == {"cache.t1_enabled": {"from": "true", "to": "false"}}
    assert changes[1]["general.timezone"] == {"from": "UTC", "to": "Asia/Tokyo"}


def test_of_two_who_read_one_version_one_is_told(call):
    admin = call.admin("wants-race")
    assert call(admin, "PUT", "/settings", {"privacy": {"pii_action": "block"}}, if_match="0")[0] == 200
    status, told = call(admin, "PUT", "/settings", {"privacy": {"pii_action": "off"}}, if_match="0")
    assert (status, told["error"], told["details"]) == (409, "version_conflict", {"version": 1})
    assert call(admin, "GET", "/settings")[1]["privacy"]["pii_action"] == "block"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"cache": {"t1_ttl": 1}}, "`t1_ttl`"),
        ({"cash": {}}, "cash"),
        ({"cache": {"t1_ttl_hours": 0}}, "cache.t1_ttl_hours"),
        ({"cache": {"t2_threshold": 1.1}}, "cache.t2_threshold"),
        ({"cache": {"max_size_gb": -1}}, "cache.max_size_gb"),
        ({"privacy": {"pii_action": "maybe"}}, "privacy.pii_action"),
        ({"privacy": {"store_prompts": "yes"}}, "privacy.store_prompts"),
        ({"routing": {"default_mode": "explicit"}}, "routing.default_mode"),
        ({"routing": {"task_overrides": {"juggling": {}}}}, "juggling"),
        ({"routing": {"task_overrides": {"legal": {"quality": 6}}}}, "quality"),
        ({"general": {"timezone": "Mars/Olympus"}}, "general.timezone"),
        ({"general": {"contact_email": "nobody"}}, "general.contact_email"),
        (b"[]", "the body"),
        (b'{"cache":{},"cache":{}}', "cache"),
        (b"", ""),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_and_nothing_is_kept(call, body, word):
    admin = call.admin("wants-sense")
    status, told = call(admin, "PUT", "/settings", body)
    assert status == 400, told
    assert word in told["message"]
    assert call(admin, "GET", "/settings")[1]["version"] == 0


def test_orgs_and_roles_are_apart(call):
    call(call.admin("wants-one"), "PUT", "/settings", {"general": {"organisation_name": "One"}})
    assert call(call.admin("wants-two"), "GET", "/settings")[1]["general"]["organisation_name"] == ""
    for role, wanted in {"developer": 403, "viewer": 403, "billing": 403, "admin": 200}.items():
        key = call.other("wants-one", role, ["all"])
        assert call(key, "GET", "/settings")[0] == 200
        assert call(key, "PUT", "/settings", {})[0] == wanted, role


def test_a_change_holds_for_the_next_request(call):
    org = "wants-now"
    call.infer(org, "the same question")
    assert call.infer(org, "the same question")[1]["cache_hit"] is True
    call(call.admin(org), "PUT", "/settings", {"cache": {"t1_enabled": False}, "privacy": {"pii_action": "block"}})
    assert call.infer(org, "the same question")[1]["cache_hit"] is False
    assert call.infer(org, "write to ann@example.com")[1]["error"] == "pii_blocked"


@pytest.mark.anyio
async def test_without_the_first_tier_nothing_is_asked_of_it_and_nothing_put_in():
    async with gateway_of() as gateway:
        await ask(gateway)
        assert (await ask(gateway)).hit is not None
        await wanting(gateway, cache={"t1_enabled": False})
        trace = Trace("/infer")
        await pipeline.infer(gateway, ASK, HERE, trace)
        assert [(each.asked, each.reason) for each in trace.lookups] == [(False, "switched off in the settings")]
        await gateway.tiers["exact"].clear(ORG)
        await ask(gateway)
        assert await gateway.tiers["exact"].entries(ORG) == []


@pytest.mark.anyio
async def test_answers_live_as_long_as_the_org_says():
    async with gateway_of({"cache": {"ttl_seconds": 60, "ttl_jitter": 0}}) as gateway:
        await wanting(gateway, cache={"t1_ttl_hours": 7})
        await ask(gateway)
        await wanting(gateway, privacy={"pii_action": "off"})
        await ask(gateway, asking("another"))
        lives = [row.expires_at - row.created_at async for row in gateway.tiers["exact"].rows(ORG)]
        assert sorted(lives) == [timedelta(seconds=60), timedelta(hours=7)]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "task", "model", "required"),
    [
        ({}, None, "low", (3.5, "task", "task")),
        ({"default_quality_threshold": 4.5}, None, "top", (4.5, "org", "task")),
        ({"default_quality_threshold": 2.0}, None, "low", (3.5, "task", "task")),
        ({"task_overrides": {"legal": {"quality": 3.0}}}, "legal", "low", (3.0, "org", "task")),
        ({"task_overrides": {"legal": {"quality": 3.0}}}, "coding", "mid", (4.0, "task", "task")),
        ({"default_latency_budget_ms": 260, "default_quality_threshold": 4.0}, None, "mid", (4.0, "org", "org")),
    ],
)
async def test_default_bounds_are_the_orgs(said, task, model, required):
    async with tiered(OPTIMIZED) as gateway:
        await wanting(gateway, routing=said)
        trace = await decided(gateway, asking("hello there", terms={"task_type": task}))
        found = trace.required
        assert (found.quality, found.quality_source, found.latency_source) == required
        assert trace.model == model


@pytest.mark.anyio
async def test_the_policy_goes_before_the_settings_and_the_caller_before_both():
    async with tiered(OPTIMIZED) as gateway:
        policy = OrgPolicy(org_id=ORG, updated_at=NOW, default_quality_threshold=4.0, default_latency_budget_ms=5_000)
        await gateway.storage.repositories.policies.save_policy(policy)
        await wanting(gateway, routing={"default_quality_threshold": 4.7})
        trace = await decided(gateway, asking("hello"))
        assert (trace.model, trace.required.quality_source, trace.required.latency_ms) == ("mid", "org", 5_000)
        trace = await decided(gateway, asking("hello again", terms={"quality_threshold": 3.0}))
        assert (trace.model, trace.required.quality_source) == ("low", "caller")


@pytest.mark.anyio
async def test_default_bounds_hold_without_the_optimizer_too_and_give_way_rather_than_refuse():
    async with tiered(PLAIN) as gateway:
        assert (await decided(gateway, asking("one"))).model == "low"
        await wanting(gateway, routing={"default_quality_threshold": 4.0, "default_latency_budget_ms": 260})
        trace = await decided(gateway, asking("two"))
        assert (trace.model, trace.required.quality_source, trace.relaxed) == ("mid", "org", ())
        await wanting(gateway, routing={"default_quality_threshold": 4.5, "default_latency_budget_ms": 260})
        trace = await decided(gateway, asking("three"))
        assert (trace.model, trace.relaxed) == ("top", ("latency",))
        await wanting(gateway, routing={"default_quality_threshold": 4.9})
        assert (await decided(gateway, asking("four"))).relaxed == ("latency", "quality")


@pytest.mark.anyio
async def test_the_default_mode_is_the_orgs_where_the_caller_says_none():
    async with tiered(OPTIMIZED) as gateway:
        await wanting(gateway, routing={"default_mode": "guided", "default_quality_threshold": 4.6})
        trace = await decided(gateway, asking("hello", terms={"undecided": True}))
        assert (trace.required.quality_source, trace.model) == ("org", "top")
        assert dict(trace.rules)["guided"].required is not None
        trace = await decided(gateway, asking("hello!", terms={"undecided": True, "quality_preference": "low"}))
        assert (trace.required.quality_source, trace.model) == ("preference", "low")
        trace = await decided(gateway, asking("hello?"))
        assert dict(trace.rules)["guided"].required is None
    async with tiered(PLAIN) as gateway:
        await wanting(gateway, routing={"default_mode": "guided"})
        assert (await ask(gateway, asking("x", terms={"undecided": True}))).completion.text == "Paris."


@pytest.mark.anyio
async def test_a_cautious_org_is_held_to_the_lower_end_of_what_is_known():
    async with tiered(["estimate", *OPTIMIZED]) as gateway:
        estimate = next(each for each in (await decided(gateway, asking("zero"))).candidates if each.name == "low")
        assert estimate.interval[0] < estimate.quality
        needs = {"default_quality_threshold": estimate.quality}
        await wanting(gateway, routing=needs)
        assert (await decided(gateway, asking("one"))).model == "low"
        await wanting(gateway, routing={**needs, "cautious": True})
        assert (await decided(gateway, asking("two"))).model != "low"


def test_a_request_that_names_a_mode_keeps_it():
    from asahi_kernel.wire.native import decode

    cases = [({}, True), ({"routing_mode": "autopilot"}, False), ({"quality_preference": "low"}, False)]
    for said, undecided in cases:
        asked = decode(msgspec.json.encode({"prompt": "hi", **said}), {})
        assert asked.request.terms.undecided is undecided
