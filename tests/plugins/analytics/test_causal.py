"""SV-3: what the holdout measures covers the truth, and is drawn by nobody."""

import math
import random

import pytest
from tests.kernel.kit import ask, events_of, gateway_of, replace

from asahi_analytics.causal import LEAST, Arm, arms, estimate, student
from asahi_kernel.holdout import COMPARED, HELD_OUT, fraction
from asahi_kernel.testing import ASK
from asahi_kernel.types import Message, Terms


def simulated(dice, requests, rate):
    """Requests with long-tailed sizes, a hit for some, a cheap model for others; the estimate, and the truth."""
    held_out, compared, truth = Arm(), Arm(), 0.0
    for _ in range(requests):
        size = dice.lognormvariate(6, 1)
        dear = size * 10 + dice.lognormvariate(5, 1) * 30
        cheap = 0.0 if dice.random() < 0.3 else dear * dice.uniform(0.05, 0.4)
        if dice.random() < rate:
            held_out.add(dear, size)
        else:
            compared.add(cheap, size)
            truth += dear - cheap
    return estimate(held_out, compared), truth


def test_the_interval_covers_the_truth_in_at_least_93_percent_of_500_runs():
    """SV-3."""
    dice = random.Random(31)
    covered = 0
    for _ in range(500):
        found, truth = simulated(dice, 4_000, 0.05)
        covered += found.low <= truth <= found.high
    assert covered >= 465
    assert covered <= 497  # an interval that always covers says nothing


def test_the_size_of_prompts_narrows_the_interval():
    dice = random.Random(32)
    sized, unsized = [Arm(), Arm()], [Arm(), Arm()]
    for number in range(4_000):
        size = dice.lognormvariate(6, 1)
        cost = size * 10 + dice.lognormvariate(5, 1) * 30
        sized[number % 4 > 0].add(cost, size)
        unsized[number % 4 > 0].add(cost, 0)
    narrow, wide = estimate(*sized), estimate(*unsized)
    assert narrow.high - narrow.low < 0.8 * (wide.high - wide.low)


def test_too_few_held_out_say_nothing():
    held_out, compared = Arm(), Arm()
    for number in range(LEAST - 1):
        held_out.add(1.0, number)
    for number in range(1_000):
        compared.add(1.0, number)
    assert estimate(held_out, compared) is None


@pytest.mark.parametrize(("degrees", "exact"), [(5, 2.5706), (10, 2.2281), (30, 2.0423), (200, 1.9719)])
def test_students_t_is_that_of_the_tables(degrees, exact):
    assert student(degrees) == pytest.approx(exact, rel=2e-3)


def test_the_draw_is_keyed_and_even():
    ids = [f"01K7{number:022d}" for number in range(20_000)]
    drawn = [fraction(b"k" * 32, each) < 0.05 for each in ids]
    assert 0.045 < sum(drawn) / len(ids) < 0.055
    other = [fraction(b"o" * 32, each) < 0.05 for each in ids]
    assert sum(first and second for first, second in zip(drawn, other, strict=True)) < 100


@pytest.mark.anyio
class TestPipeline:
    RATE = {"savings": {"holdout_rate": 0.1}}

    async def test_held_out_requests_go_to_the_baseline_past_every_cache(self):
        async with gateway_of(self.RATE) as gateway:
            for _ in range(200):
                await ask(gateway)
            events = await events_of(gateway)
            held = [event for event in events if HELD_OUT in event.techniques]
            assert 5 <= len(held) <= 45
            assert {event.model_selected for event in held} == {gateway.registry.baseline.name}
            assert all(event.cost == event.baseline_cost and not event.cache_hit for event in held)
            compared = [event for event in events if COMPARED in event.techniques]
            assert len(held) + len(compared) == 200
            assert sum(event.cache_hit for event in compared) >= len(compared) - 1
            assert "held out" in held[0].routing_reason

    async def test_requests_with_bounds_or_without_the_baseline_are_left_alone(self):
        tree = {**self.RATE, "routing": {"rules": ["explicit", "health", "capability", "bounds", "cheapest"]}}
        async with gateway_of(tree) as gateway:
            for terms in (
                Terms(quality_threshold=1.0),
                Terms(cost_budget=10**9),
                Terms(latency_budget_ms=5_000),
                Terms(cache="off"),
            ):
                for seed in range(30):
                    await ask(gateway, replace(ASK, seed=seed, terms=terms))
            long = replace(ASK, messages=(Message("user", "word " * 110_000),))
            for seed in range(30):  # larger than the baseline's context
                await ask(gateway, replace(long, seed=seed))
            assert not any({HELD_OUT, COMPARED} & {*event.techniques} for event in await events_of(gateway))

    async def test_what_is_measured_agrees_with_what_is_computed(self):
        """The mock's costs are known: the measured saving covers the computed one."""
        async with gateway_of({**self.RATE, "cache": {"tiers": []}}) as gateway:
            dice = random.Random(7)
            for seed in range(1_500):
                text = "word " * dice.randint(5, 400)
                await ask(gateway, replace(ASK, seed=seed, messages=(Message("user", text),)))
            events = await events_of(gateway)
            found = estimate(*arms(events))
            computed = sum(event.saved for event in events if COMPARED in event.techniques)
            assert found.low <= computed <= found.high
            assert math.isclose(found.saved, computed, rel_tol=0.1)
