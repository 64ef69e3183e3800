"""Anthropic's messages wire as a server speaks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from asahi_kernel.testing.fakeup.generation import Answer, Call, reported
from asahi_kernel.testing.fakeup.prompt_cache import blocks_of, tools_size
from asahi_kernel.testing.fakeup.script import Script

PATH = "/v1/messages"
COUNT_PATH = "/v1/messages/count_tokens"
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_FINISH = {"stop": b"end_turn", "length": b"max_tokens", "tool_calls": b"tool_use"}


class _Block(Struct):
    type: str = "text"
    text: str | None = None
    id: str | None = None
    tool_use_id: str | None = None
    content: str | list[_Block] | None = None


class _Turn(Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[_Block]


class _Tool(Struct):
    name: str = ""
    type: str = "custom"
    input_schema: dict[str, object] | None = None


class _ToolChoice(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class _Asked(Struct):
    model: str
    messages: list[_Turn]
    system: str | list[_Block] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None


class _Body(_Asked, kw_only=True):
    max_tokens: int
    stream: bool = False
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    seed: None = None
    n: None = None
    response_format: None = None


_BODY = msgspec.json.Decoder(_Body)
_ASKED = msgspec.json.Decoder(_Asked)


def decode(body: bytes) -> Call:
    """Reads a request as strictly as the vendor; `ValueError` when it is none."""
    asked = _BODY.decode(body)
    _check(asked)
    choice = asked.tool_choice
    tools = tuple(tool.name for tool in asked.tools or ()) if choice is None or choice.type != "none" else ()
    forced = None
    if choice is not None and tools:
        forced = choice.name if choice.type == "tool" else tools[0] if choice.type == "any" else None
    return Call(
        model=asked.model,
        prompt=next((_text(turn.content) for turn in reversed(asked.messages) if turn.role == "user"), ""),
        content=_content(asked),
        max_tokens=asked.max_tokens,
        stream=asked.stream,
        tools=tools,
        forced=forced,
        blocks=blocks_of(body),
        tools_size=tools_size(body),
    )


def count(body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a request for a count of tokens."""
    try:
        asked = _ASKED.decode(body)
        _check(asked)
    except (ValueError, UnicodeDecodeError) as fault:
        return 400, error(400, f"fakeup: {fault}")
    return 200, b'{"input_tokens":%d}' % ((len(_content(asked)) + tools_size(body)) // 4 + 1)


def _check(asked: _Asked) -> None:
    """The rules that a translation breaks most easily."""
    if any(tool.type == "custom" and tool.input_schema is None for tool in asked.tools or ()):
        raise ValueError("tools: input_schema is required")
    called: set[str | None] = set()
    for turn in asked.messages:
        blocks = turn.content if isinstance(turn.content, list) else []
        if turn.role != "system" and not turn.content:
            raise ValueError("messages: content must not be empty")
        if any(block.type == "text" and not block.text for block in blocks):
            raise ValueError("messages: text content blocks must be non-empty")
        results = {block.tool_use_id for block in blocks if block.type == "tool_result"}
        if results != called and (results or called):
            raise ValueError("messages: tool_result blocks must answer the tool_use blocks of the turn before")
        called = {block.id for block in blocks if block.type == "tool_use"}


def usage(script: Script, answer: Answer) -> bytes | None:
    """The usage object as the script has it told: `input_tokens` leaves out what the cache read or wrote."""
    if script.no_usage:
        return None
    told_input, told_output, told_cached = reported(script, answer)
    if script.usage is None:
        told_input = b"%d" % (answer.input_tokens - answer.cached_tokens - answer.cache_write_tokens)
    told = b'{"input_tokens":%b,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%b,"output_tokens":%b}'
    return told % (told_input, answer.cache_write_tokens, told_cached, told_output)


def reply(answer: Answer) -> bytes:
    """The body of an answer that is not streamed."""
    text = b"".join(answer.choices[0])
    if answer.tool is None:
        block = b'{"type":"text","text":"%b"}' % text
    else:
        given = text if answer.finish == "tool_calls" else b"{}"
        block = b'{"type":"tool_use","id":"toolu_%b","name":%b,"input":%b}' % (
            answer.id.encode(),
            msgspec.json.encode(answer.tool),
            given,
        )
    if answer.thinking:
        thought = b"".join(answer.thinking)
        block = b'{"type":"thinking","thinking":"%b","signature":"%b"},%b' % (thought, _signature(answer), block)
    told = b"" if answer.usage is None else b',"usage":' + answer.usage
    return b'{%b,"content":[%b],"stop_reason":"%b","stop_sequence":null%b}' % (
        _head(answer),
        block,
        _FINISH[answer.finish],
        told,
    )


def frames(answer: Answer, include_usage: bool) -> Iterator[tuple[bytes, int]]:
    """The events of a stream, each with the number of tokens in it. This wire always tells usage."""
    start = b""
    if answer.usage is not None:
        start = b',"usage":%b"output_tokens":1}' % answer.usage.rpartition(b'"output_tokens":')[0]
    yield _event(b"message_start", b'"message":{%b,"content":[],"stop_reason":null%b}' % (_head(answer), start)), 0
    index = 0
    if answer.thinking:
        yield from _thinking(answer)
        index = 1
    if answer.tool is None:
        block, kind, field = b'{"type":"text","text":""}', b"text_delta", b"text"
    else:
        block = b'{"type":"tool_use","id":"toolu_%b","name":%b,"input":{}}' % (
            answer.id.encode(),
            msgspec.json.encode(answer.tool),
        )
        kind, field = b"input_json_delta", b"partial_json"
    yield _event(b"content_block_start", b'"index":%d,"content_block":%b' % (index, block)), 0
    yield _event(b"ping", b""), 0
    for token in answer.choices[0]:
        piece = msgspec.json.encode(token.decode())
        delta = b'"index":%d,"delta":{"type":"%b","%b":%b}' % (index, kind, field, piece)
        yield _event(b"content_block_delta", delta), 1
    yield _event(b"content_block_stop", b'"index":%d' % index), 0
    stop = b'"delta":{"stop_reason":"%b","stop_sequence":null}' % _FINISH[answer.finish]
    told = b"" if answer.usage is None else b',"usage":' + answer.usage
    yield _event(b"message_delta", stop + told), 0
    yield _event(b"message_stop", b""), 0


def error(status: int, message: str) -> bytes:
    """An error as the vendor documents it."""
    kind = _TYPES.get(status, "api_error")
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})


def error_event() -> bytes:
    """An error in the middle of a stream."""
    return b"event: error\ndata: %b\n\n" % error(529, "Overloaded")


def _thinking(answer: Answer) -> Iterator[tuple[bytes, int]]:
    block = b'"index":0,"content_block":{"type":"thinking","thinking":"","signature":""}'
    yield _event(b"content_block_start", block), 0
    for token in answer.thinking:
        delta = b'"index":0,"delta":{"type":"thinking_delta","thinking":"%b"}' % token
        yield _event(b"content_block_delta", delta), 1
    signed = b'"index":0,"delta":{"type":"signature_delta","signature":"%b"}' % _signature(answer)
    yield _event(b"content_block_delta", signed), 0
    yield _event(b"content_block_stop", b'"index":0'), 0


def _signature(answer: Answer) -> bytes:
    return b"signed-" + answer.thinking[0].strip()


def _content(asked: _Asked) -> bytes:
    return "\n".join([_text(asked.system), *(_text(turn.content) for turn in asked.messages)]).encode()


def _text(content: str | list[_Block] | None) -> str:
    if isinstance(content, list):
        return "".join(block.text or _text(block.content) for block in content)
    return content or ""


def _head(answer: Answer) -> bytes:
    return b'"id":"msg_%b","type":"message","role":"assistant","model":%b' % (
        answer.id.encode(),
        msgspec.json.encode(answer.model),
    )


def _event(name: bytes, fields: bytes) -> bytes:
    comma = b"," if fields else b""
    return b'event: %b\ndata: {"type":"%b"%b%b}\n\n' % (name, name, comma, fields)
