"""CPU that the provider adds to its client: encoding, decoding, chunks. Ratios and differences within one run.

`python benchmarks/clients/provider_cost.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from statistics import median

import uvloop
from contestants import own
from cost import AT_ONCE, cpu_s
from upstream import upstream

from asahi_kernel import Message, Model, Request, Secret
from asahi_kernel.wire.sse import EventParser
from asahi_openai.config import OpenAIConfig
from asahi_openai.encode import encode
from asahi_openai.provider import opened

ROUNDS, TIMES = 9, 1_600
MODEL = Model(name="m", provider="openai", api_model="m")


def ask(script: str) -> Request:
    return Request(messages=(Message("system", "be brief"), Message("user", "hello " * 50 + script)))


WHOLE, STREAM = ask("[[fakeup: tokens=50]]"), ask("[[fakeup: tokens=48]]")


async def cost_us(run: Callable[[], Awaitable[object]]) -> float:
    async def worker() -> None:
        for _ in range(TIMES // AT_ONCE):
            await run()

    before = cpu_s()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return (cpu_s() - before) * 1e6 / TIMES


async def main() -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(upstream())
        client = await stack.enter_async_context(own(url, 100))
        config = OpenAIConfig(api_key=Secret("sk-bench"), base_url=url + "/v1")
        provider = await stack.enter_async_context(opened(config))
        whole = encode(WHOLE, "m", stream=False, max_tokens_parameter="max_tokens")
        stream = encode(STREAM, "m", stream=True, max_tokens_parameter="max_tokens")

        async def client_stream() -> None:
            parser = EventParser()
            async for piece in client.pieces(stream):
                parser.feed(piece)

        async def provider_stream() -> None:
            async for _ in provider.stream(MODEL, STREAM):
                pass

        runs: dict[str, Callable[[], Awaitable[object]]] = {
            "client, call": lambda: client.whole(whole),
            "provider, call": lambda: provider.complete(MODEL, WHOLE),
            "client, 50-chunk stream": client_stream,
            "provider, 50-chunk stream": provider_stream,
        }
        figures: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                figures[name].append(await cost_us(run))
    for name, values in figures.items():
        print(f"{name}: {median(values):.0f} µs")


if __name__ == "__main__":
    uvloop.run(main())
