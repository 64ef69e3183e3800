"""Cohere's chat wire, version 2, as a server speaks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.testing.fakeup.generation import Answer, Call, reported
from asahi_kernel.testing.fakeup.script import Script

PATH = "/v2/chat"
#: The vendor's own preamble: told among all tokens, not billed.
_PREAMBLE = 40
_FINISH = {"stop": b"COMPLETE", "length": b"MAX_TOKENS", "tool_calls": b"TOOL_CALL"}


class _ImageUrl(Struct, forbid_unknown_fields=True):
    url: str
    detail: Literal["auto", "low", "high"] | None = None


class _Piece(Struct, forbid_unknown_fields=True):
    type: Literal["text", "image_url", "thinking", "document"]
    text: str | None = None
    thinking: str | None = None
    image_url: _ImageUrl | None = None
    document: dict[str, object] | None = None


class _CalledFunction(Struct, forbid_unknown_fields=True):
    name: str
    arguments: str


class _ToolCall(Struct, forbid_unknown_fields=True):
    id: str
    function: _CalledFunction
    type: Literal["function"] = "function"


class _Turn(Struct, forbid_unknown_fields=True):
    role: Literal["user", "assistant", "system", "tool"]
    content: str | list[_Piece] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_plan: str | None = None
    tool_call_id: str | None = None
    citations: list[object] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(piece.text or "" for piece in self.content)
        return (self.tool_plan or "") + (self.content or "")


class _Function(Struct, forbid_unknown_fields=True):
    name: str
    parameters: dict[str, object]
    description: str | None = None


class _Tool(Struct, forbid_unknown_fields=True):
    function: _Function
    type: Literal["function"] = "function"


class _ResponseFormat(Struct, forbid_unknown_fields=True):
    type: Literal["text", "json_object"]
    json_schema: dict[str, object] | None = None


class _Body(Struct, forbid_unknown_fields=True):
    model: str
    messages: Annotated[list[_Turn], Meta(min_length=1)]
    stream: bool = False
    tools: list[_Tool] | None = None
    strict_tools: bool | None = None
    tool_choice: Literal["REQUIRED", "NONE"] | None = None
    response_format: _ResponseFormat | None = None
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=5)] | None = None
    temperature: Annotated[float, Meta(ge=0)] | None = None
    p: Annotated[float, Meta(ge=0.01, le=0.99)] | None = None
    seed: int | None = None
    logprobs: bool | None = None


_BODY = msgspec.json.Decoder(_Body)


def decode(body: bytes) -> Call:
    """Reads a request as strictly as the vendor; `ValueError` when it is none."""
    asked = _BODY.decode(body)
    _check(asked)
    tools = tuple(tool.function.name for tool in asked.tools or ()) if asked.tool_choice != "NONE" else ()
    return Call(
        model=asked.model,
        prompt=next((turn.text for turn in reversed(asked.messages) if turn.role == "user"), ""),
        content="\n".join(turn.text for turn in asked.messages).encode(),
        max_tokens=asked.max_tokens,
        stream=asked.stream,
        tools=tools,
        forced=tools[0] if asked.tool_choice == "REQUIRED" and tools else None,
    )


def _check(asked: _Body) -> None:
    """The rules that a translation breaks most easily."""
    if asked.response_format is not None and asked.response_format.type == "json_object" and asked.tools:
        raise ValueError("response_format: not supported in combination with tools")
    if asked.tool_choice == "REQUIRED" and not asked.tools:
        raise ValueError("tool_choice: REQUIRED needs tools")
    called: set[str] = set()
    for turn in asked.messages:
        if turn.role == "tool":
            if turn.tool_call_id not in called or turn.content is None:
                raise ValueError("messages: a tool message must answer a tool call of the turn before")
            called.discard(turn.tool_call_id or "")
            continue
        if called:
            raise ValueError("messages: every tool call must be answered")
        if turn.role != "assistant" and turn.content is None:
            raise ValueError("messages: content is required")
        called = {call.id for call in turn.tool_calls or ()}


def usage(script: Script, answer: Answer) -> bytes | None:
    """The usage object as the script has it told: what is billed, and all there was."""
    if script.no_usage:
        return None
    told_input, told_output, told_cached = reported(script, answer)
    billed = b'{"input_tokens":%b,"output_tokens":%b}' % (told_input, told_output)
    spent = b'{"input_tokens":%d,"output_tokens":%d}' % (answer.input_tokens + _PREAMBLE, answer.output_tokens)
    return b'{"billed_units":%b,"tokens":%b,"cached_tokens":%b}' % (billed, spent, told_cached)


def reply(answer: Answer) -> bytes:
    """The body of an answer that is not streamed."""
    text, thought = b"".join(answer.choices[0]).decode(), b"".join(answer.thinking).decode()
    message: dict[str, object] = {"role": "assistant"}
    if answer.tool is not None:
        function = {"name": answer.tool, "arguments": text}
        message["tool_calls"] = [{"id": _call_id(answer), "type": "function", "function": function}]
        message["tool_plan"] = thought
    else:
        thoughts = [{"type": "thinking", "thinking": thought}] if thought else []
        message["content"] = [*thoughts, {"type": "text", "text": text}]
    told = b"" if answer.usage is None else b',"usage":' + answer.usage
    return b'{"id":"%b","finish_reason":"%b","message":%b%b}' % (
        answer.id.encode(),
        _FINISH[answer.finish],
        msgspec.json.encode(message),
        told,
    )


def frames(answer: Answer, include_usage: bool) -> Iterator[tuple[bytes, int]]:
    """The events of a stream, each with the number of tokens in it. This wire always tells usage."""
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield _event("message-start", {"message": start}, id=answer.id), 0
    if answer.tool is None:
        yield from _blocks(answer)
    else:
        yield from _calls(answer)
    told = b"" if answer.usage is None else b',"usage":' + answer.usage
    delta = msgspec.Raw(b'{"finish_reason":"%b"%b}' % (_FINISH[answer.finish], told))
    yield _event("message-end", delta, id=answer.id), 0


def error(status: int, message: str) -> bytes:
    """An error as the vendor documents it."""
    return msgspec.json.encode({"id": "00000000-0000-0000-0000-000000000000", "message": message})


def error_event() -> bytes:
    """An error in the middle of a stream."""
    return _event("message-end", {"finish_reason": "ERROR", "error": "internal server error"})


def _blocks(answer: Answer) -> Iterator[tuple[bytes, int]]:
    index = 0
    for kind, tokens in (("thinking", answer.thinking), ("text", answer.choices[0])):
        if kind == "thinking" and not tokens:
            continue
        yield _event("content-start", {"message": {"content": {"type": kind, kind: ""}}}, index=index), 0
        for token in tokens:
            yield _event("content-delta", {"message": {"content": {kind: token.decode()}}}, index=index), 1
        yield _event("content-end", None, index=index), 0
        index += 1


def _calls(answer: Answer) -> Iterator[tuple[bytes, int]]:
    for token in answer.thinking:
        yield _event("tool-plan-delta", {"message": {"tool_plan": token.decode()}}), 1
    call = {"id": _call_id(answer), "type": "function", "function": {"name": answer.tool, "arguments": ""}}
    yield _event("tool-call-start", {"message": {"tool_calls": call}}, index=0), 0
    for token in answer.choices[0]:
        piece = {"function": {"arguments": token.decode()}}
        yield _event("tool-call-delta", {"message": {"tool_calls": piece}}, index=0), 1
    yield _event("tool-call-end", None, index=0), 0


def _call_id(answer: Answer) -> str:
    return f"{answer.tool}_{answer.id}"


def _event(kind: str, delta: object, **further: object) -> bytes:
    told = {"type": kind, **further} | ({} if delta is None else {"delta": delta})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(told))
