"""What one request asks the fake upstream to do wrong, read from a directive in its last user message.

A directive goes through any gateway as plain text: `[[fakeup: status=429 retry_after=2 first=1]]`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

import msgspec
from msgspec import Struct

_DIRECTIVE = re.compile(r"\[\[fakeup:([^\]]*)\]\]")
_SHAPE = (
    "mark",
    "tokens",
    "thinking",
    "cached",
    "cache_write",
    "tool",
    "dimensions",
    "batch",
    "latency_ms",
    "pace_ms",
)


class Script(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`…_at=k` strikes after k token chunks, or instead of the answer when it is not streamed.

    `first=n` leaves only the shape of the answer from the n-th repetition of the same text on: `tokens`, `thinking` (in
    tokens, on Anthropic's and Cohere's wire), `cached`, `cache_write`, `tool`, `dimensions` (of vectors), `batch` (a
    member's fate), `latency_ms`, `pace_ms`. `usage=below` reports one output token, `nan` is a number that JSON does
    not have. `vectors` are one too few, one number too short, out of order, or words.
    """

    mark: str | None = None
    status: int | None = None
    retry_after: str | None = None
    stall_at: int | None = None
    reset_at: int | None = None
    reset_at_byte: int | None = None
    eof_at: int | None = None
    error_event_at: int | None = None
    garbage_at: int | None = None
    long_line_at: int | None = None
    comments: int = 0
    crlf: bool = False
    no_usage: bool = False
    usage: Literal["absurd", "negative", "huge_cached", "float", "nan", "below"] | None = None
    done_twice: bool = False
    repeat_id: bool = False
    body_error: bool = False
    redirect: str | None = None
    vectors: Literal["few", "short", "shuffled", "text"] | None = None
    first: int | None = None
    tokens: int | None = None
    thinking: int = 0
    cached: int = 0
    cache_write: int = 0
    tool: str | None = None
    dimensions: int | None = None
    batch: Literal["expired", "missing", "twice", "garbled"] | None = None
    latency_ms: float | None = None
    pace_ms: float | None = None


class Director:
    """Reads scripts and counts repetitions. `default` holds for every request, under what the request itself says."""

    def __init__(self, default: str = "") -> None:
        self.default = default
        self._seen: Counter[str] = Counter()

    def script(self, text: str) -> Script:
        """The script of a request whose last user message is `text`; `ValueError` for an unknown word."""
        words = self.default.split()
        for directive in _DIRECTIVE.findall(text):
            words += directive.split()
        if not words:
            return _NOTHING
        script = parse(words)
        if script.first is None:
            return script
        self._seen[text] += 1
        if self._seen[text] <= script.first:
            return script
        return parse([word for word in words if word.partition("=")[0] in _SHAPE])


def parse(words: list[str]) -> Script:
    """A script of `name=value` words; a lone name is true."""
    pairs = (word.partition("=") for word in words)
    values: dict[str, str | bool] = {name: value if equals else True for name, equals, value in pairs}
    return msgspec.convert(values, Script, strict=False)


_NOTHING = Script()
