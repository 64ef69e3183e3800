"""Batches of every vendor that has them: whose answer is whose, what fails alone, and what it costs."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import msgspec
import pytest
from tests.plugins.vendors import ANTHROPIC, ANTHROPIC_SDK, OPENAI, OPENAI_SDK, Vendor, ask

from asahi_kernel import Batch, Completion, Model, ProviderError, Request, Secret
from asahi_kernel.batching import MOST_MEMBERS, assigned, check_members, gather, settle_member
from asahi_kernel.gateway import Gateway
from asahi_kernel.money import Prices, per_million
from asahi_kernel.registry import Registry
from asahi_kernel.settings import Pricing, Settings
from asahi_kernel.testing import BatchProviderContract, fakeup
from asahi_kernel.upstream import Upstream

pytestmark = pytest.mark.anyio
PRICES = Prices(input=per_million(3), output=per_million(15), cache_read=per_million("0.3"))
DEAR = Model(name="dear", provider="x", api_model="dear", prices=Prices(input=per_million(10), output=per_million(30)))


class VendorBatches(BatchProviderContract):
    vendor: ClassVar[Vendor]
    config: ClassVar[dict[str, str]] = {"api_key": "sk-test"}
    broken = ask("[[fakeup: status=500]]")

    @pytest.fixture
    async def subject(self, gateway: Gateway) -> AsyncIterator[Any]:
        async with fakeup.running() as upstream, self.vendor.open(upstream.url) as provider:
            yield provider


class TestOpenAI(VendorBatches):
    vendor, factory, model = OPENAI, OPENAI.factory, OPENAI.model


class TestAnthropic(VendorBatches):
    vendor, factory, model = ANTHROPIC, ANTHROPIC.factory, ANTHROPIC.model


class TestOpenAIBySDK(VendorBatches):
    vendor, factory, model = OPENAI_SDK, OPENAI_SDK.factory, OPENAI_SDK.model


class TestAnthropicBySDK(VendorBatches):
    vendor, factory, model = ANTHROPIC_SDK, ANTHROPIC_SDK.factory, ANTHROPIC_SDK.model


del VendorBatches, BatchProviderContract


@pytest.fixture(params=[OPENAI, ANTHROPIC, OPENAI_SDK, ANTHROPIC_SDK], ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return request.param  # type: ignore[no-any-return]


async def over(vendor: Vendor, provider: Any, members: list[tuple[str, Request]]) -> Batch:
    batch_id = await provider.submit(vendor.model, members)
    while True:
        batch: Batch = await provider.poll(vendor.model, batch_id)
        if batch.state not in ("queued", "running"):
            return batch


async def test_shuffled_and_partly_broken_answers_never_swap(vendor: Vendor, provider: Any) -> None:
    scripts = ["", "[[fakeup: status=400]]", "[[fakeup: batch=expired]]", "[[fakeup: batch=missing]]"]
    scripts += ["[[fakeup: batch=twice]]", "[[fakeup: batch=garbled]]"]
    requests = {f"m{number}": ask(f"tag {number} {scripts[number % len(scripts)]}") for number in range(60)}
    members = list(requests.items())
    random.Random(7).shuffle(members)
    found = assigned(requests, await over(vendor, provider, members))
    assert found.keys() == requests.keys()
    for number, (name, request) in enumerate(requests.items()):
        if number % len(scripts):
            assert isinstance(found[name], ProviderError), name
            continue
        answer = found[name]
        assert isinstance(answer, Completion)
        assert answer.text == (await provider.complete(vendor.model, request)).text


async def test_the_bill_of_a_batch_is_what_the_vendor_asks_for_it(
    vendor: Vendor, provider: Any, upstream: fakeup.Upstream
) -> None:
    gateway = Gateway(Settings(profile="development"))
    model = msgspec.structs.replace(vendor.model, prices=PRICES)
    gateway.registry = Registry([model, DEAR], {}, None)
    requests = {f"m{n}": ask(f"{'word ' * n} [[fakeup: tokens={n} cached={n}]]") for n in range(1, 40)}
    results = (await over(vendor, provider, list(requests.items()))).results
    costs = []
    for name, request in requests.items():
        answer, bill = settle_member(gateway, request, model, results[name])
        assert isinstance(answer, Completion)
        assert (answer.model, answer.provider) == (model.name, model.provider)
        assert bill.cost is not None
        assert sum(bill.saved_by.values()) == bill.saved == bill.baseline_cost - bill.cost
        assert bill.saved_by["batching"] > 0
        costs.append(bill.cost)
    rows = [row for row in upstream.ledger if row.service == "batch"]
    assert sorted(costs) == sorted(row.cost for row in rows if row.cost is not None)
    assert len(rows) == len(requests)


async def test_a_failed_member_is_not_billed(vendor: Vendor, provider: Any, upstream: fakeup.Upstream) -> None:
    gateway = Gateway(Settings(profile="development"))
    gateway.registry = Registry([DEAR], {}, None)
    request = ask("[[fakeup: status=500]]")
    batch = await over(vendor, provider, [("one", request)])
    answer, bill = settle_member(gateway, request, DEAR, batch.results["one"])
    assert isinstance(answer, ProviderError)
    assert (bill.cost, bill.saved, bill.saved_by) == (0, 0, {})
    assert [row.cost for row in upstream.ledger] == []


@pytest.mark.parametrize("script", ["no_usage", "usage=negative", "usage=below", "usage=absurd"])
async def test_usage_that_cannot_be_true_never_lowers_the_bill(vendor: Vendor, provider: Any, script: str) -> None:
    gateway = Gateway(Settings(profile="development"))
    model = msgspec.structs.replace(vendor.model, prices=PRICES)
    gateway.registry = Registry([model], {}, None)
    request = ask(f"hello [[fakeup: {script} tokens=200]]")
    batch = await over(vendor, provider, [("one", request)])
    answer, bill = settle_member(gateway, request, model, batch.results["one"])
    assert isinstance(answer, Completion)
    assert answer.usage is not None
    assert (answer.usage.source, answer.usage.output_tokens) == ("estimated", 200)
    assert bill.cost is not None
    assert bill.cost >= 200 * 15_000 // 2


async def test_the_factor_is_configuration_and_an_unknown_price_is_not_zero() -> None:
    gateway = Gateway(Settings(profile="development", pricing=Pricing(batch_factor=0.3)))
    model = msgspec.structs.replace(DEAR, prices=Prices(input=per_million(1), output=per_million(1)))
    gateway.registry = Registry([model], {}, None)
    answer = Completion(text="x" * 16, model="dear", usage=None)
    _, bill = settle_member(gateway, ask("x" * 36), model, answer)
    assert bill.cost == 3_900
    _, unknown = settle_member(gateway, ask("x"), msgspec.structs.replace(model, prices=None), answer)
    assert (unknown.cost, unknown.saved) == (None, 0)


async def test_a_batch_that_was_refused_as_a_whole_says_why(upstream: fakeup.Upstream) -> None:
    async with OPENAI.open(upstream.url) as provider:
        batch = await over(OPENAI, provider, [("one", ask("[[batch refused]]"))])
    assert (batch.state, batch.results) == ("failed", {})
    assert "token_limit_exceeded" in batch.error
    (failed,) = assigned(["one"], batch).values()
    assert isinstance(failed, ProviderError)
    assert "token_limit_exceeded" in failed.message


async def test_a_vendor_that_fails_is_a_provider_error(vendor: Vendor, upstream: fakeup.Upstream) -> None:
    async with vendor.open(upstream.url) as provider:
        batch_id = await provider.submit(vendor.model, [("one", ask("hello"))])
        upstream.fault = "status=503"
        asking = provider.submit(vendor.model, [("one", ask("hello"))])
        for failing in (asking, provider.poll(vendor.model, batch_id), provider.cancel(batch_id)):
            with pytest.raises(ProviderError) as caught:
                await failing
            assert (caught.value.status, caught.value.retryable) == (503, True)


async def test_another_credential_does_not_see_the_batch(vendor: Vendor, upstream: fakeup.Upstream) -> None:
    async with vendor.open(upstream.url) as mine, vendor.open(upstream.url, api_key=Secret("sk-other")) as other:
        batch_id = await mine.submit(vendor.model, [("one", ask("hello"))])
        with pytest.raises(ProviderError) as caught:
            await other.poll(vendor.model, batch_id)
    assert caught.value.status == 404


async def test_the_gateway_knows_who_has_batches(vendor: Vendor, upstream: fakeup.Upstream) -> None:
    from asahi_kernel.outlet import Outlet
    from asahi_kernel.settings import Resilience

    async with vendor.open(upstream.url) as provider:
        assert Upstream("x", [Outlet("x", provider)], Resilience()).batching is provider
    async with OPENAI.open("http://127.0.0.1:1", batches=None) as elsewhere:
        assert Upstream("x", [Outlet("x", elsewhere)], Resilience()).batching is None
    async with OPENAI.open("", base_url="https://api.openai.com/v1", batches=None) as official:
        assert Upstream("x", [Outlet("x", official)], Resilience()).batching is official


def test_what_is_answered_twice_or_not_at_all_has_failed() -> None:
    answer = Completion(text="a", model="m")
    found = gather([("one", answer), ("two", answer), ("one", answer), ("stranger", answer)])
    assert isinstance(found["one"], ProviderError)
    mine = assigned(["one", "two", "three"], Batch(state="done", results=found))
    assert mine["two"] is answer
    assert "stranger" not in mine
    assert isinstance(mine["three"], ProviderError)


def test_a_batch_has_a_most() -> None:
    with pytest.raises(ProviderError, match="1 to 10000"):
        check_members([(str(number), ask("x")) for number in range(MOST_MEMBERS + 1)])
