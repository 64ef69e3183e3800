"""SV-2: however a request ends, `asahi savings verify` finds its entry right by the prices in storage."""

import asyncio

import pytest
from tests.chaos.kit import Says, Streams, ask, begin, chunks_of, events_of, gateway_of, only, replace

from asahi_analytics.verifying import verify
from asahi_kernel.embedding import embed
from asahi_kernel.errors import AsahiError, ProviderError
from asahi_kernel.journal.recovery import resolve
from asahi_kernel.testing import ASK, HERE
from asahi_kernel.trace import Trace
from asahi_kernel.types import Chunk, Embedded, Message, Request

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


async def test_a_call_for_vectors_that_is_never_heard_of_again_is_charged_for_all_its_texts(tmp_path):
    """The journal's worst case is of every text, not of the longest one."""
    seen = []

    class Embeds(Says):
        def dimensions(self, model):
            return 2

        most_texts = 100

        async def embed(self, model, texts, dimensions):
            files = [path.read_bytes() for path in sorted(tmp_path.glob("*.wal"))]
            seen.extend(each.event for each in resolve(files) if each.event.status == "unknown")
            return Embedded(vectors=tuple((1.0, 0.5) for _ in texts), input_tokens=40 * len(texts))

    profile = {"name": "m", "provider": "p", "cost_per_1k_input_tokens": 1.0, "capabilities": ["embeddings"]}
    tree = {"providers": {"p": {}}, "models": [profile], "journal": {"mode": "durable", "dir": str(tmp_path)}}
    async with gateway_of(tree, providers=("p", Embeds(None))) as gateway:
        texts = tuple(Message("user", f"{number} " + "word " * 30) for number in range(50))
        found = await embed(gateway, Request(messages=texts, model="m"), HERE, Trace("/v1/embeddings"), None)
        (unheard,) = seen
        assert unheard.cost >= found.answer.bill.cost
        assert await proved(gateway) == ""
