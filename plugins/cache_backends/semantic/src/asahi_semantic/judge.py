"""The equality judge: whether two answers say the same. It asks no model, and doubts rather than believes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from asahi_kernel import Completion
from asahi_semantic.facts import find
from asahi_semantic.guards import veto

Likeness: TypeAlias = Callable[[str, str], Awaitable[float]]

#: The cosine of two answers from which on they may be equal, where the guards find no difference either: numbers,
#: negation, names, or one word that is another.
ALIKE = 0.92
#: Answers up to so many words are labels: they are equal word by word or not at all.
_LABEL = 3
_LABEL_TASKS = frozenset({"classification", "extraction"})
#: As much of an answer as is looked at for numbers and negation.
_LOOKED_AT = 6_000


async def equal(fresh: Completion, stored: Completion, task: str, likeness: Likeness) -> bool:
    """`likeness` gives the cosine of two texts."""
    if fresh.tool_calls or stored.tool_calls or fresh.message != stored.message:
        return False
    one, other = _normal(fresh.text), _normal(stored.text)
    if one == other:
        return True
    if task in _LABEL_TASKS or max(len(one.split()), len(other.split())) <= _LABEL:
        return False
    parsed = _parsed(fresh.text), _parsed(stored.text)
    if parsed[0] is not None or parsed[1] is not None:
        return bool(parsed[0] == parsed[1])
    first, second = find(fresh.text[:_LOOKED_AT]), find(stored.text[:_LOOKED_AT])
    if veto(first, second):
        return False
    return await likeness(fresh.text, stored.text) >= ALIKE


def _normal(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!\"'`*")


def _parsed(text: str) -> Any:
    """The value of a JSON object or list, else nothing."""
    stripped = text.strip()
    if stripped.startswith("```"):
        stripped = stripped.strip("`").removeprefix("json").strip()
    if stripped[:1] not in {"{", "["}:
        return None
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        return None
