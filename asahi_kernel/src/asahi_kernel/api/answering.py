"""What is done with a request once it is decoded and its caller known: an answer in words, whole or as a stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from asahi_kernel import pipeline
from asahi_kernel.answer import Answer
from asahi_kernel.api.exchange import Dialect, left, named
from asahi_kernel.errors import AsahiError
from asahi_kernel.relay import SILENCE, Relay
from asahi_kernel.types import Chunk
from asahi_kernel.wire.headers import answer_headers

if TYPE_CHECKING:
    from litestar.types import Receive

    from asahi_kernel.api.reply import Reply
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Principal, Request
    from asahi_kernel.wire.asked import Asked

_JSON = b"application/json"


class StreamWriter(Protocol):
    """Encodes one stream's events. `silence` is what to say when nothing has come for a while, or nothing."""

    silence: bytes

    def role(self) -> bytes: ...
    def chunk(self, chunk: Chunk) -> bytes: ...
    def finish(self, answer: Answer) -> bytes: ...
    def error(self, error: AsahiError) -> bytes: ...


class Wire(Dialect, Protocol):
    """One dialect of HTTP inference: how it reads a request and writes an answer, a stream, an error."""

    def encode(self, answer: Answer, asked: Asked) -> bytes: ...
    def writer(self, asked: Asked, trace: Trace) -> StreamWriter: ...


class Answering:
    """Answers on one wire."""

    def __init__(self, gateway: Gateway, wire: Wire) -> None:
        self._gateway = gateway
        self._wire = wire

    def named(self, request: Request) -> Request:
        return named(self._gateway, request)

    async def answer(
        self, asked: Asked, request: Request, principal: Principal, receive: Receive, reply: Reply, trace: Trace
    ) -> None:
        if request.terms.stream and not request.terms.dry_run:
            await self._stream(asked, request, principal, receive, reply, trace)
            return
        run = pipeline.rehearse if request.terms.dry_run else pipeline.infer
        answer = await run(self._gateway, request, principal, trace)
        await reply.whole(200, self._wire.encode(answer, asked), _JSON, answer_headers(answer))

    async def _stream(
        self, asked: Asked, request: Request, principal: Principal, receive: Receive, reply: Reply, trace: Trace
    ) -> None:
        relay = pipeline.stream(self._gateway, request, principal, trace)
        watcher = None
        if reply.claim is None:  # else the answer is made to its end, for when the client comes back
            watcher = asyncio.get_running_loop().create_task(_watch(receive, relay))
        clock = None
        try:
            items = await relay.take()
            writer = self._wire.writer(asked, trace)
            known = answer_headers(items[-1]) if items and isinstance(items[-1], Answer) else None
            await reply.begin(known)
            await reply.piece(writer.role())
            if writer.silence:
                clock = _Clock(relay, self._gateway.settings.streams.ping_s)
            while items:
                await reply.piece(b"".join([_encoded(writer, item) for item in items]))
                if clock is not None:
                    clock.heard()
                try:
                    items = await relay.take()
                except AsahiError as error:
                    reply.broken, reply.fault = True, error.code
                    await reply.piece(writer.error(error))
                    break
            await reply.end()
        finally:
            relay.abandon()
            if watcher is not None:
                watcher.cancel()
            if clock is not None:
                clock.stop()


class _Clock:
    """Breaks a stream's silence. One timer is set at a time, and only moved when it fires: moving it on every chunk
    would cost more than the chunk."""

    def __init__(self, relay: Relay, seconds: float) -> None:
        self._relay = relay
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._tick)

    def heard(self) -> None:
        """Something was sent just now."""
        self._heard = self._loop.time()

    def stop(self) -> None:
        self._timer.cancel()

    def _tick(self) -> None:
        due = self._heard + self._seconds
        now = self._loop.time()
        if now >= due:
            self._relay.break_silence()
            due = now + self._seconds
        self._timer = self._loop.call_at(due, self._tick)


def _encoded(writer: StreamWriter, item: Chunk | Answer) -> bytes:
    if item is SILENCE:
        return writer.silence
    return writer.finish(item) if isinstance(item, Answer) else writer.chunk(item)


async def _watch(receive: Receive, relay: Relay) -> None:
    """A client that leaves is only seen here: the server swallows what is sent after it."""
    await left(receive)
    relay.abandon()
