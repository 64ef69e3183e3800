"""Providers that misbehave on purpose, a vendor that says exactly what a test wants, and small shortcuts."""

import asyncio
import json
from contextlib import asynccontextmanager

import msgspec
from tests.kernel.kit import ask, chunks_of, events_of, gateway_of

from asahi_kernel import pipeline
from asahi_kernel.errors import AsahiError
from asahi_kernel.testing import ASK, HERE
from asahi_kernel.trace import Trace
from asahi_kernel.types import Chunk, Completion, Message

__all__ = ["ask", "chunks_of", "events_of", "gateway_of", "read", "replace"]

replace = msgspec.structs.replace
LONG = replace(ASK, messages=(Message("user", "word " * 5_000),))


def only(*, price=1.0, models=("m",), **limits):
    """A configuration with one provider `p` and its models, all of one price per 1,000 tokens."""
    prices = {} if price is None else {"cost_per_1k_input_tokens": price, "cost_per_1k_output_tokens": price}
    return {"providers": {"p": limits}, "models": [{"name": name, "provider": "p", **prices} for name in models]}


class Says:
    """Gives this completion, whatever it is asked."""

    def __init__(self, completion):
        self.completion = completion
        self.calls = 0

    async def complete(self, model, request):
        self.calls += 1
        return self.completion


class Streams:
    """A stream of pieces with a pause before each; then it ends, or stalls for ever."""

    def __init__(self, pieces=10, pause_s=0.0, stalls=False):
        self.pieces, self.pause_s, self.stalls = pieces, pause_s, stalls

    async def complete(self, model, request):
        return Completion(text="abcd " * self.pieces, model=model.name)

    async def stream(self, model, request):
        for _ in range(self.pieces):
            await asyncio.sleep(self.pause_s)
            yield Chunk(text="abcd ")
        if self.stalls:
            await asyncio.Event().wait()
        yield Chunk(finish_reason="stop")


async def read(relay):
    """Everything a relay gives, and the error it ended with if it did."""
    items = []
    try:
        while batch := await relay.take():
            items += batch
    except AsahiError as error:
        return items, error
    return items, None


def begin(gateway, request=ASK, principal=HERE):
    return pipeline.stream(gateway, request, principal, Trace("/infer"))


def breaker_of(gateway, name):
    """The breaker of a provider's only credential."""
    (outlet,) = gateway.upstreams[name].outlets
    return outlet.breaker


@asynccontextmanager
async def vendor(answer):
    """A raw host: `answer(number, body)` gives the bytes of each answer. Yields its URL and the bodies it was sent."""
    bodies = []

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                bodies.append(await reader.readexactly(size))
                writer.write(answer(len(bodies), bodies[-1]))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", bodies
    finally:
        server.close()


def reply(text="hello there", reason="stop", **more):
    """An HTTP answer with a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    body = json.dumps({"id": "chatcmpl-1", "choices": [choice], "usage": usage, **more}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def speaks(url, **more):
    """A configuration of the OpenAI wire with one model at that address."""
    model = {"name": "m", "provider": "openai", "cost_per_1k_input_tokens": 0.001, "cost_per_1k_output_tokens": 0.002}
    table = {"api_key": "sk-canary-Zq8Lw3Rt6Yp1Xn5V", "base_url": f"{url}/v1", "backoff_base_s": 0.001, **more}
    return {"auth": "open", "governance": {"policies": []}, "providers": {"openai": table}, "models": [model]}
