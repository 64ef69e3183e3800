"""The inference routes: raw ASGI handlers, because a typed handler costs more than the whole pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from litestar import asgi
from litestar.handlers import ASGIRouteHandler

from asahi_kernel.api.answering import Answering
from asahi_kernel.api.dialects import OpenAIErrors, unknown_model
from asahi_kernel.api.embeddings import Embedding, EmbeddingWire
from asahi_kernel.api.exchange import Exchange
from asahi_kernel.errors import AsahiError, Unavailable
from asahi_kernel.registry import UnknownModel
from asahi_kernel.wire import anthropic, native, openai, responses

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

    from asahi_kernel.answer import Answer
    from asahi_kernel.api.answering import Wire
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Chunk
    from asahi_kernel.wire.asked import Asked


def exchanges(gateway: Gateway) -> dict[str, Exchange]:
    """One exchange for each inference path."""
    strict_fields = gateway.settings.api.strict_fields
    wires: tuple[Wire, ...] = (Native(), OpenAI(strict_fields), Responses(strict_fields), Anthropic(strict_fields))
    embedding = EmbeddingWire()
    found = {wire.route: Exchange(gateway, wire, Answering(gateway, wire)) for wire in wires}
    return {**found, embedding.route: Exchange(gateway, embedding, Embedding(gateway))}


def inference_route(path: str, exchange: Exchange) -> ASGIRouteHandler:
    """The path as a route of the application."""

    @asgi(path, opt={"permission": "infer"}, copy_scope=False)
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await exchange(scope, receive, send)

    return answer


class Native:
    """`POST /infer`."""

    route = "/infer"
    error_type = b"application/problem+json"

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Asked:
        return native.decode(body, headers)

    def encode(self, answer: Answer, asked: Asked) -> bytes:
        return native.encode(answer)

    def told(self, error: AsahiError) -> AsahiError:
        return error

    def error(self, error: AsahiError, request_id: str) -> bytes:
        return native.problem(error, request_id)

    def writer(self, asked: Asked, trace: Trace) -> NativeStream:
        return NativeStream(trace.request_id)


class NativeStream:
    """`delta` events, then one `done` or one `error`."""

    silence = b""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def role(self) -> bytes:
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        return native.encode_delta(chunk.text) if chunk.text else b""

    def finish(self, answer: Answer) -> bytes:
        return native.encode_done(answer)

    def error(self, error: AsahiError) -> bytes:
        return native.encode_error_event(error, self._request_id)


class OpenAI(OpenAIErrors):
    """`POST /v1/chat/completions`."""

    route = "/v1/chat/completions"

    def __init__(self, strict_fields: bool) -> None:
        self._strict_fields = strict_fields

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Asked:
        return openai.decode(body, headers, strict_fields=self._strict_fields)

    def encode(self, answer: Answer, asked: Asked) -> bytes:
        return openai.encode(answer)

    def writer(self, asked: Asked, trace: Trace) -> openai.StreamEncoder:
        created = int(trace.timestamp.timestamp())
        return openai.StreamEncoder(trace.request_id, trace.model, created, asked.include_usage)


class Responses(OpenAIErrors):
    """`POST /v1/responses`."""

    route = "/v1/responses"

    def __init__(self, strict_fields: bool) -> None:
        self._strict_fields = strict_fields

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Asked:
        return responses.decode(body, headers, strict_fields=self._strict_fields)

    def encode(self, answer: Answer, asked: Asked) -> bytes:
        return responses.encode(answer, asked.echo)

    def writer(self, asked: Asked, trace: Trace) -> responses.StreamEncoder:
        created = int(trace.timestamp.timestamp())
        return responses.StreamEncoder(trace.request_id, trace.model, created, asked.echo)


class Overloaded(Unavailable):
    """The same under the status by which Anthropic's clients know it."""

    status = 529


class Anthropic:
    """`POST /v1/messages`."""

    route = "/v1/messages"
    error_type = b"application/json"

    def __init__(self, strict_fields: bool) -> None:
        self._strict_fields = strict_fields

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Asked:
        return anthropic.decode(body, headers, strict_fields=self._strict_fields)

    def encode(self, answer: Answer, asked: Asked) -> bytes:
        return anthropic.encode(answer)

    def told(self, error: AsahiError) -> AsahiError:
        if isinstance(error, Unavailable):
            return Overloaded(error.message, code=error.code, retry_after=error.retry_after or 30)
        return unknown_model(error) if isinstance(error, UnknownModel) else error

    def error(self, error: AsahiError, request_id: str) -> bytes:
        return anthropic.error(error, request_id)

    def writer(self, asked: Asked, trace: Trace) -> anthropic.StreamEncoder:
        return anthropic.StreamEncoder(trace.request_id, trace.model)
