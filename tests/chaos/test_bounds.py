"""PR-8, RT-5: whatever fails, no model answers that a stated bound or a rule forbids: not as fallback, not as hedge."""

import random

import pytest
from tests.kernel.kit import ask, events_of, gateway_of, replace
from tests.plugins.guard.kit import given

from asahi_kernel.errors import AsahiError, ProviderError
from asahi_kernel.money import nano
from asahi_kernel.testing import ASK
from asahi_kernel.types import Completion, Message, Terms, Usage

pytestmark = pytest.mark.anyio
NAMES = [f"m{number}" for number in range(8)]


class Moody:
    """Fails by chance, in every way, and writes down whom it was asked for."""

    def __init__(self, dice):
        self.dice, self.asked = dice, []

    async def complete(self, model, request):
        self.asked.append(model)
        status = self.dice.choice([None, None, 400, 404, 429, 500, 503, 0])
        if status is not None:
            raise ProviderError("moody", status=status or None, retryable=self.dice.random() < 0.5, retry_after=0.001)
        return Completion(text="x", model=model.name, usage=Usage(9, 3))


def catalogue(dice):
    models = [
        {
            "name": name,
            "provider": "p",
            "quality_score": round(dice.uniform(1, 5), 2),
            "avg_latency_ms": dice.randint(50, 3_000),
            "cost_per_1k_input_tokens": dice.uniform(0.0001, 0.05),
            "cost_per_1k_output_tokens": dice.uniform(0.0001, 0.1),
            "availability": dice.choice(["available"] * 4 + ["unavailable"]),
        }
        for name in NAMES
    ]
    limits = {
        "max_retries": 1,
        "backoff_base_s": 0.001,
        "backoff_cap_s": 0.001,
        "hedging": {"enabled": True, "share": 0.5, "max_cost_per_day": 1_000},
        "breaker": {"consecutive_failures": 1_000, "min_calls": 1_000},
    }
    return {"providers": {"p": limits}, "models": models, "routing": {"max_fallbacks": 5}}


def bounded(dice, seed):
    terms = Terms(
        quality_threshold=dice.choice([None, round(dice.uniform(1, 5), 2)]),
        latency_budget_ms=dice.choice([None, dice.randint(50, 3_000)]),
        cost_budget=dice.choice([None, nano(dice.uniform(0.0001, 0.05))]),
        cache="off",
    )
    words = "word " * dice.randint(1, 500)
    return replace(ASK, seed=seed, max_tokens=dice.randint(1, 500), messages=(Message("user", words),), terms=terms)


async def test_no_attempt_ever_breaks_a_bound_or_a_block():
    dice, fell_back, answered = random.Random(8), 0, 0
    for _ in range(25):
        moody, blocked = Moody(dice), frozenset(dice.sample(NAMES, 2))
        async with gateway_of(catalogue(dice), providers=("p", moody)) as gateway:
            await given(gateway, blocked_models=tuple(blocked))
            for seed in range(40):
                moody.asked.clear()
                request = bounded(dice, seed)
                try:
                    await ask(gateway, request)
                    answered += 1
                except AsahiError:
                    pass
                event = (await events_of(gateway))[-1]
                decision = await gateway.storage.decisions.find("here", event.request_id)
                asked = {model.name for model in moody.asked}
                assert asked == {attempt.model for attempt in event.attempts}
                fell_back += len(asked) > 1
                for considered in decision.candidates:
                    if considered.name in asked:
                        assert kept(request.terms, considered), (request.terms, considered)
                assert not asked & blocked
                assert "unavailable" not in {gateway.registry.by_name[name].availability for name in asked}
    assert answered > 150
    assert fell_back > 50


def kept(terms, considered):
    return (
        (terms.quality_threshold is None or considered.quality >= terms.quality_threshold)
        and (terms.latency_budget_ms is None or considered.latency_ms <= terms.latency_budget_ms)
        and (terms.cost_budget is None or considered.cost <= terms.cost_budget)
    )
