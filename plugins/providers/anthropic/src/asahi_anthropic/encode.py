"""A request as the JSON of Anthropic's Messages API. Nothing the caller said is lost."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from asahi_anthropic.objects import join, members
from asahi_anthropic.turns import blocks_of, content_of, split_system, turns_of
from asahi_kernel import Message, Request, Tool

_encode = msgspec.json.Encoder().encode
_OURS = frozenset({"model", "messages", "system", "max_tokens", "stream", "stop_sequences", "temperature", "top_p"})
_PLACED = _OURS | {"tools", "tool_choice", "output_config", "parallel_tool_calls"}
_COUNTED = frozenset({"cache_control", "speed", "thinking"})
_CHOICES = {b'"auto"': b'"auto"', b'"required"': b'"any"', b'"none"': b'"none"'}
_NO_SCHEMA = b'{"type":"object","properties":{}}'


def encode(request: Request, api_model: str, *, stream: bool, default_max_tokens: int) -> bytes:
    """The body of a call. Of the caller's further options those go along that this function does not decide itself."""
    bound = default_max_tokens if request.max_tokens is None else request.max_tokens
    fields = [*_asked(request, api_model), b'"max_tokens":%d' % bound]
    if request.temperature is not None:
        fields.append(b'"temperature":' + _encode(request.temperature))
    if request.top_p is not None:
        fields.append(b'"top_p":' + _encode(request.top_p))
    if request.stop:
        fields.append(b'"stop_sequences":' + _encode(request.stop))
    fields += (_encode(name) + b":" + value for name, value in request.options if name not in _PLACED)
    if stream:
        fields.append(b'"stream":true')
    return b"{" + b",".join(fields) + b"}"


def encode_count(request: Request, api_model: str) -> bytes:
    """The body that asks for a count of the same input."""
    further = (_encode(name) + b":" + value for name, value in request.options if name in _COUNTED)
    return b"{" + b",".join([*_asked(request, api_model), *further]) + b"}"


def _asked(request: Request, api_model: str) -> Iterator[bytes]:
    system, turns = split_system(request.messages)
    yield b'"model":' + _encode(api_model)
    if system:
        yield b'"system":' + _system(system)
    yield b'"messages":[' + b",".join(turns_of(turns)) + b"]"
    if request.tools:
        yield b'"tools":[' + b",".join(map(_tool, request.tools)) + b"]"
    options = dict(request.options) if request.options else {}
    if choice := options.get("tool_choice") or _tool_choice(request.tool_choice, options.get("parallel_tool_calls")):
        yield b'"tool_choice":' + choice
    if output := _output_config(request.response_format, options.get("output_config", b"")):
        yield b'"output_config":' + output


def _system(messages: tuple[Message, ...]) -> bytes:
    if len(messages) == 1:
        return content_of(messages[0])
    return b"[" + b",".join(block for each in messages for block in blocks_of(each)) + b"]"


def _tool(tool: Tool) -> bytes:
    if tool.type != "function":
        return join({"type": _encode(tool.type)}, tool.extra)
    told: dict[str, bytes | Raw] = {"name": _encode(tool.name)}
    if tool.description is not None:
        told["description"] = _encode(tool.description)
    told["input_schema"] = tool.parameters or _NO_SCHEMA
    if tool.strict is not None:
        told["strict"] = _encode(tool.strict)
    return join(told, tool.extra)


def _tool_choice(choice: bytes, parallel: bytes | None) -> bytes:
    single = b',"disable_parallel_tool_use":true' if parallel == b"false" else b""
    if not choice:
        return b'{"type":"auto"%b}' % single if single else b""
    kind = _CHOICES.get(choice)
    if kind is not None:
        return b'{"type":%b%b}' % (kind, b"" if kind == b'"none"' else single)
    return b'{"type":"tool","name":%b%b}' % (members(members(choice)["function"])["name"], single)


def _output_config(response_format: bytes, further: bytes) -> bytes:
    """The schema is all that this wire takes; a format of plain text is its default."""
    told = members(response_format) if response_format else {}
    if "json_schema" not in told:
        return further
    schema = bytes(members(told["json_schema"]).get("schema", Raw(b"{}")))
    return join({"format": b'{"type":"json_schema","schema":%b}' % schema}, further)
