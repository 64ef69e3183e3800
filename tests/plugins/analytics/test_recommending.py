"""Each condition of the recommendations holds where it says, and its estimate is the replay of what is behind it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.plugins.analytics import kit

from asahi_analytics.recommending import advise
from asahi_analytics.replaying import cheaper
from asahi_analytics.sampling import MOST, Sampled, sample
from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.identity import new_id
from asahi_kernel.records import Considered, Lookup, RuleNote, Settled
from asahi_kernel.testing.samples import decision, event
from asahi_kernel.types import Usage

NOW = datetime.now(UTC)
DEAR, CHEAP = "claude-opus-4", "claude-3-5-haiku"


@pytest.fixture(scope="module")
def registry():
    return kit.gateway_of(MemoryStorage(10)).registry


def cost(registry, model, tokens, output=100):
    return registry.by_name[model].prices.cost(Usage(tokens, output))


def sampled(registry, number=1, day=0, *, dropped=(), rule="bounds", quality=4.0, lookups=(), **fields) -> Sampled:
    model, tokens = fields.get("model_selected", DEAR), fields.get("input_tokens", 1_000)
    given = {
        "model_selected": model,
        "input_tokens": tokens,
        "output_tokens": 100,
        "cost": cost(registry, model, tokens),
        "timestamp": NOW - timedelta(hours=number),
        "price_version": "reference-1",
        "request_id": new_id(),
    }
    made = event(**(given | fields))
    candidates = tuple(
        Considered(name=name, quality=each, latency_ms=100, cost=1) for name, each in ((DEAR, 4.5), (CHEAP, quality))
    )
    note = RuleNote(rule=rule, dropped=dict.fromkeys(dropped, "no"))
    told = msgspec.structs.replace(decision(made), candidates=candidates, rules=(note,), lookups=lookups)
    return Sampled(made, told, 1.0, day)


def names(found):
    return {each["id"]: each for each in found}


def week(registry, count=70, **fields):
    return [sampled(registry, number, number % 7, **fields) for number in range(1, count + 1)]


def test_below_ten_requests_nothing_is_recommended(registry):
    assert advise(week(registry, 9), registry) == []
    assert advise(week(registry, 10), registry)


def test_the_estimate_is_the_replay_for_thirty_days(registry):
    found = names(advise(week(registry, routing_mode="explicit"), registry))["named-models"]
    saved = cost(registry, DEAR, 1_000) - cost(registry, CHEAP, 1_000)
    assert found["estimated_savings"] == pytest.approx(70 * saved / 7 * 30 / 1e9)
    assert found["interval"] == pytest.approx([found["estimated_savings"]] * 2)
    assert (found["category"], found["priority"]) == ("routing", "high")
    assert len(found["evidence"]["request_ids"]) == 10
    assert found["evidence"]["requests"] == 70


def test_days_that_differ_widen_the_interval(registry):
    uneven = [each for each in week(registry, routing_mode="explicit") if each.day < 3]
    low, high = names(advise(uneven, registry))["named-models"]["interval"]
    assert low < names(advise(uneven, registry))["named-models"]["estimated_savings"] * 0.6 < high


def test_a_weight_stands_for_so_many_requests(registry):
    heavy = [msgspec.structs.replace(each, weight=3.0) for each in week(registry, routing_mode="explicit")]
    once = names(advise(week(registry, routing_mode="explicit"), registry))["named-models"]["estimated_savings"]
    assert names(advise(heavy, registry))["named-models"]["estimated_savings"] == pytest.approx(3 * once)


@pytest.mark.parametrize(
    "fields",
    [
        {"dropped": (CHEAP,)},
        {"quality": 3.4},
        {"model_selected": CHEAP},
        {"cache_hit": True, "cache_tier": 1, "cost": 0},
        {"status": "failed"},
        {"cost": None},
    ],
    ids=str,
)
def test_what_was_refused_inadequate_or_cheap_already_is_not_replayed(registry, fields):
    assert cheaper(week(registry, **fields), registry) == []


def test_that_another_was_named_refuses_no_model(registry):
    assert len(cheaper(week(registry, dropped=(CHEAP,), rule="explicit"), registry)) == 70


def test_hit_rates(registry):
    asked = (Lookup(tier=1), Lookup(tier=2, asked=False))
    hits = week(registry, 30, cache_hit=True, cache_tier=1, cost=0, lookups=(Lookup(tier=1, hit=True),))
    missed, bypassed = week(registry, 30, lookups=asked), week(registry, 40)
    found = names(advise([*hits, *missed, *bypassed], registry))
    assert found["cache-hit-rate"]["priority"] == "high"
    assert found["cache-hit-rate"]["estimated_savings"] == pytest.approx(
        0.5 * 40 * cost(registry, DEAR, 1_000) / 7 * 30 / 1e9
    )
    assert found["semantic-hit-rate"]["priority"] == "medium"
    assert found["semantic-hit-rate"]["estimated_savings"] is None
    many = week(registry, 70, cache_hit=True, cache_tier=1, cost=0)
    assert "cache-hit-rate" not in names(advise([*many, *missed, *bypassed], registry))


def test_dear_tasks(registry):
    dear = week(registry, 40, task_type="legal", input_tokens=2_000)
    assert "dear-legal" in names(advise([*dear, *week(registry, 60)], registry))
    assert "dear-legal" not in names(advise([*dear, *week(registry, 100)], registry))
    assert "dear-faq" not in names(advise(week(registry, task_type="faq", input_tokens=100), registry))


def test_uneven_prompts(registry):
    even = week(registry)
    uneven = [*week(registry, 35, input_tokens=100), *week(registry, 35, input_tokens=9_000)]
    assert "uneven-prompts" not in names(advise(even, registry))
    assert names(advise(uneven, registry))["uneven-prompts"]["estimated_savings"] > 0


def test_one_model(registry):
    others = week(registry, 20, model_selected=CHEAP)
    assert names(advise([*week(registry, 81), *others[:19]], registry))["one-model"]["priority"] == "low"
    assert "one-model" not in names(advise([*week(registry, 80), *others], registry))


def test_changed_prices(registry):
    found = names(advise(week(registry, price_version="older"), registry))
    assert found["changed-prices"]["category"] == "model"
    assert "changed-prices" not in names(advise(week(registry), registry))


def test_repeated_prefixes(registry):
    dear, cheap = registry.by_name[DEAR], registry.by_name[CHEAP]
    prices = msgspec.structs.replace(dear.prices, cache_read=dear.prices.input // 10)
    caching = type(registry)([msgspec.structs.replace(dear, prices=prices), cheap], {}, None)
    close = [
        sampled(registry, day=each % 7, input_tokens=4_000, timestamp=NOW - timedelta(minutes=each))
        for each in range(20)
    ]
    found = names(advise(close, caching))["repeated-prefixes"]
    wanted = 19 * 2_000 * (prices.input - prices.cache_read) / 1e9
    assert found["estimated_savings"] == pytest.approx(wanted / 7 * 30 / 1e9, rel=1e-6)
    cached = [
        msgspec.structs.replace(each, event=msgspec.structs.replace(each.event, cached_tokens=9)) for each in close
    ]
    assert "repeated-prefixes" not in names(advise(cached, caching))
    assert "repeated-prefixes" not in names(advise(close, registry))


@pytest.mark.anyio
async def test_a_sample_stands_for_every_request_of_the_week():
    storage = MemoryStorage(100_000)
    dice = random.Random(1)
    times = [NOW - timedelta(minutes=each * 3) for each in range(3_000)]
    made = [event(timestamp=each, request_id=kit.id_at(each, dice)) for each in times]
    made += [event(timestamp=NOW - timedelta(days=8)), event("there", timestamp=NOW)]
    await storage.books.post([Settled(each, decision(each)) for each in made])
    found = await sample(storage, "here", NOW + timedelta(seconds=1))
    assert 300 < len(found) <= MOST
    assert sum(each.weight for each in found) == pytest.approx(3_000)
    assert {each.day for each in found} == set(range(7))
    assert all(each.decision is not None and each.event.org_id == "here" for each in found)
