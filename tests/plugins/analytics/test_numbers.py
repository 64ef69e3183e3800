"""Every answer equals what the events come to by hand: 10,000 of them, in memory, SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from tests.plugins.analytics import kit
from tests.plugins.analytics.kit import Events, Hand, run

from asahi_analytics.spending import DIMENSIONS
from asahi_kernel.rollups import ACCURACY

ENGINES = ["memory", "sqlite", "postgres"]
PERIODS = ["hour", "day", "week", "month"]
COUNT = 10_000


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module", params=ENGINES)
def world(request, loop, tmp_path_factory):
    """The same traffic in a storage of each engine; `ask` runs a report in its loop."""
    events = kit.traffic(COUNT)
    url = request.getfixturevalue("database_url") if request.param == "postgres" else None
    opening = kit.stored(request.param, tmp_path_factory.mktemp("books"), url)
    storage = loop.run(opening.__aenter__())

    async def fill():
        for batch in kit.batches(events):
            await storage.books.post(batch)

    loop.run(fill())
    gateway = kit.gateway_of(storage)

    def ask(name, org="here", *, money=True, **query):
        return loop.run(run(gateway, name, org, money=money, **query))

    yield SimpleNamespace(events=events, of=Events(events).of, ask=ask, gateway=gateway, storage=storage)
    loop.run(opening.__aexit__(None, None, None))


def dollars(nano):
    return pytest.approx(nano / 1e9, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("period", PERIODS)
def test_cost_summary(world, period):
    told = world.ask("cost-summary", period=period)
    hand = world.of(told)
    assert told.end - told.start >= {"hour": timedelta(hours=1), "day": timedelta(days=1)}.get(period, timedelta(7))
    assert hand.requests > 50
    assert told.data["total_requests"] == hand.requests
    assert told.data["total_cost"] == dollars(hand.cost())
    assert told.data["baseline_cost"] == dollars(hand.total("baseline_cost"))
    assert told.data["overhead_cost"] == dollars(hand.total("overhead_cost"))
    assert told.data["absolute_savings"] == dollars(hand.total("saved"))
    assert told.data["savings_percent"] == pytest.approx(100 * hand.total("saved") / hand.total("baseline_cost"))
    assert told.data["cache_hit_rate"] == pytest.approx(hand.hit_rate())
    assert told.data["cache_cost_saved"] == dollars(sum(each.saved for each in hand.events if each.cache_hit))
    assert told.data["avg_quality"] == pytest.approx(hand.quality(), abs=5e-4)
    assert told.data["avg_latency_ms"] == pytest.approx(hand.latency(), rel=1e-5)
    assert told.data["unpriced_requests"] == sum(each.cost is None for each in hand.everything)


FIELDS = {"model": "model_selected", "user": "user_id", "key": "key_id", "tier": "cache_tier"}


@pytest.mark.parametrize("group_by", DIMENSIONS)
def test_cost_breakdown(world, group_by):
    told = world.ask("cost-breakdown", group_by=group_by, period="week")
    field = {"model": "model_selected", "user": "user_id", "key": "key_id", "tier": "cache_tier"}.get(
        group_by, group_by
    )
    found = {}
    for event in world.of(told).everything:
        value = getattr(event, field)
        name = ("miss", "t1", "t2", "t3")[value] if group_by == "tier" else value or "(none)"
        found.setdefault(name, []).append(event)
    assert set(told.data) == set(found)
    assert list(told.data.values()) == sorted(told.data.values(), reverse=True)
    rows = {row[group_by]: row for row in told.more["rows"]}
    for name, events in found.items():
        hand = Hand(events)
        assert told.data[name] == rows[name]["cost"] == dollars(hand.cost())
        assert rows[name]["requests"] == hand.requests
        assert rows[name]["input_tokens"] == sum(each.input_tokens for each in hand.events)
        assert rows[name]["output_tokens"] == sum(each.output_tokens for each in hand.events)
        assert rows[name]["baseline"] == dollars(hand.total("baseline_cost"))
        assert rows[name]["saved"] == dollars(hand.total("saved"))
        assert rows[name]["unpriced"] == sum(each.cost is None for each in events)
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)


def test_a_cost_that_nobody_knows_is_null_and_not_zero():
    from asahi_analytics.spending import cost_of
    from asahi_kernel.rollups import Sums

    assert cost_of(Sums(requests=2, unpriced=2)) is None
    assert cost_of(Sums(requests=2, unpriced=1, cost=5)) == 5e-9
    assert cost_of(Sums(requests=2)) == 0


def test_cost_breakdown_by_two_beside_the_stretch_before(world):
    told = world.ask("cost-breakdown", subgroup="user", period="week", compare="previous")
    before = SimpleNamespace(start=told.start - (told.end - told.start), end=told.start)
    assert len(told.more["rows"]) > 12
    for row in told.more["rows"]:
        named = {
            "model_selected": row["model"].replace("(none)", ""),
            "user_id": row["user"].replace("(none)", "") or None,
        }
        assert row["cost"] == dollars(world.of(told, **named).cost())
        assert row["previous_cost"] == dollars(world.of(before, **named).cost())


METRICS = {
    "cost": lambda hand: hand.cost() / 1e9,
    "saved": lambda hand: hand.total("saved") / 1e9,
    "requests": lambda hand: hand.requests,
    "errors": lambda hand: hand.errors,
    "tokens": lambda hand: sum(each.input_tokens + each.output_tokens for each in hand.events),
    "latency": lambda hand: hand.latency(),
    "cache_hit_rate": lambda hand: hand.hit_rate(),
    "quality": lambda hand: hand.quality(),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "query",
    [
        {"period": "hour", "intervals": 30},
        {"period": "day", "intervals": 45},
        {"period": "day", "intervals": 14, "tz": "Asia/Kolkata"},
        {"period": "week", "intervals": 5, "tz": "America/New_York"},
        {"period": "month", "intervals": 2},
    ],
    ids=lambda query: "-".join(map(str, query.values())),
)
def test_trends_are_recomputed_from_raw_events(world, metric, query):
    """AN-5."""
    told = world.ask("trends", metric=metric, **query)
    starts = [point["timestamp"] for point in told.data]
    assert len(starts) == query["intervals"]
    check_points(world, told, metric, [*starts, told.end])
    assert told.data[-1]["partial"]
    assert not any("partial" in point for point in told.data[:-1])


def check_points(world, told, metric, edges):
    for point, (start, end) in zip(told.data, pairwise(edges), strict=True):
        hand = world.of(SimpleNamespace(start=start, end=end))
        wanted = METRICS[metric](hand)
        assert point["value"] == (wanted if wanted is None else pytest.approx(wanted, rel=2e-5, abs=5e-4))
        if metric == "latency" and hand.events:
            assert point["p95"] == pytest.approx(hand.percentile(95), rel=1.01 * ACCURACY)


def test_days_begin_at_midnight_in_the_zone(world):
    """To the minute as long as minutes are kept, then at the next whole hour."""
    told = world.ask("trends", period="day", intervals=9, tz="Asia/Kolkata")
    starts = [(point["timestamp"].hour, point["timestamp"].minute) for point in told.data]
    assert starts[-1] == (18, 30)
    assert starts[0] == (19, 0)
    assert set(starts) == {(18, 30), (19, 0)}
    whole = world.ask("trends", period="day", intervals=9, tz="Europe/Madrid")
    assert {point["timestamp"].minute for point in whole.data} == {0}


def test_trends_between_two_times_are_cut_where_they_begin_and_end(world):
    end = datetime.now(UTC) - timedelta(hours=3, minutes=7, seconds=11)
    start = end - timedelta(days=2, minutes=13)
    told = world.ask("trends", metric="requests", from_=start.isoformat(), to=end.isoformat(), intervals=60)
    starts = [point["timestamp"] for point in told.data]
    assert 40 < len(starts) <= 60
    assert (starts[0], told.end) == (start, end)
    check_points(world, told, "requests", [*starts, end])
    assert sum(point["value"] for point in told.data) == world.of(told).requests


def test_trends_split_by_model_and_by_tier_add_up(world):
    for split, field in (("model", "model_selected"), ("tier", "cache_tier")):
        told = world.ask("trends", metric="requests", period="day", intervals=10, split_by=split)
        assert all(sum(point["by"].values()) == point["value"] for point in told.data)
        names = {name for point in told.data for name in point["by"]}
        assert len(names) == len({getattr(event, field) for event in world.of(told).everything})


def test_cache_performance(world):
    told = world.ask("cache-performance", period="month")
    hand = world.of(told)
    tiers = {tier: world.of(told, cache_tier=tier, cache_hit=True) for tier in (1, 2, 3)}
    for tier, part in tiers.items():
        found = told.data[f"tier_{tier}"]
        later = sum(tiers[each].hits for each in range(tier + 1, 4))
        assert found["hits"] == part.hits > 0
        assert found["misses"] == hand.misses + later
        assert found["hit_rate"] == pytest.approx(part.hits / (part.hits + hand.misses + later))
        assert found["avg_latency_ms"] == pytest.approx(part.latency(), rel=1e-5)
        assert found["cost_saved"] == dollars(part.total("saved"))
    assert told.data["overall_hit_rate"] == pytest.approx(hand.hit_rate())


@pytest.mark.parametrize("query", [{}, {"tier": 1}, {"model": "mistral-7b"}, {"model": "mistral-7b", "tier": 0}])
def test_latency_percentiles_within_one_percent(world, query):
    told = world.ask("latency-percentiles", period="week", **query)
    fields = {{"tier": "cache_tier", "model": "model_selected"}[name]: value for name, value in query.items()}
    hand = world.of(told, **fields)
    assert told.data["count"] == hand.requests > 0
    for share in (50, 75, 90, 95, 99):
        assert told.data[f"p{share}"] == pytest.approx(hand.percentile(share), rel=1.01 * ACCURACY)


def test_model_performance(world):
    told = world.ask("model-performance", period="month")
    assert {row["model"] for row in told.data} == {*kit.MODELS, "(none)"}
    for row in told.data:
        hand = world.of(told, model_selected=row["model"].replace("(none)", ""))
        assert (row["requests"], row["hits"]) == (hand.requests, hand.hits)
        assert row["cost"] == dollars(hand.cost())
        assert row["error_rate"] == pytest.approx(hand.errors / hand.requests)
        assert row["p95"] == pytest.approx(hand.percentile(95), rel=1.01 * ACCURACY)
        assert row["avg_quality"] == pytest.approx(hand.quality(), abs=5e-4)


def test_recent_inferences_page_through_all_of_an_org(world):
    wanted = sorted((event.request_id for event in world.events if event.org_id == "there"), reverse=True)
    found, cursor = [], {}
    while True:
        told = world.ask("recent-inferences", "there", limit=500, **cursor)
        found += [row["request_id"] for row in told.data["inferences"]]
        assert told.data["count"] == len(told.data["inferences"])
        if told.data["next_cursor"] is None:
            break
        cursor = {"cursor": told.data["next_cursor"]}
    assert found == wanted


def test_recent_inferences_by_model_user_and_tier(world):
    told = world.ask("recent-inferences", model="mistral-7b", user_id="ann", tier=1, limit=500)
    wanted = [
        event
        for event in world.events
        if (event.org_id, event.model_selected, event.user_id, event.cache_tier) == ("here", "mistral-7b", "ann", 1)
    ]
    assert {row["request_id"]: row["saved"] for row in told.data["inferences"]} == {
        event.request_id: dollars(event.saved) for event in wanted
    }


def test_savings(world):
    told = world.ask("savings", detail="true")
    hand = world.of(told)
    assert told.data["saved"] == dollars(hand.total("saved"))
    assert told.data["saved"] == pytest.approx(
        told.data["baseline_cost"] - told.data["cost"] - told.data["overhead_cost"], rel=1e-9
    )
    by_hand = {}
    for event in hand.everything:
        for name, amount in event.saved_by.items():
            by_hand[name] = by_hand.get(name, 0) + amount
    assert told.data["saved_by"] == {name: dollars(amount) for name, amount in by_hand.items()}
    assert told.data["ledger"]["size"] == sum(event.org_id == "here" for event in world.events)
    comparison = told.data["comparison"]
    cached = sum(event.saved for event in hand.events if event.cache_hit)
    assert comparison["cache_contribution_pct"] == pytest.approx(100 * cached / hand.total("saved"))
    assert comparison["savings_pct"] == pytest.approx(100 * hand.total("saved") / hand.total("baseline_cost"))
    top = told.data["top_cost_drivers"][0]
    assert top["cost"] == dollars(world.of(told, model_selected=top["model"], task_type=top["task_type"]).cost())
    assert len(told.data["top_cost_drivers"]) == 5
    assert 0.2 < told.data["predicted_hit_rate"]["rate"] < 0.6


def test_forecast_rests_on_the_complete_days(world):
    told = world.ask("forecast", horizon_days=7)
    days = {}
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for event in world.of(SimpleNamespace(start=midnight - timedelta(90), end=midnight)).everything:
        days[event.timestamp.date().isoformat()] = days.get(event.timestamp.date().isoformat(), 0) + (event.cost or 0)
    assert {day["date"]: day["value"] for day in told.data["history"]} == {
        day: dollars(cost) for day, cost in days.items()
    }
    assert told.data["forecast"]["predicted_cost"] == pytest.approx(week_ahead(days) / 1e9, rel=1e-9)


def week_ahead(days):
    """An EMA with alpha = 1/4 of the days, each divided by what its weekday comes to as a share of a line through all;
    the seven shares sum to seven."""
    assert len(days) >= 28
    costs = np.array([cost for _, cost in sorted(days.items())], float)
    weekdays = np.array([datetime.fromisoformat(day).weekday() for day in sorted(days)])
    line = np.polyval(np.polyfit(np.arange(len(costs)), costs, 1), np.arange(len(costs)))
    shares = np.array([costs[weekdays == day].sum() / line[weekdays == day].sum() for day in range(7)])
    evened = costs / (shares / shares.mean())[weekdays]
    average = evened[0]
    for value in evened[1:]:
        average += (value - average) / 4
    return 7 * average


def test_the_holdout_is_measured_on_the_newest_requests(world, monkeypatch):
    from asahi_analytics import spending
    from asahi_analytics.causal import Arm

    seen = []
    monkeypatch.setattr(spending, "take", lambda held, compared, event: seen.append(event.request_id))
    savings = type(world.gateway.settings.savings)(holdout_rate=0.05)
    settings = msgspec.structs.replace(world.gateway.settings, savings=savings)
    monkeypatch.setattr(world.gateway, "settings", settings)
    told = world.ask("cost-summary", period="month")
    wanted = sorted((event.request_id for event in world.of(told).everything), reverse=True)
    assert seen == wanted[: spending._ARMS]
    assert told.data["holdout"] is None
    assert Arm().count == 0


def test_summary_is_its_parts(world):
    told = world.ask("summary", period="week", compare="previous")
    hand = world.of(told)
    before = world.of(SimpleNamespace(start=told.start - (told.end - told.start), end=told.start))
    assert told.data["totals"]["total_cost"] == dollars(hand.cost())
    assert told.data["previous"]["total_cost"] == dollars(before.cost())
    assert sum(point["cost"] for point in told.data["series"]) == dollars(hand.cost())
    assert sum(point["t2_hits"] for point in told.data["series"]) == world.of(told, cache_tier=2).hits
    assert {row["model"]: row["cost"] for row in told.data["by_model"]} == {
        model: dollars(world.of(told, model_selected=model).cost()) for model in kit.MODELS
    }
    assert len(told.data["recent"]) == 20


def test_two_orgs_have_disjoint_numbers_and_the_operator_their_sum(world):
    """AN-2."""
    parts = [world.ask("cost-summary", org, period="month") for org in ("here", "there", "*")]
    costs = [told.data["total_cost"] for told in parts]
    for org, told in zip(("here", "there"), parts, strict=False):
        assert told.data["total_cost"] == dollars(world.of(told, org).cost())
    assert costs[2] == pytest.approx(costs[0] + costs[1])
    assert world.ask("cost-summary", "nobody").data["total_requests"] == 0


@pytest.mark.parametrize("name", kit.BY_NAME)
def test_an_org_without_events_has_zeros_and_empty_structures(world, name):
    told = world.ask(name, "nobody")
    said = {"timestamp", "partial", "mock", "root", "uptime_seconds", "period", "trend", "warning"}
    for key, value in leaves(told.data):
        assert key in said or value in (None, 0), (key, value)
    if name == "forecast":
        assert "at least 3" in told.data["forecast"]["warning"]


def leaves(value, key=""):
    if isinstance(value, dict):
        for inner, each in value.items():
            yield from leaves(each, inner)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each, key)
    else:
        yield key, value


@pytest.mark.parametrize("name", ["summary", "cache-performance", "model-performance", "recent-inferences"])
def test_without_view_cost_no_money_is_told(world, name):
    money = {"cost", "saved", "baseline_cost", "overhead_cost", "cost_saved", "total_cost", "absolute_savings"}
    money |= {"savings_percent", "cache_cost_saved", "saved_by"}
    for query in ({}, {"compare": "previous"} if name == "summary" else {}):
        shown = [key for key, value in leaves(world.ask(name, money=False, **query).data) if value is not None]
        assert not money & set(shown)
        assert money & {key for key, value in leaves(world.ask(name, **query).data) if value is not None}
