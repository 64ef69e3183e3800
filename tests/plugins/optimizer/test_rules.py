"""The three rules: their contract, their sources of bounds, what they relax, and what they never break."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import pytest
from tests.plugins.optimizer.routes import MODELS, ask, routed, rules, sized

from asahi_kernel import Factory
from asahi_kernel.errors import NoRoute
from asahi_kernel.money import Prices, nano, per_million
from asahi_kernel.testing import ASK, HERE, MODEL, RuleContract
from asahi_kernel.testing.samples import candidate
from asahi_kernel.types import Model, Request, Terms
from asahi_optimizer import register_rules
from asahi_optimizer.config import AutopilotConfig, Bounds, GuidedConfig
from asahi_optimizer.modes import Autopilot, Guided

ESTIMATE, AUTOPILOT, GUIDED = register_rules()
REQUESTS = (
    ASK,
    ask("Explain this function", mode="guided", quality_preference="max"),
    msgspec.structs.replace(ASK, model="model-a", terms=Terms(mode="explicit")),
)


class TestEstimate(RuleContract):
    factory: ClassVar[Factory[Any, Any]] = ESTIMATE
    requests: ClassVar[tuple[Request, ...]] = REQUESTS


class TestAutopilot(RuleContract):
    factory: ClassVar[Factory[Any, Any]] = AUTOPILOT
    config: ClassVar[Mapping[str, Any]] = {"task_table": {"coding": {"quality": 4.5}}}
    requests: ClassVar[tuple[Request, ...]] = REQUESTS


class TestGuided(RuleContract):
    factory: ClassVar[Factory[Any, Any]] = GUIDED
    config: ClassVar[Mapping[str, Any]] = {"quality_map": {"max": 4.6}}
    requests: ClassVar[tuple[Request, ...]] = REQUESTS


def required(rule: Any, task: str, **terms: Any) -> tuple[object, ...]:
    found = rule.require(Terms(**terms), task)
    return found.quality, found.quality_source, found.latency_ms, found.latency_source


def test_autopilot_takes_the_caller_before_the_org_before_the_task() -> None:
    plain = Autopilot(AutopilotConfig())
    assert required(plain, "coding") == (4.0, "task", 500, "task")
    assert required(plain, "support") == required(plain, "general") == (3.5, "task", 300, "task")
    org = Autopilot(AutopilotConfig(default_quality_threshold=3.8, default_latency_budget_ms=900))
    assert required(org, "coding") == (4.0, "task", 900, "org"), "an org raises quality, never lowers it"
    assert required(org, "faq") == (3.8, "org", 900, "org")
    assert required(org, "faq", quality_threshold=1.0, latency_budget_ms=50) == (1.0, "caller", 50, "caller")
    table = Autopilot(AutopilotConfig(task_table={"coding": Bounds(quality=4.4)}))
    assert required(table, "coding") == (4.4, "task", 500, "task")


def test_guided_takes_the_strictest_of_preference_task_and_caller() -> None:
    rule = Guided(GuidedConfig())
    assert required(rule, "faq") == (3.5, "preference", 500, "preference")
    slow = {"quality_preference": "low", "latency_preference": "slow"}
    assert required(rule, "faq", **slow) == (3.0, "preference", 2_000, "preference")
    assert required(rule, "coding", **slow) == (4.0, "task", 500, "task")
    assert required(rule, "faq", quality_threshold=4.2, latency_budget_ms=100) == (4.2, "caller", 100, "caller")
    assert required(rule, "faq", quality_threshold=1.0, latency_budget_ms=9_000) == required(rule, "faq")
    mapped = Guided(GuidedConfig(quality_map={"max": 4.9}, floors={"faq": Bounds(quality=3.9)}))
    assert required(mapped, "faq", latency_preference="slow") == (3.9, "task", 2_000, "preference")
    assert required(mapped, "faq", quality_preference="max")[0] == 4.9


async def verdict(rule: Any, request: Request, *given: Any) -> tuple[list[str], tuple[str, ...], Mapping[str, str]]:
    found = await rule.rank(request, HERE, given)
    return [each.name for each in found.kept], found.relaxed, found.dropped


@pytest.mark.anyio
class TestRelaxing:
    slow, poor = candidate("slow", quality=4.0, ms=900), candidate("poor", quality=2.0, ms=10)
    poorer = candidate("poorer", quality=1.0, ms=900)

    async def test_latency_goes_before_quality(self) -> None:
        kept, relaxed, dropped = await verdict(Autopilot(AutopilotConfig()), ASK, self.slow, self.poor)
        assert (kept, relaxed, dropped) == (["slow"], ("latency",), {"poor": "quality 2.00 < 3.50"})

    async def test_at_the_end_the_highest_quality_stays(self) -> None:
        kept, relaxed, _ = await verdict(Autopilot(AutopilotConfig()), ASK, self.poor, self.poorer)
        assert (kept, relaxed) == (["poor"], ("quality",))

    async def test_what_the_best_breaks_is_told(self) -> None:
        late = candidate("late", quality=3.0, ms=900)
        kept, relaxed, _ = await verdict(Autopilot(AutopilotConfig()), ASK, self.poor, late)
        assert (kept, relaxed) == (["late"], ("latency", "quality"))

    async def test_a_stated_latency_stays_while_quality_goes(self) -> None:
        request = ask("hello", latency_budget_ms=300)
        kept, relaxed, _ = await verdict(Autopilot(AutopilotConfig()), request, self.slow, self.poor)
        assert (kept, relaxed) == (["poor"], ("quality",))

    async def test_nothing_stated_is_relaxed_unless_asked(self) -> None:
        request = ask("hello", latency_budget_ms=50, quality_threshold=3.0)
        assert (await verdict(Autopilot(AutopilotConfig()), request, self.slow, self.poor))[0] == []
        best = ask("hello", latency_budget_ms=50, quality_threshold=3.0, on_no_route="best_effort")
        kept, relaxed, _ = await verdict(Autopilot(AutopilotConfig()), best, self.slow, self.poor)
        assert (kept, relaxed) == (["slow"], ("latency",))

    async def test_cautious_holds_the_lower_end_of_the_interval_against_the_bound(self) -> None:
        sure = msgspec.structs.replace(candidate("sure", quality=3.6), interval=(3.55, 3.65))
        vague = msgspec.structs.replace(candidate("vague", quality=3.9), interval=(3.2, 4.6))
        assert (await verdict(Autopilot(AutopilotConfig(cautious=True)), ASK, sure, vague))[0] == ["sure"]
        assert (await verdict(Autopilot(AutopilotConfig()), ASK, sure, vague))[0] == ["sure", "vague"]

    async def test_each_rule_acts_in_its_mode_only(self) -> None:
        for rule in (Autopilot(AutopilotConfig()), Guided(GuidedConfig())):
            explicit = msgspec.structs.replace(ASK, terms=Terms(mode="explicit"))
            assert (await verdict(rule, explicit, self.poor))[1:] == ((), {})
        assert (await verdict(Guided(GuidedConfig()), ASK, self.poor))[1] == ()


@pytest.mark.anyio
async def test_bounds_are_held_against_the_estimate_not_the_models_own_number() -> None:
    """Sonnet's 4.1 is 3.65 for something hard, haiku's 3.8 is 4.16 for something easy."""
    assert (await routed(sized("hard", quality_threshold=4.0))).ranked[0].name == "gpt-4-turbo"
    assert (await routed(sized("easy", quality_threshold=4.0))).ranked[0].name == "claude-3-5-haiku"
    named = msgspec.structs.replace(sized("hard"), model="claude-3-5-sonnet")
    terms = Terms(mode="explicit", quality_threshold=4.0)
    with pytest.raises(NoRoute):
        await routed(msgspec.structs.replace(named, terms=terms))


@pytest.mark.anyio
async def test_the_cheapest_adequate_model_wins_not_the_best_ratio() -> None:
    """RT-2: `bargain` has the better quality per dollar, `plain` is good enough and cheaper."""

    def model(name: str, dollars: float, quality: float) -> Model:
        prices = Prices(input=per_million(dollars), output=per_million(dollars))
        return msgspec.structs.replace(MODEL, name=name, prices=prices, quality_score=quality, avg_latency_ms=100)

    models = (model("bargain", 1.1, 4.9), model("plain", 1.0, 3.6))
    trace = await routed(sized("medium", task_type="general"), models)
    assert [each.name for each in trace.ranked] == ["plain", "bargain"]


def anything(dice: random.Random) -> tuple[Request, tuple[Model, ...]]:
    """A request and a catalogue, both at random, with numbers close enough to matter."""

    def model(number: int) -> Model:
        price = dice.choice((None, Prices(input=dice.randrange(10**12), output=dice.randrange(10**13))))
        return msgspec.structs.replace(
            MODEL,
            name=f"m{number}",
            prices=price,
            quality_score=round(dice.uniform(0, 5), 1),
            avg_latency_ms=dice.randrange(20, 1_500),
        )

    models = tuple(model(number) for number in range(dice.randrange(1, 9)))
    words = dice.choices(("why", "translate", "function", "in german", "must", "a = b", "x?", "filler"), k=30)
    mode = dice.choice(("autopilot", "guided", "explicit"))
    terms = Terms(
        mode=mode,
        quality_threshold=dice.choice((None, round(dice.uniform(0, 5), 1))),
        latency_budget_ms=dice.choice((None, dice.randrange(50, 1_500))),
        cost_budget=dice.choice((None, dice.randrange(nano(0.0005)))),
        quality_preference=dice.choice((None, "low", "max")) if mode == "guided" else None,
        latency_preference=dice.choice((None, "slow", "instant")) if mode == "guided" else None,
        task_type=dice.choice((None, "coding", "legal", "faq")),
    )
    request = ask(" ".join(words[: dice.randrange(1, 30)]))
    return msgspec.structs.replace(request, model="m0" if mode == "explicit" else None, terms=terms), models


@pytest.mark.anyio
async def test_no_chosen_model_breaks_a_stated_bound() -> None:
    """RT-1: 10,000 random requests and catalogues; nor may a fallback break one."""
    dice, given, answered = random.Random(7), rules(), 0
    for _ in range(10_000):
        request, models = anything(dice)
        terms = request.terms
        try:
            trace = await routed(request, models, given)
        except NoRoute:
            continue
        answered += 1
        for each in trace.ranked:
            assert terms.quality_threshold is None or each.quality >= terms.quality_threshold
            assert terms.latency_budget_ms is None or each.latency_ms <= terms.latency_budget_ms
            assert terms.cost_budget is None or (each.cost is not None and each.cost <= terms.cost_budget)
    assert 2_000 < answered < 9_000


@pytest.mark.anyio
async def test_a_refusal_means_that_no_model_met_what_was_stated() -> None:
    """The other side of RT-1: defaults never refuse."""
    dice, given, refused = random.Random(8), rules(), 0
    for _ in range(2_000):
        request, models = anything(dice)
        free = msgspec.structs.replace(request.terms, quality_threshold=None, latency_budget_ms=None, cost_budget=None)
        assert (await routed(msgspec.structs.replace(request, terms=free), models, given)).ranked
        refused += 1
    assert refused == 2_000


@pytest.mark.anyio
async def test_equal_requests_are_decided_alike() -> None:
    """RT-7: 1,000 requests, replayed in another order by rules of their own."""
    dice = random.Random(9)
    asked = [anything(dice) for _ in range(1_000)]

    async def decide(request: Request, models: tuple[Model, ...], given: dict[str, Any]) -> object:
        try:
            trace = await routed(request, models, given)
        except NoRoute as error:
            return error.details
        return trace.candidates, trace.rules, trace.relaxed, trace.required, trace.findings

    first = rules()
    decisions = [await decide(*each, first) for each in asked]
    again = rules()
    replayed = [await decide(*each, again) for each in reversed(asked)]
    assert decisions == replayed[::-1]


@pytest.mark.anyio
async def test_routing_takes_at_most_5_ms_with_200_models() -> None:
    """RT-8, by processor time, for a long request in guided mode."""
    models = tuple(msgspec.structs.replace(MODELS[number % 5], name=f"m{number}") for number in range(200))
    request, given, took = sized("hard", 2_000, mode="guided"), rules(), []
    for _ in range(200):
        start = time.process_time()
        await routed(request, models, given)
        took.append(time.process_time() - start)
    assert sorted(took)[197] < 0.005


@pytest.mark.anyio
async def test_the_request_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from asahi_optimizer import difficulty, estimating, modes

    looks = []

    def counted(request: Request, tokens: int) -> Any:
        looks.append(request)
        return difficulty.find(request, tokens)

    monkeypatch.setattr(estimating, "find", counted)
    monkeypatch.setattr(modes, "find", counted)
    trace = await routed(ask("Explain tides", mode="guided"))
    assert len(looks) == 1
    assert all(each.findings is trace.findings for each in trace.candidates)
