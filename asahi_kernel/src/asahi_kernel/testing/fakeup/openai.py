"""OpenAI's chat wire as a server speaks it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from asahi_kernel.testing.fakeup.generation import Answer, Call, reported
from asahi_kernel.testing.fakeup.script import Script

PATH = "/v1/chat/completions"
_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "permission_error",
    404: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_exceeded",
}


class _Piece(Struct):
    type: str = "text"
    text: str | None = None


class _Turn(Struct):
    role: str
    content: str | list[_Piece] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(piece.text or "" for piece in self.content)
        return self.content or ""


class _Function(Struct):
    name: str = ""


class _Tool(Struct):
    type: str = "function"
    function: _Function = msgspec.field(default_factory=_Function)


class _StreamOptions(Struct):
    include_usage: bool = False


class _Body(Struct):
    model: str
    messages: list[_Turn]
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = 1
    tools: list[_Tool] | None = None
    tool_choice: str | _Tool | None = None


_DECODER = msgspec.json.Decoder(_Body)


def decode(body: bytes) -> Call:
    """Reads a request; `msgspec.DecodeError` when it is none."""
    asked = _DECODER.decode(body)
    tools = tuple(tool.function.name for tool in asked.tools or ()) if asked.tool_choice != "none" else ()
    forced = None
    if isinstance(asked.tool_choice, _Tool):
        forced = asked.tool_choice.function.name
    elif asked.tool_choice == "required" and tools:
        forced = tools[0]
    return Call(
        model=asked.model,
        prompt=next((turn.text for turn in reversed(asked.messages) if turn.role == "user"), ""),
        content="\n".join(turn.text for turn in asked.messages).encode(),
        max_tokens=asked.max_completion_tokens if asked.max_tokens is None else asked.max_tokens,
        stream=bool(asked.stream),
        include_usage=asked.stream_options is not None and asked.stream_options.include_usage,
        n=asked.n or 1,
        tools=tools,
        forced=forced,
    )


def usage(script: Script, answer: Answer) -> bytes | None:
    """The usage object as the script has it told."""
    if script.no_usage:
        return None
    told_input, told_output, told_cached = reported(script, answer)
    total = answer.input_tokens + answer.output_tokens
    return (
        b'{"prompt_tokens":%b,"completion_tokens":%b,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%b,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}}'
        % (told_input, told_output, total, told_cached)
    )


def reply(answer: Answer) -> bytes:
    """The body of an answer that is not streamed."""
    choices = b",".join(
        b'{"index":%d,"message":%b,"logprobs":null,"finish_reason":"%b"}'
        % (index, _message(answer, index), answer.finish.encode())
        for index in range(len(answer.choices))
    )
    told = b"" if answer.usage is None else b',"usage":' + answer.usage
    return b'{"id":"chatcmpl-%b","object":"chat.completion","created":1700000000,"model":%b,"choices":[%b]%b}' % (
        answer.id.encode(),
        msgspec.json.encode(answer.model),
        choices,
        told,
    )


def frames(answer: Answer, include_usage: bool) -> Iterator[tuple[bytes, int]]:
    """The events of a stream, each with the number of tokens in it."""
    head = b'{"id":"chatcmpl-%b","object":"chat.completion.chunk","created":1700000000,"model":%b,"choices":[' % (
        answer.id.encode(),
        msgspec.json.encode(answer.model),
    )
    tail = b'],"usage":null}' if include_usage else b"]}"

    def frame(index: int, delta: bytes, finish: bytes = b"null") -> bytes:
        return b'data: %b{"index":%d,"delta":%b,"finish_reason":%b}%b\n\n' % (head, index, delta, finish, tail)

    for index in range(len(answer.choices)):
        yield frame(index, _opening(answer, index)), 0
    for position in range(max(len(choice) for choice in answer.choices)):
        for index, choice in enumerate(answer.choices):
            if answer.tool is None:
                yield frame(index, b'{"content":"%b"}' % choice[position]), 1
            else:
                piece = msgspec.json.encode(choice[position].decode())
                yield frame(index, b'{"tool_calls":[{"index":0,"function":{"arguments":%b}}]}' % piece), 1
    for index in range(len(answer.choices)):
        yield frame(index, b"{}", b'"%b"' % answer.finish.encode()), 0
    if include_usage and answer.usage is not None:
        yield b'data: %b],"usage":%b}\n\n' % (head, answer.usage), 0
    yield b"data: [DONE]\n\n", 0


def error(status: int, message: str) -> bytes:
    """An error as the vendor documents it."""
    kind = _TYPES.get(status, "server_error")
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": None}})


def error_event() -> bytes:
    """An error in the middle of a stream."""
    return b"data: %b\n\n" % error(500, "The server had an error while processing your request")


def _message(answer: Answer, index: int) -> bytes:
    text = b"".join(answer.choices[index])
    if answer.tool is None:
        return b'{"role":"assistant","content":"%b","refusal":null,"annotations":[]}' % text
    function = msgspec.json.encode({"name": answer.tool, "arguments": text.decode()})
    return b'{"role":"assistant","content":null,"tool_calls":[{"id":"call_%b_%d","type":"function","function":%b}]}' % (
        answer.id.encode(),
        index,
        function,
    )


def _opening(answer: Answer, index: int) -> bytes:
    if answer.tool is None:
        return b'{"role":"assistant","content":"","refusal":null}'
    return (
        b'{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_%b_%d","type":"function",'
        b'"function":{"name":%b,"arguments":""}}]}' % (answer.id.encode(), index, msgspec.json.encode(answer.tool))
    )
