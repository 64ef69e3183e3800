"""Rules of an org's own: when they fire, when they cannot tell, and that every engine and worker tells the same."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.plugins.analytics import kit

from asahi_analytics.judging import ends_of, fired, holds, judge, limits_of, pace_of
from asahi_analytics.measures import METRICS, Reading
from asahi_analytics.rehearsing import rehearse
from asahi_analytics.ruling import RuleWatch, metric_of
from asahi_analytics.scoping import Reads
from asahi_analytics.sliding import back, slide
from asahi_analytics.telling import Teller
from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.identity import new_id
from asahi_kernel.records import Settled
from asahi_kernel.repositories.alert_rules import AlertRule
from asahi_kernel.repositories.budgets import Budget
from asahi_kernel.repositories.judgements import Label
from asahi_kernel.repositories.rules import OrgPolicy
from asahi_kernel.rollups import Sums, count, floor
from asahi_kernel.testing.samples import decision, event
from asahi_kernel.turns import my_turn

pytestmark = pytest.mark.anyio
#: Noon, so that a day's budget has begun twelve hours before.
NOW = datetime.now(UTC).replace(hour=12, minute=0, second=30, microsecond=0)
ENGINES = ("memory", "sqlite", "postgres")


def rule(**fields) -> AlertRule:
    given = {"name": "mine", "metric": "requests", "scope": "org", "direction": "over", "threshold": 10.0}
    given |= {"window_min": 5, "created_at": NOW, "updated_at": NOW, "rule_id": new_id(), "org_id": "here"}
    return AlertRule(**(given | fields))


def requests(number: int, ago: float, org: str = "here", **fields) -> list[Settled]:
    """So many requests, so many minutes ago."""
    given = {"cost": 1_000_000_000, "baseline_cost": 0, "saved": 0, "saved_by": {}} | fields
    when = NOW - timedelta(minutes=ago)
    made = [event(org, request_id=new_id(), timestamp=when, **given) for _ in range(number)]
    return [Settled(each, decision(each)) for each in made]


async def filled(*batches, storage=None):
    storage = storage or MemoryStorage(100_000)
    for batch in batches:
        await storage.books.post(batch)
    return storage


def watch(storage, **tree):
    gateway = kit.gateway_of(storage, **tree)
    from asahi_kernel.standing import Standings

    gateway.standings = Standings(storage, gateway.settings.governance.default_policy, gateway.faults)
    return RuleWatch(gateway, storage, Teller(gateway.faults))


async def state(storage, mine, at=NOW, *, by=None):
    """Look once, as a worker would: the alerts of the rule, the newest first."""
    await (by or watch(storage)).look_at_all(at)
    return [
        each for each in await storage.repositories.alerts.of_org(mine.org_id) if metric_of(mine) in each.metric_name
    ]


@pytest.fixture(params=ENGINES)
async def storage(request, tmp_path):
    url = request.getfixturevalue("fresh_database_url") if request.param == "postgres" else None
    async with kit.stored(request.param, tmp_path, url) as opened:
        yield opened


class TestOneAlert:
    async def test_a_rule_raises_one_alert_and_resolves_it_after_the_quiet_time(self, storage):
        mine = rule()
        await storage.repositories.alert_rules.add(mine)
        await filled(requests(9, 2), storage=storage)
        assert await state(storage, mine) == []
        await filled(requests(1, 1), storage=storage)
        one = watch(storage)
        (alert,) = await state(storage, mine, by=one)
        assert (alert.anomaly_type, alert.severity, alert.current_value) == ("rule", "warning", 10.0)
        assert alert.message == "mine: the number of requests of the organisation is 10 requests within 5 minutes, " + (
            "at or over 10 requests"
        )
        for minutes in (1, 3, 17):  # the last time at which ten are within five minutes is in two
            (alert,) = await state(storage, mine, NOW + timedelta(minutes=minutes), by=one)
            assert alert.resolved_at is None, minutes
        later = NOW + timedelta(minutes=19)
        (alert,) = await state(storage, mine, later, by=one)
        assert alert.resolved_at == later
        assert one._gateway.faults["alerts.raised.rule"] == one._gateway.faults["alerts.resolved.rule"] == 1

    async def test_four_workers_raise_one(self, storage):
        mine = rule()
        await storage.repositories.alert_rules.add(mine)
        await filled(requests(12, 1), storage=storage)
        await asyncio.gather(*(watch(storage).look_at_all(NOW) for _ in range(4)))
        assert len(await storage.repositories.alerts.of_org("here")) == 1

    async def test_of_four_workers_one_looks(self, storage):
        turns = await asyncio.gather(*(my_turn(storage, "default", "t", 60) for _ in range(4)))
        assert sorted(turns) == [False, False, False, True]
        assert await my_turn(storage, "default", "another", 60)
        assert await my_turn(storage, "default", "short", 0.001)
        await asyncio.sleep(0.01)
        assert await my_turn(storage, "default", "short", 0.001), "who died is replaced"

    async def test_a_rule_that_was_changed_meanwhile_raises_nothing(self, storage):
        mine = rule()
        await storage.repositories.alert_rules.add(mine)
        await filled(requests(12, 1), storage=storage)
        one = watch(storage)
        pace = pace_of(mine)
        judged = await judge(one._gateway, mine, pace, ends_of(mine, pace, NOW, 1))
        await storage.repositories.alert_rules.save(mine)
        await one._raise(mine, judged[-1], NOW)
        await storage.repositories.alert_rules.remove("here", mine.rule_id)
        await one._raise(msgspec.structs.replace(mine, version=2), judged[-1], NOW)
        assert await storage.repositories.alerts.of_org("here") == []

    async def test_rules_that_look_at_the_same_read_it_once(self, storage):
        """And each comes to what it comes to alone."""
        dice = random.Random(7)
        await filled(
            *(requests(3, dice.random() * 400, latency_ms=dice.random() * 900) for _ in range(40)), storage=storage
        )
        metrics = ("requests", "p95_latency", "cost", "tokens", "error_rate")
        mine = [rule(metric=metric, threshold=0.5, window_min=window) for metric in metrics for window in (60, 5, 300)]
        for each in mine:
            await storage.repositories.alert_rules.add(each)
        one, reads = watch(storage), Counter()
        grouped = type(storage.rollups).grouped

        async def counted(self, *asked, **named):
            reads[named["detail"]] += 1
            return await grouped(self, *asked, **named)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(storage.rollups), "grouped", counted)
            await one.look_at_all(NOW)
        assert reads == {True: 1}, "the widest with latencies holds all the others"
        alerts = {each.metric_name: each.current_value for each in await storage.repositories.alerts.of_org("here")}
        for each in mine:
            pace = pace_of(each)
            (alone,) = await judge(one._gateway, each, pace, ends_of(each, pace, NOW, 1))
            assert alerts.get(metric_of(each), 0.0) == (alone.reading.value if alone.holds else 0.0)
        assert len(alerts) >= 6

    async def test_a_rule_that_cannot_be_looked_at_keeps_no_other_from_it(self):
        storage = await filled(requests(12, 1))
        for metric in ("no_such", "requests"):
            await storage.repositories.alert_rules.add(rule(metric=metric))
        one = watch(storage)
        await one.look_at_all(NOW)
        assert len(await storage.repositories.alerts.of_org("here")) == 1
        assert one._gateway.faults["alerts.rules"] == 1


class TestScopes:
    @pytest.mark.parametrize(
        ("scope", "subject", "field"),
        [
            ("key", "k1", "key_id"),
            ("user", "ann", "user_id"),
            ("model", "m1", "model_selected"),
            ("task", "t1", "task_type"),
        ],
    )
    async def test_a_scope_counts_its_own_alone(self, storage, scope, subject, field):
        await filled(
            requests(9, 1, **{field: subject}),
            requests(50, 1, **{field: "other"}),
            requests(50, 1, "there", **{field: subject}),
            storage=storage,
        )
        mine = rule(scope=scope, subject=subject)
        await storage.repositories.alert_rules.add(mine)
        assert await state(storage, mine) == []
        await filled(requests(1, 1, **{field: subject}), storage=storage)
        (alert,) = await state(storage, mine)
        assert f"of the {scope} {subject} is 10 requests" in alert.message

    @pytest.mark.parametrize("scope", ["org", "user"])
    async def test_windows_are_those_of_the_events(self, storage, scope):
        """Every step of every metric, recomputed from raw events."""
        dice = random.Random(3)
        batch = [
            each
            for _ in range(150)
            for each in requests(
                1,
                dice.random() * 300,
                user_id=dice.choice(("ann", "bob")),
                latency_ms=dice.random() * 900,
                status=dice.choice(("ok", "failed")),
                cost=dice.choice((None, 5_000_000, 9_000_000)),
            )
        ]
        await filled(batch, storage=storage)
        gateway = watch(storage)._gateway
        for metric in ("cost", "error_rate", "p95_latency", "hit_rate", "tokens", "requests"):
            mine = rule(metric=metric, window_min=37, scope=scope, subject="" if scope == "org" else "ann")
            pace = pace_of(mine)
            for each in await judge(gateway, mine, pace, ends_of(mine, pace, NOW, 240)):
                sums, start = Sums(saved_by={}, sketch={}), each.at - timedelta(minutes=37)
                for one in batch:
                    if start <= one.event.timestamp < each.at and scope in {
                        "org",
                        "user" if one.event.user_id == "ann" else "",
                    }:
                        count(sums, one.event)
                assert each.reading == METRICS[metric].read(sums), (metric, each.at)


class TestTelling:
    def test_at_the_threshold_is_over_and_not_under(self):
        over, under = rule(threshold=2.0), rule(threshold=2.0, direction="under")
        assert [holds(over, Reading(value, 9)) for value in (1.9, 2.0, 2.1)] == [False, True, True]
        assert [holds(under, Reading(value, 9)) for value in (1.9, 2.0, 2.1)] == [True, False, False]

    def test_too_few_requests_say_nothing(self):
        mine = rule(metric="error_rate", threshold=0.05, min_requests=20)
        assert holds(mine, Reading(1.0, 19)) is False
        assert holds(mine, Reading(1.0, 20)) is True
        assert holds(mine, Reading(None, 0)) is False

    def test_an_unknown_price_is_never_zero(self):
        """A sum that is only a lower bound is surely over, but never surely not, and never under."""
        over, under = rule(metric="cost", threshold=2.0), rule(metric="cost", threshold=2.0, direction="under")
        assert [holds(over, Reading(value, 9, 1)) for value in (1.0, 2.0)] == [None, True]
        assert [holds(under, Reading(value, 9, 1)) for value in (1.0, 2.0)] == [None, False]

    async def test_what_cannot_be_told_resolves_no_alert(self):
        mine = rule(metric="cost", threshold=5.0)
        storage = await filled(requests(5, 1))
        await storage.repositories.alert_rules.add(mine)
        one = watch(storage)
        assert len(await state(storage, mine, by=one)) == 1
        await filled(requests(1, -28, cost=None), storage=storage)
        (alert,) = await state(storage, mine, NOW + timedelta(minutes=30), by=one)
        assert alert.resolved_at is None
        assert one._gateway.faults["alerts.rules.unpriced"] == 1
        (alert,) = await state(storage, mine, NOW + timedelta(minutes=40), by=one)
        assert alert.resolved_at is not None

    async def test_it_must_hold_for_as_long_as_it_says(self):
        mine = rule(for_min=10)
        storage = await filled(*(requests(3, ago) for ago in range(9)))
        await storage.repositories.alert_rules.add(mine)
        assert await state(storage, mine) == [], "it holds for six minutes"
        await filled(*(requests(3, ago) for ago in range(9, 16)), storage=storage)
        assert len(await state(storage, mine)) == 1

    async def test_under_means_whole_minutes_and_silence_counts(self):
        """A minute that has just begun has had few requests only so far; no request at all is a known zero."""
        mine = rule(direction="under", window_min=5)
        storage = await filled(*(requests(2, ago) for ago in range(1, 6)))
        await storage.repositories.alert_rules.add(mine)
        assert await state(storage, mine) == []
        (alert,) = await state(storage, mine, NOW + timedelta(minutes=1))
        assert alert.current_value == 8.0
        silent = rule(org_id="silent", direction="under")
        await storage.repositories.alert_rules.add(silent)
        assert len(await state(storage, silent)) == 1

    async def test_windows_of_days_are_looked_at_by_the_hour(self):
        mine = rule(window_min=3 * 1_440, threshold=20.0, for_min=120)
        assert (pace_of(mine).granularity, pace_of(mine).hold) == ("hour", 2)
        storage = await filled(requests(19, 60 * 30), requests(1, 60))
        await storage.repositories.alert_rules.add(mine)
        assert await state(storage, mine) == []
        assert len(await state(storage, mine, NOW + timedelta(hours=1))) == 1


class TestMetrics:
    async def test_money_counts_what_finding_out_cost_too(self):
        storage = await filled(requests(2, 1, overhead_cost=500_000_000))
        (row,) = await Reads(storage).rows(rule(metric="cost"), "minute", (NOW - timedelta(minutes=5), NOW))
        assert METRICS["cost"].read(row[1]).value == 3.0

    async def test_false_hits_are_the_checked_ones(self, storage):
        def label(ago, source, correct):
            when = NOW - timedelta(minutes=ago)
            return Label(org_id="here", entry_id="e", similarity=0.9, correct=correct, source=source, timestamp=when)

        mine = rule(metric="false_hit_rate", threshold=0.25, min_requests=4, window_min=60)
        await storage.repositories.alert_rules.add(mine)
        checked = [label(5, "recheck", True), label(6, "feedback", False), label(7, "recheck", True)]
        await storage.repositories.labels.save([*checked, *(label(5, "miss", False) for _ in range(9))])
        assert await state(storage, mine) == []
        await storage.repositories.labels.save([label(8, "recheck", True)])
        (alert,) = await state(storage, mine)
        assert alert.current_value == 0.25

    async def test_a_budgets_share_is_of_the_fullest_since_its_window_began(self, storage):
        mine = rule(metric="budget_share", threshold=0.9)
        await storage.repositories.alert_rules.add(mine)
        one = watch(storage)
        assert await limits_of(one._gateway, mine) == []
        assert await state(storage, mine, by=one) == []
        for window, limit in (("day", 10), ("month", 1_000)):
            await storage.budgets.save(
                Budget(
                    budget_id=new_id(), org_id="here", level="org", subject="here", window=window, limit=limit * 10**9
                )
            )
        await storage.repositories.policies.save_policy(
            OrgPolicy(org_id="here", updated_at=NOW, max_cost_per_day=9 * 10**9, max_cost_per_month=None)
        )
        one = watch(storage)
        await filled(requests(8, 60 * 11), requests(40, 60 * 13), storage=storage)
        assert await state(storage, mine, by=one) == [], "8 of 9 dollars since midnight, 48 of 1,000 this month"
        await filled(requests(1, 30), storage=storage)
        (alert,) = await state(storage, mine, by=one)
        assert alert.current_value == 1.0
        assert (
            alert.message == "mine: the used share of the fullest budget of the organisation is 100 %, at or over 90 %"
        )
        at_night = NOW + timedelta(hours=12, minutes=30)
        (alert,) = await state(storage, mine, at_night, by=one)
        assert alert.resolved_at is None, "it fired in the hour before"
        (alert,) = await state(storage, mine, at_night + timedelta(minutes=30), by=one)
        assert alert.resolved_at is not None


class TestRehearsal:
    async def test_it_would_have_fired_as_often_as_it_really_does(self, storage):
        """Short windows: looked at minute by minute, the service raises the same alerts."""
        bursts = (5, 90, 95, 400, 1_200)
        await filled(*(requests(12, ago) for ago in bursts), storage=storage)
        mine = rule()
        told = await rehearse(watch(storage)._gateway, mine, NOW)
        begun = floor(NOW, "minute") + timedelta(minutes=1)
        assert (told.fired, told.step_minutes, told.unknown) == (4, 1, 0)
        assert [begun - each.at for each in told.times] == [timedelta(minutes=ago) for ago in (1_200, 400, 95, 5)]
        assert {each.value for each in told.times} == {12.0}

    async def test_the_service_raises_what_was_foretold(self):
        dice = random.Random(5)
        storage = await filled(*(requests(dice.randint(1, 9), dice.random() * 240) for _ in range(60)))
        mine = rule(threshold=14.0, for_min=2)
        told = await rehearse(watch(storage)._gateway, mine, NOW)
        await storage.repositories.alert_rules.add(mine)
        one = watch(storage)
        for ago in reversed(range(300)):
            await one.look_at_all(NOW - timedelta(minutes=ago))
        raised = await storage.repositories.alerts.of_org("here", limit=500)
        assert len(raised) == told.fired >= 2
        seen = sorted(floor(each.detected_at, "minute") + timedelta(minutes=1) for each in raised)
        assert seen == [each.at for each in told.times]

    async def test_long_windows_look_back_thirty_days_by_the_hour(self, storage):
        day = 1_440
        await filled(*(requests(12, ago) for ago in (10, 4 * day, 25 * day, 29 * day, 33 * day)), storage=storage)
        told = await rehearse(watch(storage)._gateway, rule(window_min=120), NOW)
        assert (told.fired, told.step_minutes) == (4, 60)
        assert told.now == 12.0
        under = await rehearse(watch(storage)._gateway, rule(window_min=120, direction="under"), NOW)
        assert under.start > NOW - timedelta(days=30), "what is before the first request is not silence"
        assert under.fired == 3

    async def test_what_fires_in_a_step_that_is_not_over_fires_now(self):
        storage = await filled(requests(12, 0.25))
        for window in (5, 60):
            told = await rehearse(watch(storage)._gateway, rule(window_min=window), NOW)
            assert [each.at for each in told.times] == [NOW]

    async def test_of_no_request_nothing_is_foretold(self):
        told = await rehearse(watch(MemoryStorage(10))._gateway, rule(direction="under"), NOW)
        assert (told.fired, told.now, told.sample) == (0, None, 0)

    async def test_unknown_prices_are_told(self):
        storage = await filled(requests(1, 60 * 5, cost=None))
        told = await rehearse(watch(storage)._gateway, rule(metric="cost", window_min=60), NOW)
        assert (told.fired, told.unknown) == (0, 1)


def test_each_bucket_is_taken_away_again():
    rows = [
        (NOW + timedelta(minutes=each), Sums(requests=1, cost=each, sketch={each: 2}, saved_by={})) for each in range(9)
    ]
    ends = [NOW + timedelta(minutes=each) for each in range(14)]
    told = [(held.requests, held.cost, dict(held.sketch)) for held in slide(rows, ends, back(timedelta(minutes=3)))]
    assert told[3] == (3, 3, {0: 2, 1: 2, 2: 2})
    assert told[-1] == (0, 0, {})


def test_a_run_is_counted_from_its_beginning():
    mine = rule(for_min=2)
    pace = pace_of(mine)
    made = [type("J", (), {"holds": each})() for each in (True, True, True, True, False, True, None, True)]
    assert fired(made, pace) == [False, False, True, True, False, False, False, False]
