"""Texts: every piece of text of a request or an answer, looked at by one function and perhaps changed.

What is not changed stays the same object, so that looking at a request costs no copy of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from asahi_kernel.types import Choice, Completion, Message, Part, Request, Tool, ToolCall

    Change: TypeAlias = Callable[[str], str]
    Answered = TypeVar("Answered", Completion, Choice)
T = TypeVar("T")
S = TypeVar("S", bound=Struct)

#: Members that hold bytes, or what the vendor signed: no text that anybody could read or change.
_OPAQUE = frozenset({"data", "file_data", "signature", "encrypted_content"})
_BYTES = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,")
_LONG = 100


def of_request(request: Request, change: Change) -> Request:
    """All that a caller wrote: turns, parts, tool calls, document, examples, tools, vendor fields, labels."""
    told: dict[str, Any] = {
        "messages": _each(request.messages, lambda each: _message(each, change)),
        "tools": _each(request.tools, lambda each: _tool(each, change)),
        "examples": _each(
            request.examples, lambda each: _kept(each, input=change(each.input), output=change(each.output))
        ),
        "stop": _each(request.stop, change),
        "response_format": _raw(request.response_format, change),
        "options": _each(request.options, lambda each: _option(each, change)),
    }
    if request.document is not None:
        told["document"] = _kept(request.document, text=change(request.document.text))
    terms = request.terms
    if terms.tags or terms.task_id:
        tags = {name: change(value) for name, value in terms.tags.items()}
        task_id = terms.task_id and change(terms.task_id)
        told["terms"] = (
            terms if tags == terms.tags and task_id == terms.task_id else replace(terms, tags=tags, task_id=task_id)
        )
    return _kept(request, **told)


def of_completion(completion: Completion, change: Change) -> Completion:
    """All that a model wrote: text, tool calls, vendor fields, in every choice."""
    changed = _answered(completion, change)
    others = _each(completion.others, lambda each: _answered(each, change))
    return changed if others is completion.others else replace(changed, others=others)


def in_json(text: str, change: Change) -> str:
    """JSON with every string, key and whole number in it looked at as what it means, whatever escapes it is written
    with. What is no JSON is looked at as it stands."""
    if not text:
        return text
    try:
        tree = json.loads(text)
        changed = _walked(tree, change)
    except (ValueError, RecursionError):
        return change(text)
    return text if changed is tree else json.dumps(changed, ensure_ascii=False, separators=(",", ":"))


def _message(message: Message, change: Change) -> Message:
    content = message.content
    if isinstance(content, str):
        content = change(content)
    elif content is not None:
        content = _each(content, lambda each: _part(each, change))
    return _kept(
        message,
        content=content,
        name=message.name and change(message.name),
        tool_calls=_each(message.tool_calls, lambda each: _call(each, change)),
        extra=_raw(message.extra, change),
    )


def _part(part: Part, change: Change) -> Part:
    return _kept(part, text=part.text and change(part.text), raw=_raw(part.raw, change))


def _call(call: ToolCall, change: Change) -> ToolCall:
    return _kept(call, arguments=in_json(call.arguments, change), extra=_raw(call.extra, change))


def _tool(tool: Tool, change: Change) -> Tool:
    description = tool.description and change(tool.description)
    return _kept(
        tool, description=description, parameters=_raw(tool.parameters, change), extra=_raw(tool.extra, change)
    )


def _option(option: tuple[str, bytes], change: Change) -> tuple[str, bytes]:
    name, value = option
    changed = _raw(value, change)
    return option if changed is value else (name, changed)


def _answered(answer: Answered, change: Change) -> Answered:
    """Log probabilities spell the text out again, so they go where it was changed."""
    text = change(answer.text)
    choice = b"" if text != answer.text and b"logprobs" in answer.choice else _raw(answer.choice, change)
    calls = _each(answer.tool_calls, lambda each: _call(each, change))
    return _kept(answer, text=text, tool_calls=calls, message=_raw(answer.message, change), choice=choice)


def _raw(value: bytes, change: Change) -> bytes:
    if not value:
        return value
    text = value.decode()
    changed = in_json(text, change)
    return value if changed is text else changed.encode()


def _walked(tree: Any, change: Change, name: str = "") -> Any:
    if isinstance(tree, str):
        opaque = len(tree) > _LONG and (name in _OPAQUE or _BYTES.match(tree) is not None)
        changed = tree if opaque else change(tree)
        return tree if changed == tree else changed
    if isinstance(tree, list):
        items = [_walked(each, change, name) for each in tree]
        return items if any(new is not old for new, old in zip(items, tree, strict=True)) else tree
    if isinstance(tree, dict):
        return _members(tree, change)
    if isinstance(tree, int) and not isinstance(tree, bool):
        digits = str(tree)
        changed = change(digits)
        return tree if changed == digits else changed
    return tree


def _members(tree: dict[str, Any], change: Change) -> dict[str, Any]:
    """Keys that become alike are numbered: no member is lost."""
    told: dict[str, Any] = {}
    same = True
    for name, value in tree.items():
        new, key = _walked(value, change, name), change(name)
        same = same and new is value and key == name
        while key in told:
            key += "_"
        told[key] = new
    return tree if same else told


def _each(items: tuple[T, ...], change: Callable[[T], T]) -> tuple[T, ...]:
    if not items:
        return items
    changed = tuple([change(each) for each in items])
    return changed if any(new is not old for new, old in zip(changed, items, strict=True)) else items


def _kept(value: S, **fields: Any) -> S:
    """The value itself unless a field is another object."""
    changed = {name: new for name, new in fields.items() if new is not getattr(value, name)}
    return replace(value, **changed) if changed else value
