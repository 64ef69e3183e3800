"""Messages as Anthropic's turns of content blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from asahi_anthropic.objects import join, members
from asahi_kernel import Message, Part, ToolCall

_encode = msgspec.json.Encoder().encode
_text = msgspec.json.Decoder(str).decode
_SYSTEM = frozenset({"system", "developer"})


def split_system(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The system prompt, which this wire keeps apart, and the turns; a later system message stays in its place."""
    start = next((at for at, each in enumerate(messages) if each.role not in _SYSTEM), len(messages))
    return messages[:start], messages[start:]


def turns_of(messages: Sequence[Message]) -> Iterator[bytes]:
    """The turns. Results of tools are joined with what the user says next, as the wire wants them in one turn."""
    results: list[bytes] = []
    for message in messages:
        if message.role == "tool":
            results.append(_result(message))
        elif results and message.role == "user" and not message.extra:
            results += blocks_of(message)
        else:
            if results:
                yield _turn(results)
                results = []
            yield _message(message)
    if results:
        yield _turn(results)


def content_of(message: Message) -> bytes:
    """The content, as a text where it is one."""
    if isinstance(message.content, str) and not message.tool_calls:
        return _encode(message.content)
    return b"[" + b",".join(blocks_of(message)) + b"]"


def blocks_of(message: Message) -> Iterator[bytes]:
    """The content and the tool calls as blocks; an empty text is none."""
    if isinstance(message.content, str):
        if message.content:
            yield b'{"type":"text","text":%b}' % _encode(message.content)
    else:
        yield from map(_block, (part for part in message.content or () if part.raw or part.text))
    yield from map(_tool_use, message.tool_calls)


def image_of(part: Part) -> tuple[str, str]:
    """The address of an image, and the detail to look at it with."""
    image = members(members(part.raw)["image_url"])
    detail = image.get("detail")
    return _text(image["url"]), "auto" if detail is None or bytes(detail) == b"null" else _text(detail)


def _turn(blocks: list[bytes]) -> bytes:
    return b'{"role":"user","content":[' + b",".join(blocks) + b"]}"


def _message(message: Message) -> bytes:
    role = "system" if message.role in _SYSTEM else message.role
    return join({"role": _encode(role), "content": content_of(message)}, message.extra)


def _result(message: Message) -> bytes:
    told = {"type": b'"tool_result"', "tool_use_id": _encode(message.tool_call_id)}
    if message.content:
        told["content"] = content_of(message)
    return join(told, message.extra)


def _tool_use(call: ToolCall) -> bytes:
    told = {"type": b'"tool_use"', "id": _encode(call.id), "name": _encode(call.name)}
    told["input"] = call.arguments.encode() if call.arguments.strip() else b"{}"
    return join(told, call.extra)


def _block(part: Part) -> bytes:
    if part.type == "image_url":
        return _image(image_of(part)[0])
    return part.raw or b'{"type":"text","text":%b}' % _encode(part.text)


def _image(url: str) -> bytes:
    if url[:5].lower() != "data:":
        return b'{"type":"image","source":{"type":"url","url":%b}}' % _encode(url)
    head, _, data = url.partition(",")
    source = {"type": "base64", "media_type": head[5:].partition(";")[0].lower(), "data": data}
    return b'{"type":"image","source":%b}' % _encode(source)
