"""Streams, dry runs and settlement through the real gateway with the mock provider."""

import msgspec
import pytest
from tests.kernel.kit import ask, chunks_of, events_of, faults, gateway_of

from asahi_kernel import pipeline
from asahi_kernel.answer import Answer
from asahi_kernel.errors import (
    Invalid,
    ProviderFailed,
)
from asahi_kernel.testing import ASK, HERE
from asahi_kernel.trace import Trace
from asahi_kernel.types import Message, Terms

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace


async def test_a_stream_gives_the_same_text_and_ends_with_the_answer():
    async with gateway_of() as gateway:
        whole = await ask(gateway, replace(ASK, seed=1))
        items = await chunks_of(gateway, replace(ASK, terms=Terms(cache="off"), seed=1))
        assert isinstance(items[-1], Answer)
        assert "".join(item.text for item in items[:-1]) == whole.completion.text == items[-1].completion.text


async def test_a_hit_is_streamed_from_the_cache():
    async with gateway_of() as gateway:
        whole = await ask(gateway)
        items = await chunks_of(gateway)
        assert "".join(item.text for item in items[:-1]) == whole.completion.text
        assert items[-1].hit is not None


@pytest.mark.parametrize("after", range(4))
async def test_a_stream_that_breaks_is_a_failure_and_never_cached(after):
    """PR-6, E5."""
    async with gateway_of(faults({"call": 1, "kind": "reset", "after": after}, max_retries=0)) as gateway:
        relay = pipeline.stream(gateway, replace(ASK, model="gpt-4-turbo"), HERE, Trace("/infer"))
        text, failure = "", None
        try:
            while items := await relay.take():
                text += "".join(item.text for item in items if not isinstance(item, Answer))
        except ProviderFailed as error:
            failure = error
        if after:
            assert failure is not None
            (event,) = await events_of(gateway)
            assert (event.status, event.cost > 0, event.saved < 0) == ("failed", True, True)
            assert (await ask(gateway, replace(ASK, model="gpt-4-turbo"))).hit is None
        else:
            assert not text.count("Mock answer") > 1


async def test_a_stream_never_splices_two_models():
    """E4."""
    async with gateway_of(faults({"call": 1, "kind": "reset", "after": 2})) as gateway:
        relay = pipeline.stream(gateway, ASK, HERE, Trace("/infer"))
        with pytest.raises(ProviderFailed):
            while await relay.take():
                pass
        assert len(gateway.upstreams["mock"].provider.calls) == 1


async def test_a_client_that_leaves_still_pays_for_what_was_generated():
    """PL-8."""
    for mode, status in (("abort", "aborted"), ("drain", "ok")):
        tree = {"streams": {"on_disconnect": mode}}
        long = replace(ASK, messages=(Message("user", "tell me everything " * 50),))
        async with gateway_of(tree) as gateway:
            relay = pipeline.stream(gateway, long, HERE, Trace("/infer"))
            await relay.take()
            relay.abandon()
            await gateway.drain(5)
            (event,) = await events_of(gateway)
            assert event.status == status
            assert event.cost > 0
            assert event.output_tokens >= 4


async def test_a_dry_run_calls_nobody_and_records_nothing():
    async with gateway_of() as gateway:
        answer = await pipeline.rehearse(gateway, ASK, HERE, Trace("/infer"))
        assert answer.bill.cost > 0
        assert len(answer.route.alternatives) == 4
        assert gateway.upstreams["mock"].provider.calls == []
        assert await events_of(gateway) == []


async def test_reservations_are_settled_once_whatever_happens():
    log = []

    class Budget:
        async def admit(self, request, principal):
            return request

        async def reserve(self, request_id, principal, amount):
            log.append(("reserve", amount))

        async def settle(self, request_id, principal, cost):
            log.append(("settle", cost))

    script = faults({"call": 2, "status": 400})
    async with gateway_of({"governance": {"policies": ["purse"]}, **script}, policies=("purse", Budget())) as gateway:
        answer = await ask(gateway)
        assert log[-1] == ("settle", answer.bill.cost)
        log.clear()
        await ask(gateway)
        assert log == []
        with pytest.raises(Invalid):
            await ask(gateway, replace(ASK, seed=2))
        assert [word for word, _ in log] == ["reserve", "settle"]
        assert log[-1] == ("settle", 0)


async def test_a_storage_that_fails_loses_nothing_and_stops_nobody():
    async with gateway_of() as gateway:
        post, down = gateway.storage.books.post, [True]

        async def flaky(batch):
            if down[0]:
                raise OSError("down")
            return await post(batch)

        gateway.storage.books.post = flaky
        for number in range(3):
            await ask(gateway, replace(ASK, seed=number))
        await gateway.journal.flush()
        assert (gateway.journal.lag, gateway.faults["storage"] > 0) == (3, True)
        down[0] = False
        assert len(await events_of(gateway)) == 3
        assert gateway.journal.lag == 0
