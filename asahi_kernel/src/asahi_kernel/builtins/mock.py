"""The mock provider: deterministic answers without a vendor, with scripted faults for tests."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from asahi_kernel.errors import ProviderError
from asahi_kernel.factory import Config, Factory
from asahi_kernel.fingerprint import Salt, fingerprint
from asahi_kernel.gateway import Gateway
from asahi_kernel.money import count_input, count_tokens
from asahi_kernel.protocols import Provider
from asahi_kernel.types import (
    Choice,
    Chunk,
    Completion,
    Embedded,
    FinishReason,
    Model,
    Request,
    ToolCall,
    ToolCallDelta,
    Usage,
    Vector,
)

#: How long its vectors are where the caller does not say.
DIMENSIONS = 1_536

_WORDS = [
    "answer",
    "because",
    "budget",
    "cache",
    "clear",
    "cost",
    "data",
    "design",
    "each",
    "early",
    "every",
    "fact",
    "first",
    "good",
    "help",
    "idea",
    "keep",
    "large",
    "later",
    "level",
    "light",
    "list",
    "main",
    "many",
    "method",
    "model",
    "morning",
    "need",
    "note",
    "often",
    "order",
    "part",
    "plan",
    "point",
    "quick",
    "reason",
    "result",
    "rule",
    "sample",
    "save",
    "second",
    "share",
    "short",
    "simple",
    "small",
    "step",
    "sun",
    "table",
    "task",
    "term",
    "test",
    "time",
    "trace",
    "value",
    "view",
    "week",
    "while",
    "work",
]


class Fault(Config, frozen=True):
    """What goes wrong on call number `call` (from 1; 0 is every call). `after` counts delivered chunks of a stream."""

    call: Annotated[int, Meta(ge=0)] = 0
    kind: Literal["status", "stall", "reset", "usage"] = "status"
    status: Annotated[int, Meta(ge=400, le=599)] = 503
    retry_after_s: Annotated[float, Meta(ge=0)] | None = None
    after: Annotated[int, Meta(ge=0)] = 0
    usage: Literal["none", "negative", "absurd"] = "none"


class MockConfig(Config, frozen=True):
    """`latency_share` is the share of a model's latency that is really waited."""

    latency_share: Annotated[float, Meta(ge=0, le=1)] = 0.01
    faults: tuple[Fault, ...] = ()


class Mock:
    """Text, tokens and waiting time are a function of the request. `calls` lists the models that were asked."""

    wire = "*"

    def __init__(self, config: MockConfig) -> None:
        self._config = config
        self.calls: list[str] = []

    async def complete(self, model: Model, request: Request) -> Completion:
        fault = self._begin(model)
        digest = _digest(model, request)
        await asyncio.sleep(self._wait_s(model, digest))
        if fault is not None:
            await _strike(fault)
        return _completion(model, request, digest, fault)

    async def stream(self, model: Model, request: Request) -> AsyncIterator[Chunk]:
        fault = self._begin(model)
        digest = _digest(model, request)
        await asyncio.sleep(self._wait_s(model, digest))
        completion = _completion(model, request, digest, fault)
        for sent, chunk in enumerate(_chunks(completion)):
            if fault is not None and sent >= fault.after:
                await _strike(fault)
            yield chunk
            if chunk.text:
                await asyncio.sleep(0)

    async def embed(self, model: Model, texts: Sequence[str], dimensions: int | None) -> Embedded:
        fault = self._begin(model)
        await asyncio.sleep(self._wait_s(model, hashlib.sha256(model.name.encode()).digest()))
        if fault is not None:
            await _strike(fault)
        vectors = tuple(_vector(model, text, dimensions or DIMENSIONS) for text in texts)
        told: int | None = sum(map(count_tokens, texts))
        if fault is not None and fault.kind == "usage":
            told = {"none": None, "negative": -5, "absurd": 2**60}[fault.usage]
        return Embedded(vectors, told)

    def _begin(self, model: Model) -> Fault | None:
        self.calls.append(model.name)
        if len(self.calls) > 100_000:
            del self.calls[:50_000]
        number = len(self.calls)
        return next((fault for fault in self._config.faults if fault.call in (0, number)), None)

    def _wait_s(self, model: Model, digest: bytes) -> float:
        return model.avg_latency_ms / 1e3 * self._config.latency_share * (0.8 + digest[0] / 640)


def _vector(model: Model, text: str, dimensions: int) -> Vector:
    """A unit vector that is a function of model and text; its prefix is the same in every length."""
    seed = f"{model.name}\0{text}".encode("utf-8", "surrogatepass")
    numbers = struct.unpack(f"<{dimensions}h", hashlib.shake_256(seed).digest(2 * dimensions))
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return tuple(number / length for number in numbers)


async def _strike(fault: Fault) -> None:
    if fault.kind == "status":
        retryable = fault.status in {408, 409, 429} or fault.status >= 500
        raise ProviderError(
            f"mock fault {fault.status}",
            status=fault.status,
            retryable=retryable,
            retry_after=fault.retry_after_s,
            rejected=fault.status in {400, 422},
        )
    if fault.kind == "reset":
        raise ProviderError("mock fault: the connection was reset")
    if fault.kind == "stall":
        await asyncio.Event().wait()


def _digest(model: Model, request: Request) -> bytes:
    return fingerprint(request, Salt(hashlib.sha256(model.name.encode()).digest()))


def _completion(model: Model, request: Request, digest: bytes, fault: Fault | None) -> Completion:
    source = random.Random(digest)
    tokens_in = max(1, count_input(request))
    wanted = max(20, int(tokens_in * source.uniform(0.3, 0.8)))
    tokens_out = min(wanted, request.max_tokens or model.max_output_tokens, model.max_output_tokens)
    finish: FinishReason = "stop" if tokens_out == wanted else "length"
    usage: Usage | None = Usage(tokens_in, tokens_out * request.n)
    if fault is not None and fault.kind == "usage":
        usage = {"none": None, "negative": Usage(-5, -5), "absurd": Usage(2**60, 2**60)}[fault.usage]
    calls = _tool_calls(request, digest)
    return Completion(
        text="" if calls else _text(model, request, tokens_out, source),
        model=model.name,
        usage=usage,
        finish_reason="tool_calls" if calls else finish,
        tool_calls=calls,
        provider_request_id=f"mock-{digest.hex()[:12]}",
        others=tuple(
            Choice(finish_reason="tool_calls", tool_calls=calls)
            if calls
            else Choice(text=_text(model, request, tokens_out, source), finish_reason=finish)
            for _ in range(1, request.n)
        ),
    )


def _text(model: Model, request: Request, tokens: int, source: random.Random) -> str:
    """About four bytes a token, so that the usage fits the text."""
    question = " ".join(request.messages[-1].text.split())[:60]
    text = f"Mock answer of {model.name} to \u201c{question}\u201d:"
    while len(text.encode()) < tokens * 4:
        text += " " + source.choice(_WORDS)
    return text.encode()[: max(4, tokens * 4)].decode("utf-8", "ignore")


def _tool_calls(request: Request, digest: bytes) -> tuple[ToolCall, ...]:
    """With tools on offer and no tool result yet, call the first function with an argument for each required field."""
    functions = [tool for tool in request.tools if tool.type == "function"]
    if not functions or request.tool_choice == b'"none"' or request.messages[-1].role == "tool":
        return ()
    schema = msgspec.json.decode(functions[0].parameters or b"{}")
    fields = schema.get("properties", {}) if isinstance(schema, dict) else {}
    samples = {"string": "mock", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    arguments = {
        name: samples.get(str(field.get("type")), "mock") for name, field in fields.items() if isinstance(field, dict)
    }
    call_id = "call_" + hashlib.sha256(digest).hexdigest()[:16]
    return (ToolCall(id=call_id, name=functions[0].name, arguments=msgspec.json.encode(arguments).decode()),)


def _chunks(completion: Completion) -> list[Chunk]:
    text = completion.text
    chunks = [Chunk(text=text[start : start + 16]) for start in range(0, len(text), 16)]
    for index, call in enumerate(completion.tool_calls):
        delta = ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments, type="function")
        chunks.append(Chunk(tool_calls=(delta,)))
    identity = completion.provider_request_id
    return [
        *chunks,
        Chunk(finish_reason=completion.finish_reason, usage=completion.usage, provider_request_id=identity),
    ]


@asynccontextmanager
async def open_mock(config: MockConfig, gateway: Gateway) -> AsyncIterator[Provider]:
    yield Mock(config)


MOCK: Factory[Provider, MockConfig] = Factory("mock", MockConfig, open_mock)
