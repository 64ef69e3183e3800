"""Anthropic's messages wire as a server speaks it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from asahi_kernel.testing.fakeup.generation import Answer, Call, reported
from asahi_kernel.testing.fakeup.script import Script

PATH = "/v1/messages"
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


class _Turn(Struct):
    role: str
    content: str | list[_Block]


class _Tool(Struct):
    name: str = ""


class _ToolChoice(Struct):
    type: str
    name: str | None = None


class _Body(Struct):
    model: str
    messages: list[_Turn]
    max_tokens: int
    system: str | list[_Block] | None = None
    stream: bool = False
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None


_DECODER = msgspec.json.Decoder(_Body)


def decode(body: bytes) -> Call:
    """Reads a request; `msgspec.DecodeError` when it is none."""
    asked = _DECODER.decode(body)
    choice = asked.tool_choice
    tools = tuple(tool.name for tool in asked.tools or ()) if choice is None or choice.type != "none" else ()
    forced = None
    if choice is not None and tools:
        forced = choice.name if choice.type == "tool" else tools[0] if choice.type == "any" else None
    texts = [_text(asked.system), *(_text(turn.content) for turn in asked.messages)]
    return Call(
        model=asked.model,
        prompt=next((_text(turn.content) for turn in reversed(asked.messages) if turn.role == "user"), ""),
        content="\n".join(texts).encode(),
        max_tokens=asked.max_tokens,
        stream=asked.stream,
        tools=tools,
        forced=forced,
    )


def usage(script: Script, answer: Answer) -> bytes | None:
    """The usage object as the script has it told: on this wire `input_tokens` leaves the cached ones out."""
    if script.no_usage:
        return None
    told_input, told_output, told_cached = reported(script, answer)
    if script.usage is None:
        told_input = b"%d" % (answer.input_tokens - answer.cached_tokens)
    return b'{"input_tokens":%b,"cache_creation_input_tokens":0,"cache_read_input_tokens":%b,"output_tokens":%b}' % (
        told_input,
        told_cached,
        told_output,
    )


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
    if answer.tool is None:
        block, kind, field = b'{"type":"text","text":""}', b"text_delta", b"text"
    else:
        block = b'{"type":"tool_use","id":"toolu_%b","name":%b,"input":{}}' % (
            answer.id.encode(),
            msgspec.json.encode(answer.tool),
        )
        kind, field = b"input_json_delta", b"partial_json"
    yield _event(b"content_block_start", b'"index":0,"content_block":' + block), 0
    yield _event(b"ping", b""), 0
    for token in answer.choices[0]:
        piece = msgspec.json.encode(token.decode())
        delta = b'"index":0,"delta":{"type":"%b","%b":%b}' % (kind, field, piece)
        yield _event(b"content_block_delta", delta), 1
    yield _event(b"content_block_stop", b'"index":0'), 0
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


def _text(content: str | list[_Block] | None) -> str:
    if isinstance(content, list):
        return "".join(block.text or "" for block in content)
    return content or ""


def _head(answer: Answer) -> bytes:
    return b'"id":"msg_%b","type":"message","role":"assistant","model":%b' % (
        answer.id.encode(),
        msgspec.json.encode(answer.model),
    )


def _event(name: bytes, fields: bytes) -> bytes:
    comma = b"," if fields else b""
    return b'event: %b\ndata: {"type":"%b"%b%b}\n\n' % (name, name, comma, fields)
