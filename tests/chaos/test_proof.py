"""SV-2: however a request ends, `asahi savings verify` finds its entry right by the prices in storage."""

import asyncio

import pytest
from tests.chaos.kit import Streams, ask, begin, chunks_of, events_of, gateway_of, only, replace

from asahi_analytics.verifying import verify
from asahi_kernel.errors import AsahiError, ProviderError
from asahi_kernel.testing import ASK
from asahi_kernel.types import Chunk

pytestmark = pytest.mark.anyio


async def proved(gateway, org="here"):
    """What a verification finds wrong with all that was settled until now."""
    await gateway.journal.flush()
    books = {book.version: book for book in await gateway.storage.prices.all()}
    found = await verify(org, gateway.storage.ledger.entries(org), books)
    return found.fault


class Breaks(Streams):
    async def stream(self, model, request):
        yield Chunk(text="half ")
        raise ProviderError("it broke", status=500)


@pytest.mark.parametrize("price", [1.0, None])
async def test_a_stream_that_broke_off_is_charged_and_proved(price):
    async with gateway_of(only(price=price), providers=("p", Breaks())) as gateway:
        with pytest.raises(AsahiError):
            await chunks_of(gateway)
        (event,) = await events_of(gateway)
        assert (event.status, bool(event.cost)) == ("failed", price is not None)
        assert await proved(gateway) == ""


async def test_a_stream_whose_client_left_is_charged_and_proved():
    tree = {**only(), "streams": {"on_disconnect": "abort"}}
    async with gateway_of(tree, providers=("p", Streams(stalls=True))) as gateway:
        relay = begin(gateway)
        await relay.take()
        relay.abandon()
        while gateway.relays:
            await asyncio.sleep(0.01)
        await ask(gateway, replace(ASK, seed=1))
        aborted, answered = await events_of(gateway)
        assert (aborted.status, answered.status) == ("aborted", "ok")
        assert aborted.cost > 0
        assert await proved(gateway) == ""
