"""What is counted, and how it reads: exact sums, sound labels, two text forms that real parsers take."""

from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from asahi_kernel.records import OWN, Attempt
from asahi_kernel.testing.samples import event
from asahi_telemetry.counting import Counting, count_faults
from asahi_telemetry.families import ALL, BY_NAME
from asahi_telemetry.metrics import added_up, derived
from asahi_telemetry.tally import MOST, Gauge, Tally
from asahi_telemetry.text import exact, render

HARD = 'a "quoted" \\ name\nof two lines'


def told(tally, form=plain, gauges=None, *, org_label=False):
    """Every sample by its name and labels, as a parser of Prometheus' own reads it."""
    now = derived(tally) | (gauges or {})
    text = render(tally, now, openmetrics=form is openmetrics, org_label=org_label).decode()
    found = {}
    for family in form(text):
        assert family.documentation
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def counted(*events, org_label=False):
    tally = Tally()
    counting = Counting(tally, org_label=org_label)
    for each in events:
        counting.count(each)
    return tally


def of(found, name, **labels):
    return found[name, tuple(sorted(labels.items()))]


MIXED = (
    event(
        model_selected=HARD,
        latency_ms=7.25,
        ttft_ms=6.5,
        latency_breakdown={"admission": 0.2, "inference": 6.5},
        input_tokens=11,
        output_tokens=51,
        cost=123_456_789_012_345_678,
        quality_score=4.0,
        attempts=(
            Attempt(n=1, provider="openai", model="m", outcome="http_503"),
            Attempt(n=2, provider="openai", model="m", outcome="ok"),
        ),
    ),
    event(cache_hit=True, cache_tier=2, cost=0, saved=30, saved_by={"semantic_cache": 30}),
    event(status="failed", error="provider_error", cost=7, saved=-7, saved_by={"failed_attempts": -7}),
    event(status="denied", error="budget_exceeded", cost=0),
    event(cost=None),
    event(route=OWN, cost=0, overhead_cost=5, baseline_cost=0, saved=-5, saved_by={"semantic_cache": -5}),
)


@pytest.mark.parametrize("form", [plain, openmetrics])
def test_both_forms_are_read_by_a_real_parser_and_say_the_same(form):
    found = told(counted(*MIXED), form, {("asahi_build_info", ("1", "production")): 1.0})
    model = {"model": HARD}
    assert of(found, "asahi_requests_total", **model, task_type="general", cache_tier="0", status="ok") == 1
    assert of(found, "asahi_cost_dollars_total", **model) == 123456789.012345678
    assert of(found, "asahi_savings_dollars", technique="semantic_cache") == 25e-9
    assert of(found, "asahi_savings_dollars_total", technique="semantic_cache") == 30e-9
    assert of(found, "asahi_savings_dollars", technique="failed_attempts") == -7e-9
    assert of(found, "asahi_provider_attempts_total", provider="openai", outcome="http_503") == 1
    assert of(found, "asahi_errors_total", error_type="provider_error", component="request") == 1
    assert of(found, "asahi_build_info", version="1", profile="production") == 1
    assert of(found, "asahi_quality_score", **model) == 4.0
    assert of(found, "asahi_unpriced_requests_total") == 1


def test_what_asahi_asks_itself_only_costs():
    found = told(counted(event(route=OWN, cost=3, overhead_cost=5)))
    assert of(found, "asahi_overhead_dollars_total", model="model-a") == 5e-9
    assert not [name for name, _ in found if name.startswith(("asahi_requests", "asahi_baseline", "asahi_latency"))]


def test_histograms_carry_their_labels_and_add_up():
    """AN-6."""
    found = told(counted(*MIXED))
    for family in (each for each in ALL if each.bounds):
        buckets = [(dict(labels), value) for (name, labels), value in found.items() if name == f"{family.name}_bucket"]
        assert buckets, family.name
        for labels, _ in buckets:
            assert set(labels) == {*family.labels, "le"}
        for labels in {tuple(sorted((k, v) for k, v in each.items() if k != "le")) for each, _ in buckets}:
            row = [
                value for each, value in buckets if tuple(sorted(set(each.items()) - {("le", each["le"])})) == labels
            ]
            assert row == sorted(row)
            assert len(row) == len(family.bounds) + 1
            assert row[-1] == found[f"{family.name}_count", labels]
    labels = {"model": HARD, "cache_tier": "0"}
    assert of(found, "asahi_latency_ms_bucket", **labels, le="5.0") == 0
    assert of(found, "asahi_latency_ms_bucket", **labels, le="10.0") == 1
    assert of(found, "asahi_latency_ms_sum", **labels) == 7.25
    assert of(found, "asahi_token_count_bucket", direction="output", le="100.0") > 0
    assert ("asahi_overhead_ms_count", (("stage", "inference"),)) not in found


def test_a_bound_belongs_to_its_bucket():
    found = told(counted(event(latency_ms=10.0)))
    assert of(found, "asahi_latency_ms_bucket", model="model-a", cache_tier="0", le="10.0") == 1
    assert of(found, "asahi_latency_ms_bucket", model="model-a", cache_tier="0", le="5.0") == 0


def test_a_request_that_a_later_tier_answered_was_a_miss_of_the_earlier():
    found = told(counted(*MIXED))
    assert of(found, "asahi_cache_hits_total", tier="2") == 1
    assert of(found, "asahi_cache_misses_total", tier="1") == 3
    assert of(found, "asahi_cache_misses_total", tier="2") == 2
    assert of(found, "asahi_cache_hit_rate", tier="2") == pytest.approx(1 / 3)


def test_orgs_and_users_are_no_labels_unless_the_operator_says_so():
    hidden = event(org_id="acme", user_id="ann", key_id="k-1")
    assert not any(word in str(told(counted(hidden))) for word in ("acme", "ann", "k-1"))
    found = told(counted(hidden, org_label=True), org_label=True)
    assert of(found, "asahi_cost_dollars_total", model="model-a", org="acme") == 12e-9
    assert "ann" not in str(found)


def test_labels_do_not_grow_without_end():
    tally = counted(*(event(model_selected=f"model-{number}") for number in range(MOST + 500)))
    assert len(tally.series["asahi_cost_dollars_total"]) == MOST + 1
    assert sum(number for (number,) in tally.series["asahi_cost_dollars_total"].values()) == 12 * (MOST + 500)
    assert tally.series["asahi_cost_dollars_total"]["other",] == [12 * 500]


def test_faults_are_counted_by_what_they_grew():
    tally, seen = Tally(), {}
    faults = Counter({"cache.exact": 2, "budget.refused.org": 1, "rate.limited.key": 4, "alerts.raised.cost_spike": 1})
    faults["budget.overshoot_nano.user"] = 1_500_000_000
    count_faults(tally, faults, seen)
    faults["cache.exact"] += 3
    count_faults(tally, faults, seen)
    found = told(tally)
    assert of(found, "asahi_errors_total", error_type="fault", component="cache.exact") == 5
    assert of(found, "asahi_budget_refusals_total", level="org") == 1
    assert of(found, "asahi_rate_limited_total", level="key") == 4
    assert of(found, "asahi_alerts_total", state="raised", anomaly_type="cost_spike") == 1
    assert of(found, "asahi_budget_overshoot_dollars_total", level="user") == 1.5


def test_gauges_add_up_or_the_largest_counts():
    lag = [Gauge("lag", (), value, summed=False) for value in (3.0, 9.0, 1.0)]
    assert added_up([Gauge("inflight", (), 2), Gauge("inflight", (), 5), *lag]) == {("inflight", ()): 7, ("lag", ()): 9}


@pytest.mark.parametrize(
    ("number", "scale", "text"),
    [
        (0, 10**9, "0"),
        (1, 10**9, "0.000000001"),
        (-1, 10**9, "-0.000000001"),
        (10**10, 10**9, "10"),
        (123_456_789_012_345_678_901, 10**9, "123456789012.345678901"),
        (1_250, 1_000, "1.25"),
        (100, 1, "100"),
    ],
)
def test_numbers_are_written_without_rounding(number, scale, text):
    assert exact(number, scale) == text


def test_every_metric_has_a_name_of_its_own_and_says_what_it_is():
    assert len(BY_NAME) == len(ALL)
    for family in ALL:
        assert family.help.endswith(".")
        assert family.name.startswith("asahi_")
        assert (family.kind == "counter") == family.name.endswith("_total")
        assert list(family.bounds) == sorted(family.bounds)
