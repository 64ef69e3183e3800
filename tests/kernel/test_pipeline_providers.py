"""Providers that fail, lie or have no price, through the real gateway."""

import asyncio

import msgspec
import pytest
from tests.kernel.kit import ask, events_of, faults, gateway_of

from asahi_kernel.errors import (
    DeadlineExceeded,
    Exhausted,
    Invalid,
    NoRoute,
    ProviderFailed,
    Unavailable,
)
from asahi_kernel.testing import ASK
from asahi_kernel.types import Completion, Terms, Usage

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace


async def test_retries_are_one_request_with_one_event_and_every_attempt():
    """PL-9, A11."""
    async with gateway_of(faults({"call": 1}, {"call": 2})) as gateway:
        answer = await ask(gateway)
        (event,) = await events_of(gateway)
        assert [attempt.outcome for attempt in event.attempts] == ["http_503", "http_503", "ok"]
        assert event.cost == event.attempts[-1].cost == answer.bill.cost


async def test_a_client_error_is_not_retried():
    async with gateway_of(faults({"status": 400})) as gateway:
        with pytest.raises(Invalid):
            await ask(gateway)
        (event,) = await events_of(gateway)
        assert len(event.attempts) == 1


async def test_429_from_every_attempt_is_429_with_the_vendors_wish():
    async with gateway_of(faults({"status": 429, "retry_after_s": 60})) as gateway:
        with pytest.raises(Exhausted) as refused:
            await ask(gateway)
        assert (refused.value.status, refused.value.retry_after) == (429, 60)


async def test_a_failing_provider_rests_and_then_answers_503_without_a_call():
    async with gateway_of(faults({"status": 500})) as gateway:
        with pytest.raises(ProviderFailed):
            await ask(gateway)
        calls = len(gateway.upstreams["mock"].provider.calls)
        with pytest.raises(Unavailable) as refused:
            await ask(gateway)
        assert refused.value.code == "no_provider"
        assert len(gateway.upstreams["mock"].provider.calls) == calls == 3


async def test_a_provider_that_never_answers_is_504_in_time():
    """PR-2."""
    async with gateway_of(faults({"kind": "stall"}, timeout_s=0.05, max_retries=0)) as gateway:
        with pytest.raises(DeadlineExceeded):
            async with asyncio.timeout(2):
                await ask(gateway)


async def test_a_fallback_goes_to_the_next_adequate_model():
    async with gateway_of(faults({"call": 1, "status": 404})) as gateway:
        answer = await ask(gateway)
        (event,) = await events_of(gateway)
        assert [attempt.model for attempt in event.attempts] == ["mistral-7b", answer.completion.model]
        assert event.fallback_used
        assert event.attempts[0].model != answer.completion.model


async def test_a_named_model_has_no_fallback():
    async with gateway_of(faults({"call": 1, "status": 401})) as gateway:
        with pytest.raises(ProviderFailed):
            await ask(gateway, replace(ASK, model="claude-opus-4", terms=Terms(mode="explicit")))
        assert gateway.upstreams["mock"].provider.calls == ["claude-opus-4"]


async def test_a_provider_that_raises_anything_else_fails_like_any_other():
    class Buggy:
        async def complete(self, model, request):
            raise KeyError("secret-key-value")

    async with gateway_of(
        {"providers": {"buggy": {}}, "models": [{"name": "m", "provider": "buggy"}]}, providers=("buggy", Buggy())
    ) as gateway:
        with pytest.raises(ProviderFailed) as failed:
            await ask(gateway)
        assert "secret" not in failed.value.message


@pytest.mark.parametrize("usage", ["none", "negative", "absurd"])
async def test_unbelievable_usage_never_lowers_spend(usage):
    """SV-9."""
    async with gateway_of() as honest, gateway_of(faults({"kind": "usage", "usage": usage})) as lying:
        fair, answer = await ask(honest), await ask(lying)
        assert answer.bill.cost >= fair.bill.cost * 0.9
        assert answer.usage.source == "estimated"
        assert "usage_estimated" in answer.warnings


async def test_usage_below_what_was_delivered_is_replaced():
    class Stingy:
        async def complete(self, model, request):
            return Completion(text="word " * 1_000, model=model.name, usage=Usage(5, 1))

    tree = {"providers": {"stingy": {}}, "models": [{"name": "m", "provider": "stingy"}]}
    async with gateway_of(tree, providers=("stingy", Stingy())) as gateway:
        answer = await ask(gateway)
        assert answer.usage.output_tokens >= 1_000


async def test_an_unknown_price_is_never_zero():
    tree = {"providers": {"mock": {}}, "models": [{"name": "m", "provider": "mock"}]}
    async with gateway_of(tree) as gateway:
        answer = await ask(gateway)
        assert answer.bill.cost is None
        assert "price_unknown" in answer.warnings
        with pytest.raises(NoRoute) as refused:
            await ask(gateway, replace(ASK, seed=1, terms=Terms(cost_budget=10**9)))
        assert refused.value.code == "price_unknown"
