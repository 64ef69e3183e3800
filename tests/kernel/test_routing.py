"""The route stage: what rules may return, what of it is told, and what is refused where a rule is missing."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from asahi_kernel.api.exchange import named
from asahi_kernel.api.explain import tell
from asahi_kernel.builtins.rules import Bounds, Cheapest, Explicit
from asahi_kernel.choice import bounds_of, considered, explain_choice, told
from asahi_kernel.errors import Invalid, NoRoute, PluginError
from asahi_kernel.gateway import Gateway
from asahi_kernel.money import Prices, nano, per_million
from asahi_kernel.registry import Registry
from asahi_kernel.routing import route
from asahi_kernel.settings import Settings
from asahi_kernel.testing import ASK, HERE, MODEL
from asahi_kernel.testing.samples import decision, event
from asahi_kernel.trace import Trace
from asahi_kernel.types import Candidate, Completion, Findings, Model, Request, Required, Terms, Verdict

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace
FOUND = Findings(task="faq", confidence=0.5, matches={"faq": 2}, score=0.2, difficulty="easy", predictor="test-1")
REQUIRED = Required(quality=3.5, latency_ms=300, quality_source="task", latency_source="org")


def model(name: str, dollars: float | None, quality: float = 4.0, ms: float = 100) -> Model:
    prices = None if dollars is None else Prices(input=per_million(dollars), output=per_million(dollars))
    return replace(MODEL, name=name, prices=prices, quality_score=quality, avg_latency_ms=ms)


class Says:
    """A rule that answers what it is told to."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def rank(self, request: Request, principal: object, candidates: Sequence[Candidate]) -> Any:
        return self._answer(candidates)


def estimate(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [replace(each, quality=1.5, interval=(1.0, 2.0), findings=FOUND) for each in candidates]


async def routed(request: Request, *models: Model, **rules: Any) -> Trace:
    trace = Trace("/infer")
    gateway = Gateway(Settings(profile="development"))
    gateway.registry, gateway.rules = Registry(models, {}, None), rules
    await route(gateway, request, HERE, trace)
    return trace


async def test_an_estimate_is_told_of_all_candidates_even_of_those_dropped_later() -> None:
    rules = {"estimate": Says(estimate), "first": Says(lambda given: given[:1])}
    trace = await routed(ASK, model("a", 1), model("b", 2), **rules)
    assert trace.findings is FOUND
    assert [each.quality for each in trace.candidates] == [1.5, 1.5]
    assert [each.name for each in trace.ranked] == ["a"]


async def test_bounds_are_held_against_the_estimate() -> None:
    request = replace(ASK, terms=Terms(quality_threshold=3.0))
    assert (await routed(request, model("a", 1), bounds=Bounds())).ranked
    with pytest.raises(NoRoute):
        await routed(request, model("a", 1), estimate=Says(estimate), bounds=Bounds())


async def test_a_copy_is_the_same_candidate_but_another_model_is_not() -> None:
    with pytest.raises(PluginError, match="was not given"):
        await routed(ASK, model("a", 1), rule=Says(lambda given: [replace(given[0], model=model("a", 0.1))]))
    with pytest.raises(PluginError, match="twice"):
        await routed(ASK, model("a", 1), rule=Says(lambda given: [given[0], given[0]]))


async def test_the_cheapest_wins_not_the_best_ratio() -> None:
    """RT-2."""
    trace = await routed(ASK, model("bargain", 1.1, 5.0), model("plain", 1.0, 2.0), cheapest=Cheapest())
    assert [each.name for each in trace.ranked] == ["plain", "bargain"]


async def test_ties_go_to_the_faster_then_to_the_name_and_the_unpriced_come_last() -> None:
    models = (model("free", None), model("b", 1), model("a", 1), model("slow", 1, ms=200))
    trace = await routed(ASK, *models, cheapest=Cheapest())
    assert [each.name for each in trace.ranked] == ["a", "b", "slow", "free"]


async def test_explicit_alternatives_are_sorted_by_savings() -> None:
    """RT-4."""
    request = replace(ASK, model="dear", terms=Terms(mode="explicit"))
    models = (model("unknown", None), model("less", 2.0), model("dear", 4.0), model("least", 1.0))
    trace = await routed(request, *models, explicit=Explicit())
    route = told(request, trace, Completion(model="dear"), None)
    assert [(each.model, each.savings_percent) for each in route.alternatives] == [
        ("least", 75.0),
        ("less", 50.0),
        ("unknown", None),
    ]
    assert route.reason == "dear was named by the caller"


async def test_the_reason_holds_the_chosen_against_the_bounds() -> None:
    request = replace(ASK, terms=Terms(cost_budget=nano(0.01)))
    cheap = replace(model("cheap", 1, 3.8, 80), prices=Prices(input=per_million(50), output=per_million(70)))
    rule = Says(lambda given: Verdict(tuple(given), required=REQUIRED))
    trace = await routed(request, cheap, model("dear", 900), rule=rule)
    assert explain_choice(request, trace, "cheap", trace.candidates[0]) == (
        "cheapest of 2 adequate models: quality 3.80 >= 3.50, 80 ms <= 300 ms, $0.00175 <= $0.01"
    )
    assert bounds_of(request.terms, trace) == (
        {"quality": 3.5, "latency_ms": 300, "cost": nano(0.01)},
        {"quality": "task", "latency_ms": "org", "cost": "caller"},
    )


async def test_the_reason_says_what_was_given_up() -> None:
    rule = Says(lambda given: Verdict(tuple(given), relaxed=("latency", "quality"), required=REQUIRED))
    trace = await routed(ASK, model("poor", 1, 2.0, 900), rule=rule)
    assert explain_choice(ASK, trace, "poor", trace.candidates[0]) == (
        "cheapest of 1 remaining model: quality 2.00 < 3.50, 900 ms > 300 ms (latency and quality relaxed)"
    )
    route = told(ASK, trace, Completion(model="poor"), None)
    assert (route.fallback_used, route.relaxed) == (True, ("latency", "quality"))


async def test_without_a_rule_that_estimates_the_reason_counts_models() -> None:
    trace = await routed(ASK, model("a", 1), model("b", 2))
    assert explain_choice(ASK, trace, "a", trace.candidates[0]) == "cheapest of 2 adequate models (2 registered)"


async def test_task_and_difficulty_reach_the_answer() -> None:
    trace = await routed(ASK, model("a", 1), estimate=Says(estimate))
    route = told(ASK, trace, Completion(model="a"), None)
    assert (route.task_type, route.task_confidence, route.difficulty) == ("faq", 0.5, "easy")
    assert route.predicted_quality == 1.5


def test_explain_tells_findings_bounds_and_intervals() -> None:
    estimated = estimate([Candidate(name="model-a", model=MODEL, cost=5, quality=4.0, latency_ms=80)])
    record = replace(
        decision(event()),
        candidates=tuple(map(considered, estimated)),
        findings=FOUND,
        required={"quality": 3.5, "latency_ms": 300, "cost": None},
        sources={"quality": "task", "latency_ms": "org"},
    )
    record_told = tell(record, None)
    assert record_told["task"] == {"type": "faq", "confidence": 0.5, "matches": {"faq": 2}}
    assert record_told["difficulty"] == {"score": 0.2, "bucket": "easy", "predictor": "test-1"}
    assert record_told["required"]["source"] == {"quality": "task", "latency_ms": "org"}
    assert record_told["candidates"][0]["interval"] == (1.0, 2.0)
    plain = tell(decision(event()), event())
    assert (plain["difficulty"], plain["task"]) == (None, {"type": "general"})


def test_guided_mode_is_refused_where_no_rule_heeds_preferences() -> None:
    guided = replace(ASK, terms=Terms(mode="guided", quality_preference="high"))
    gateway: Any = SimpleNamespace(rules={}, waiting_rules=frozenset())
    with pytest.raises(Invalid, match="asahi-optimizer") as refused:
        named(gateway, guided)
    assert (refused.value.status, refused.value.param) == (400, "routing_mode")
    gateway.rules["guided"] = object()
    assert named(gateway, guided) is guided
