"""What an org wants, what it is told, and when it is warned."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.kernel.kit import ask, gateway_of
from tests.plugins.semantic.kit import HERE, Bench, say
from tests.plugins.semantic.kit import ask as question
from tests.plugins.semantic.test_pipeline import PASSWORD, SAME, proven, settled
from tests.plugins.semantic.test_pipeline import question as faq

from asahi_kernel import listing
from asahi_kernel.api.feedback import forget
from asahi_kernel.repositories.rules import SettingsOf
from asahi_semantic.config import SemanticConfig
from asahi_semantic.wishes import of_file, of_org

pytestmark = pytest.mark.anyio


async def say_wishes(gateway, **cache):
    settings = gateway.storage.repositories.settings
    old = await settings.get("here")
    body = {"cache": cache}
    await settings.save(SettingsOf(org_id="here", updated_at=datetime.now(UTC), body=body), old.version if old else 0)
    gateway.standings.forget("here")
    await gateway.standings.of("here")


async def test_an_org_that_says_nothing_has_what_the_file_says():
    async with gateway_of({"cache_tiers": {"semantic": {"max_error_rate": 0.03}}}) as gateway:
        config = SemanticConfig(max_error_rate=0.03, cost_sensitivity="high")
        assert of_org(config, await gateway.standings.of("here")) == of_file(config)
        await say_wishes(gateway, t2_max_error_rate=0.1, t2_threshold=0.9)
        wishes = of_org(config, await gateway.standings.of("here"))
        assert (wishes.max_error_rate, wishes.threshold, wishes.sensitivity) == (0.1, 0.9, "medium")


async def test_what_the_file_switches_off_stays_off():
    async with gateway_of() as gateway:
        await say_wishes(gateway, t2_enabled=True)
        assert not of_org(SemanticConfig(enabled=False), await gateway.standings.of("here")).enabled


@pytest.mark.parametrize("cache", [{"t2_enabled": False}, {"t2_max_error_rate": 0}, {"t2_threshold": 1.0}])
async def test_an_org_can_stop_it(cache):
    async with proven() as gateway:
        await ask(gateway, faq(PASSWORD))
        await say_wishes(gateway, **cache)
        assert (await ask(gateway, faq(SAME))).hit is None


async def test_another_bound_holds_at_once_for_what_was_learnt():
    async with proven() as gateway:
        tier = gateway.tiers["semantic"]
        await ask(gateway, faq(PASSWORD))
        await say_wishes(gateway, t2_max_error_rate=0.001, t2_threshold=0.0)
        assert (await ask(gateway, faq(SAME))).hit is None
        (told,) = [each for each in tier.precision("here") if each.task == "faq"]
        assert told.max_error_rate == 0.001


async def test_stats_tell_how_often_it_was_wrong():
    async with proven(rechecks=True) as gateway:
        await ask(gateway, faq(PASSWORD))
        await ask(gateway, faq(SAME))
        await settled(gateway)
        await gateway.journal.flush()
        totals = await gateway.storage.events.totals("here", None)
        told = (await listing.summary(gateway, "here", totals, money=True))["t2"]
        other = (await listing.summary(gateway, "there", totals, money=True))["t2"]
    assert (told["hits"], told["labelled_hits"], told["false_hits"], told["state"]) == (1, 1, 1, "breached")
    assert (told["max_error_rate"], told["embedder"], told["vector_store"]) == (0.05, "local", "numpy")
    assert told["interval"][0] > 0.05
    assert (other["false_hit_rate"], other["labels"], other["state"]) == (None, 0, "uncalibrated")


async def test_a_broken_bound_raises_one_alert_and_the_wronged_are_listed():
    async with proven() as gateway:
        for number in range(12):
            await ask(gateway, faq(f"{PASSWORD} {'please ' * number}"))
            tier = gateway.tiers["semantic"]
            hit = (await ask(gateway, faq(f"{'Kindly ' * (number + 1)}tell me: {SAME}"))).hit
            if hit is not None:
                await forget(gateway, "here", hit.entry_id)
            await settled(gateway)
        (told,) = [each for each in tier.precision("here") if each.task == "faq"]
        alerts = await gateway.storage.repositories.alerts.of_org("here")
        await gateway.journal.flush()
        wronged = await listing.wronged(gateway, "here")
        strangers = await listing.wronged(gateway, "there")
    assert told.state == "breached"
    (alert,) = alerts
    assert (alert.anomaly_type, alert.severity) == ("false_hits", "critical")
    assert alert.metric_name == "false_hits:faq"
    assert len(wronged) == told.false_hits > 0
    assert {each["found_by"] for each in wronged} == {"feedback"}
    assert strangers == []


async def test_clearing_spares_the_entries_of_others_and_rows_tell_hits():
    bench = Bench()
    await bench.learn(PASSWORD, "Click reset.")
    assert await bench.get(question(SAME), HERE) is not None
    (row,) = [row async for row in bench.tier.rows("here")]
    assert (row.hits, row.query, row.completion.text) == (1, PASSWORD, say("Click reset.").text)
