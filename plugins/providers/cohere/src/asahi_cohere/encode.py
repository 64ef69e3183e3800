"""A request as the JSON of Cohere's chat v2. What it has no word for is refused before it comes here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Raw

from asahi_kernel import Message, Part, Request, Tool, ToolCall

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_CHOICES = {b'"required"': b'"REQUIRED"', b'"none"': b'"NONE"'}
_NO_SCHEMA = Raw(b'{"type":"object","properties":{}}')


def encode(request: Request, api_model: str, *, stream: bool) -> bytes:
    """The body of a chat call."""
    fields = [b'"model":' + _encode(api_model), b'"messages":[' + b",".join(map(_message, request.messages)) + b"]"]
    numbers = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "p": request.top_p,
        "stop_sequences": request.stop or None,
        "seed": request.seed,
    }
    fields += (_encode(name) + b":" + _encode(value) for name, value in numbers.items() if value is not None)
    fields += _tools(request)
    if request.response_format and (wanted := _response_format(request.response_format)):
        fields.append(b'"response_format":' + wanted)
    fields.append(b'"stream":true' if stream else b'"stream":false')
    return b"{" + b",".join(fields) + b"}"


def encode_texts(texts: Sequence[str], api_model: str, input_type: str, dimensions: int | None) -> bytes:
    """The body that asks for embeddings. What is too long is an error: half a text is another text."""
    told = {"model": api_model, "texts": texts, "input_type": input_type, "embedding_types": ["float"]}
    further = {"truncate": "NONE"} if dimensions is None else {"truncate": "NONE", "output_dimension": dimensions}
    return _encode({**told, **further})


def _tools(request: Request) -> Iterator[bytes]:
    if not request.tools:
        return
    yield b'"tools":[' + b",".join(map(_tool, request.tools)) + b"]"
    if all(tool.strict for tool in request.tools):
        yield b'"strict_tools":true'
    if choice := _CHOICES.get(request.tool_choice):
        yield b'"tool_choice":' + choice


def _tool(tool: Tool) -> bytes:
    function: dict[str, object] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = Raw(tool.parameters) if tool.parameters else _NO_SCHEMA
    return _encode({"type": "function", "function": function})


def _response_format(told: bytes) -> bytes:
    members = _members(told)
    if "json_schema" in members:
        schema = _members(members["json_schema"]).get("schema", Raw(b"{}"))
        return b'{"type":"json_object","json_schema":%b}' % bytes(schema)
    return b"" if bytes(members["type"]) == b'"text"' else told


def _message(message: Message) -> bytes:
    """What the model said before it called a tool is its plan."""
    role = "system" if message.role == "developer" else message.role
    told: dict[str, object] = {"role": role}
    if message.tool_call_id is not None:
        told["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        told["tool_calls"] = [_call(call) for call in message.tool_calls]
        if message.text:
            told["tool_plan"] = message.text
    elif isinstance(message.content, tuple):
        told["content"] = [_part(part) for part in message.content]
    else:
        told["content"] = message.content or ""
    return _encode(told)


def _part(part: Part) -> object:
    return Raw(part.raw) if part.raw else {"type": "text", "text": part.text or ""}


def _call(call: ToolCall) -> object:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
