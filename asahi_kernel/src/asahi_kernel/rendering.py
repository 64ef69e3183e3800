"""Rendering: folds examples and document into the messages, so that providers see nothing but messages."""

from __future__ import annotations

import msgspec

from asahi_kernel.types import Message, Part, Request


def render(request: Request) -> Request:
    """Examples become earlier turns after the system prompt, the document goes in front of the last question."""
    if not request.examples and request.document is None:
        return request
    messages = list(request.messages)
    if request.document is not None:
        last = messages[-1]
        text = f"<document>\n{request.document.text}\n</document>\n\n"
        said = last.content
        content = (Part("text", text), *said) if isinstance(said, tuple) else text + (said or "")
        messages[-1] = msgspec.structs.replace(last, content=content)
    turns: list[Message] = []
    for pair in request.examples:
        turns += [Message("user", pair.input), Message("assistant", pair.output)]
    start = 1 if messages[0].role == "system" else 0
    messages[start:start] = turns
    return msgspec.structs.replace(request, messages=tuple(messages), examples=(), document=None)
