"""Words: what was asked and answered, as it is kept where an org wants that, and read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from asahi_kernel.types import Choice, Completion, Message, Request, ToolCall

    Spoken: TypeAlias = tuple[str, str]

#: Characters that are kept of what was asked, and as many of what was answered.
MOST = 100_000


class Turn(Struct, frozen=True, omit_defaults=True):
    """Something that was said. `role` is that of a message, or `document`, `example`, `tool_call`; `cut` is how many
    characters were left out at its end. What is no text is named and not kept."""

    role: str
    text: str = ""
    cut: int = 0


def asked(request: Request) -> bytes:
    """What stands in a request, in its order; where it is too long, the newest is kept first."""
    said = list(_asked(request))
    return _encode(_bounded(said[::-1])[::-1])


def answered(completion: Completion) -> bytes:
    """All that a model said, in every choice."""
    return _encode(_bounded([*_said(completion), *(each for other in completion.others for each in _said(other))]))


def read(kept: bytes | None) -> Sequence[Turn]:
    """What was kept; nothing where it cannot be read."""
    try:
        return _decode(kept or b"[]")
    except msgspec.DecodeError:
        return ()


def weight(request: Request, completion: Completion) -> int:
    """About how many bytes they hold until they are written, vendor fields and pictures with them."""
    size = len(completion.text) + len(completion.message) + len(completion.choice)
    size += sum(len(call.arguments) for call in completion.tool_calls)
    size += sum(len(each.text) + len(each.message) for each in completion.others)
    size += len(request.document.text) if request.document is not None else 0
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            size += len(content)
        else:
            size += sum(len(part.text or "") + len(part.raw) for part in content or ())
        size += len(message.extra)
    return size + sum(len(each.parameters) + len(each.extra) for each in request.tools)


def _asked(request: Request) -> Iterator[Spoken]:
    if request.document is not None:
        yield "document", request.document.text
    for example in request.examples:
        yield "example", f"{example.input}\n→ {example.output}"
    for message in request.messages:
        yield from _message(message)


def _message(message: Message) -> Iterator[Spoken]:
    if isinstance(message.content, str):
        yield message.role, message.content
    for part in message.content or () if not isinstance(message.content, str) else ():
        yield message.role, part.text if part.text is not None else f"[{part.type}]"
    yield from _calls(message.tool_calls)


def _said(answer: Completion | Choice) -> Iterator[Spoken]:
    if answer.text or not answer.tool_calls:
        yield "assistant", answer.text
    yield from _calls(answer.tool_calls)


def _calls(calls: Sequence[ToolCall]) -> Iterator[Spoken]:
    for call in calls:
        yield "tool_call", f"{call.name}({call.arguments})"


def _bounded(said: Sequence[Spoken]) -> list[Turn]:
    """Up to `MOST` characters of it, and how much is missing where."""
    left, turns = MOST, list[Turn]()
    for role, text in said:
        kept = text[:left]
        turns.append(Turn(role, kept, len(text) - len(kept)))
        left -= len(kept)
    return turns


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[Turn, ...]).decode
