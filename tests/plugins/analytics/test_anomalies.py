"""Each row of the table of anomalies fires where it says and nowhere else; the window under test is no part of its own
baseline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from asahi_analytics.anomalies import RULES, Past, _chance, fired
from asahi_kernel.records import Event
from asahi_kernel.rollups import Sums, count, floor

AT = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)


def request(minutes_ago: float, **fields) -> Event:
    values = {"cost": 1_000_000, "latency_ms": 100.0, "quality_score": 4.0, "status": "ok"} | fields
    moment = AT - timedelta(minutes=minutes_ago)
    return Event(request_id=str(minutes_ago), timestamp=moment, org_id="here", route="/infer", **values)


def past(*events: Event) -> Past:
    found = []
    for granularity in ("minute", "hour"):
        buckets: dict[datetime, Sums] = {}
        for event in events:
            count(buckets.setdefault(floor(event.timestamp, granularity), Sums(saved_by={}, sketch={})), event)
        found.append(sorted(buckets.items()))
    return Past(*found)


def steady(hours: float = 25, each: float = 10, **fields) -> list[Event]:
    """A request every ten minutes until an hour ago."""
    return [request(60 + each * number + 0.5, **fields) for number in range(int(hours * 60 / each))]


def last_hour(number: int = 30, **fields) -> list[Event]:
    return [request(0.5 + 59 * each / number, **fields) for each in range(number)]


def found(*events: Event) -> dict:
    return {each.anomaly_type: each for each in fired(past(*events), AT)}


def test_nothing_fires_on_steady_traffic_nor_on_none():
    assert found(*steady(), *last_hour()) == {}
    assert found() == {}


def test_a_spike_in_the_last_hour_is_found_at_its_true_size():
    """AN-4. Were the hour part of the baseline, the factor would be less."""
    spike = found(*steady(), *last_hour(cost=4_000_000))["cost_spike"]
    assert spike.current == pytest.approx(0.004)
    assert spike.expected == pytest.approx(0.001)
    assert spike.deviation_pct == pytest.approx(300)
    assert spike.critical


@pytest.mark.parametrize(
    ("cost", "severity"), [(1_990_000, None), (2_000_000, False), (2_990_000, False), (3_000_000, True)]
)
def test_cost_spike_from_twice_and_critical_from_three_times(cost, severity):
    spike = found(*steady(), *last_hour(cost=cost)).get("cost_spike")
    assert (spike and spike.critical) == severity


def test_no_baseline_below_fifty_requests():
    assert "cost_spike" not in found(*steady(hours=8), *last_hour(cost=9_000_000))
    assert "cost_spike" in found(*steady(hours=8.5), *last_hour(cost=9_000_000))


@pytest.mark.parametrize(("factor", "severity"), [(1.9, None), (2.5, False), (3.5, True)])
def test_daily_cost_spike(factor, severity):
    """Every hour the same; the last day costs more a request."""
    week = [request(60 * each + 30) for each in range(24, 24 * 8)]
    day = [request(60 * each + 30, cost=int(1_000_000 * factor)) for each in range(24)]
    spike = found(*week, *day).get("daily_cost_spike")
    assert (spike and spike.critical) == severity
    if spike:
        assert spike.current == pytest.approx(0.024 * factor)
        assert spike.expected == pytest.approx(0.024)


@pytest.mark.parametrize(("latency", "severity"), [(190, None), (220, False), (320, True)])
def test_latency_spike(latency, severity):
    spike = found(*steady(), *last_hour(latency_ms=latency)).get("latency_spike")
    assert (spike and spike.critical) == severity


def test_latency_needs_five_old_and_three_new():
    assert "latency_spike" in found(*steady(hours=5, each=60), *last_hour(3, latency_ms=900))
    assert "latency_spike" not in found(*steady(hours=4, each=60), *last_hour(3, latency_ms=900))
    assert "latency_spike" not in found(*steady(hours=5, each=60), *last_hour(2, latency_ms=900))


@pytest.mark.parametrize(
    ("number", "failed", "severity"), [(19, 5, None), (120, 1, None), (100, 1, False), (100, 4, False), (100, 5, True)]
)
def test_error_rate(number, failed, severity):
    good, bad = last_hour(number - failed), last_hour(failed, status="failed")
    anomaly = found(*steady(), *good, *bad).get("error_rate")
    assert (anomaly and anomaly.critical) == severity


def cached(rate: float, events: list[Event]) -> list[Event]:
    hits = round(rate * len(events))
    return [
        request((AT - each.timestamp) / timedelta(minutes=1), cache_hit=at < hits, cache_tier=int(at < hits), cost=0)
        for at, each in enumerate(events)
    ]


@pytest.mark.parametrize(
    ("before", "now", "severity"),
    [(0.6, 0.32, None), (0.6, 0.29, False), (0.6, 0.14, True), (0.22, 0.09, False), (0.0, 0.0, None)],
)
def test_cache_degradation(before, now, severity):
    anomaly = found(*cached(before, steady()), *cached(now, last_hour(200))).get("cache_degradation")
    assert (anomaly and anomaly.critical) == severity


def test_a_hit_rate_of_few_look_ups_is_no_finding():
    assert "cache_degradation" not in found(*cached(0.5, steady()), *cached(0.0, last_hour(3)))


@pytest.mark.parametrize(("quality", "severity"), [(3.6, None), (3.5, False), (3.0, True)])
def test_quality_drop_in_the_last_quarter(quality, severity):
    old, new = last_hour(30, quality_score=4.0), last_hour(10, quality_score=quality)
    early = [request(120 + each, quality_score=4.0) for each in range(30)]
    anomaly = found(*early, *new).get("quality_drop")
    assert old
    assert (anomaly and anomaly.critical) == severity


def test_quality_needs_five_samples():
    samples = [request(50, quality_score=4.0) for _ in range(3)] + [request(1, quality_score=1.0)]
    assert "quality_drop" not in found(*samples)
    assert "quality_drop" in found(*samples, request(50, quality_score=4.0))


def test_an_unknown_price_is_told():
    assert found(*steady(), *last_hour(cost=None))["price_unknown"].current == 30


def test_every_rule_can_be_asked_of_a_minute_in_the_past():
    whole = past(*steady(), *last_hour(cost=9_000_000, latency_ms=900))
    assert {each.anomaly_type for each in fired(whole, AT)} == {"cost_spike", "latency_spike"}
    assert fired(whole, AT - timedelta(minutes=61)) == []
    assert set(RULES) >= {"cost_spike", "latency_spike"}


def test_one_slow_request_is_no_latency_spike_and_two_are():
    assert "latency_spike" not in found(*steady(), *last_hour(9), request(5, latency_ms=900))
    assert "latency_spike" in found(*steady(), *last_hour(9), request(5, latency_ms=900), request(6, latency_ms=900))


def test_a_few_dear_requests_are_no_cost_spike_where_costs_vary_as_much():
    """Every tenth request costs as much as the other nine together, and by chance two came in a quiet hour."""
    varied = [request(60 + 5 * each + 0.5, cost=9_000_000 if each % 10 == 0 else 1_000_000) for each in range(288)]
    hour = [*last_hour(4), request(5, cost=9_000_000), request(6, cost=9_000_000)]
    assert "cost_spike" not in found(*varied, *hour)
    assert "cost_spike" in found(*varied, *last_hour(60, cost=9_000_000))


@pytest.mark.parametrize(("hits", "asked", "rate", "chance"), [(0, 10, 0.5, 2**-10), (1, 3, 0.5, 0.5), (9, 9, 0.5, 1)])
def test_the_chance_of_so_few_hits_is_the_binomial_one(hits, asked, rate, chance):
    assert _chance(hits, asked, rate) == pytest.approx(chance)


def test_the_bound_for_many_look_ups_is_above_the_chance_itself():
    assert _chance(700, 2_000, 0.4) < _chance(701, 2_001, 0.4) < 0.001
