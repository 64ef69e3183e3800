"""A request as OpenAI's chat JSON. Nothing the caller said is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from asahi_kernel import Message, Request, Tool, ToolCall

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_USAGE = b'{"include_usage":true}'
_OURS = frozenset(
    {"model", "messages", "stream", "stream_options", "store", "max_tokens", "max_completion_tokens", "temperature"}
    | {"top_p", "stop", "seed", "n", "tools", "tool_choice", "response_format"}
)


def encode(
    request: Request, api_model: str, *, stream: bool, max_tokens_parameter: str, ask_for_usage: bool = True
) -> bytes:
    """The body of a call. Of the caller's further options those go along that this function does not decide itself;
    `store` never does: what passes through a gateway is not for the vendor to keep."""
    fields = [b'"model":' + _encode(api_model), b'"messages":[' + b",".join(_messages(request)) + b"]"]
    if request.max_tokens is not None:
        fields.append(b'"%b":%d' % (max_tokens_parameter.encode(), request.max_tokens))
    if request.temperature is not None:
        fields.append(b'"temperature":' + _encode(request.temperature))
    if request.top_p is not None:
        fields.append(b'"top_p":' + _encode(request.top_p))
    if request.stop:
        fields.append(b'"stop":' + _encode(request.stop))
    if request.seed is not None:
        fields.append(b'"seed":%d' % request.seed)
    if request.n != 1:
        fields.append(b'"n":%d' % request.n)
    if request.tools:
        fields.append(b'"tools":[' + b",".join(map(_tool, request.tools)) + b"]")
    if request.tool_choice:
        fields.append(b'"tool_choice":' + request.tool_choice)
    if request.response_format:
        fields.append(b'"response_format":' + request.response_format)
    fields += (_encode(name) + b":" + value for name, value in request.options if name not in _OURS)
    if stream:
        further = next((value for name, value in request.options if name == "stream_options"), b"")
        usage = _USAGE if ask_for_usage else b""
        fields.append(b'"stream":true')
        if told := join(_members(further), usage) if further else usage:
            fields.append(b'"stream_options":' + told)
    return b"{" + b",".join(fields) + b"}"


def _messages(request: Request) -> Iterator[bytes]:
    """The turns in the order system, examples, history, document, question."""
    if request.document is None and not request.examples:
        yield from map(_message, request.messages)
        return
    start = next((at for at, turn in enumerate(request.messages) if turn.role not in ("system", "developer")), None)
    first = len(request.messages) if start is None else start
    last = max(first, len(request.messages) - 1)
    yield from map(_message, request.messages[:first])
    for pair in request.examples:
        yield _message(Message("user", pair.input))
        yield _message(Message("assistant", pair.output))
    yield from map(_message, request.messages[first:last])
    if request.document is not None:
        yield _message(Message("user", request.document.text))
    yield from map(_message, request.messages[last:])


def _message(message: Message) -> bytes:
    if not (message.extra or message.tool_calls or isinstance(message.content, tuple)):
        return _encode(message)
    members = {"role": _encode(message.role)}
    if isinstance(message.content, tuple):
        members["content"] = b"[" + b",".join(part.raw or _encode(part) for part in message.content) + b"]"
    elif message.content is not None:
        members["content"] = _encode(message.content)
    if message.name is not None:
        members["name"] = _encode(message.name)
    if message.tool_calls:
        members["tool_calls"] = b"[" + b",".join(map(_call, message.tool_calls)) + b"]"
    if message.tool_call_id is not None:
        members["tool_call_id"] = _encode(message.tool_call_id)
    return join(members, message.extra)


def _call(call: ToolCall) -> bytes:
    text = "input" if call.type == "custom" else "arguments"
    inner = _encode({"name": call.name, text: call.arguments})
    return join({"id": _encode(call.id), "type": _encode(call.type), call.type: inner}, call.extra)


def _tool(tool: Tool) -> bytes:
    members = {"type": _encode(tool.type)}
    if tool.type == "function":
        function = {"name": _encode(tool.name)}
        if tool.description is not None:
            function["description"] = _encode(tool.description)
        if tool.parameters:
            function["parameters"] = tool.parameters
        if tool.strict is not None:
            function["strict"] = _encode(tool.strict)
        members["function"] = join(function, b"")
    return join(members, tool.extra)


def join(members: Mapping[str, bytes | msgspec.Raw], extra: bytes) -> bytes:
    """An object of these members and those of the JSON object `extra`, which win; objects on both sides are joined."""
    if extra:
        merged = dict(members)
        for name, value in _members(extra).items():
            inner = merged.get(name, b"")
            merged[name] = join(_members(inner), bytes(value)) if inner[:1] == b"{" else bytes(value)
        members = merged
    return b"{" + b",".join(_encode(name) + b":" + value for name, value in members.items()) + b"}"
