"""What the fake upstream says: a deterministic function of what it was asked, in tokens of exactly four bytes."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from asahi_kernel.testing.fakeup.prompt_cache import Block
    from asahi_kernel.testing.fakeup.script import Script

_LETTERS = bytes(ord("a") + value % 26 for value in range(256))
_OPEN, _CLOSE = b'{"a":"', b'"}'
_REPEATED = "repeat-1"


class Call(Struct, frozen=True, kw_only=True):
    """A request, whichever wire it came by. `prompt` is the last user text, `content` all text there is.

    `tools` are the names on offer, `forced` the one the caller insists on. `texts` are those to embed: nothing is said.
    `blocks` are the prompt as a cache sees it, `tools_size` how many characters the tools have.
    """

    model: str
    prompt: str
    content: bytes
    max_tokens: int | None
    stream: bool
    include_usage: bool = True
    n: int = 1
    tools: tuple[str, ...] = ()
    forced: str | None = None
    texts: tuple[str, ...] = ()
    dimensions: int = 0
    blocks: tuple[Block, ...] = ()
    tools_size: int = 0
    base64: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """What will be said: the tokens of each choice, each of four bytes. With `tool` they are its arguments."""

    id: str
    model: str
    choices: tuple[tuple[bytes, ...], ...]
    tool: str | None
    finish: Literal["stop", "length", "tool_calls"]
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int = 0
    thinking: tuple[bytes, ...] = ()
    usage: bytes | None
    texts: tuple[str, ...] = ()
    dimensions: int = 0
    base64: bool = False
    vectors: str | None = None

    @property
    def output_tokens(self) -> int:
        return len(self.thinking) + sum(len(choice) for choice in self.choices)


def generate(call: Call, script: Script, attempt: str) -> Answer:
    """The answer to a call: 8 to 39 tokens, or as many as the script says, capped by the caller's bound."""
    seed = hashlib.blake2b(call.model.encode() + b"\0" + call.content, digest_size=16).digest()
    wanted = script.tokens if script.tokens is not None else 8 + seed[0] % 32
    tool = call.forced or (script.tool if script.tool in call.tools else None)
    if tool is not None:
        wanted = max(2, wanted)
    count = wanted if call.max_tokens is None else min(wanted, call.max_tokens)
    speak = _arguments if tool else _words
    size = (len(call.content) + call.tools_size) // 4 + 1
    cached = min(script.cached, size)
    if call.texts:
        return _embedded(call, script, attempt)
    return Answer(
        id=_REPEATED if script.repeat_id else attempt,
        model=call.model,
        choices=tuple(speak(seed + bytes([index]), wanted)[:count] for index in range(call.n)),
        tool=tool,
        finish="length" if count < wanted else "tool_calls" if tool else "stop",
        input_tokens=size,
        cached_tokens=cached,
        cache_write_tokens=min(script.cache_write, size - cached),
        thinking=_words(seed + b"thinking", script.thinking),
        texts=call.texts,
        dimensions=script.dimensions or call.dimensions,
        usage=None,
    )


def vector(model: str, text: str, dimensions: int) -> list[float]:
    """A unit vector that is a function of model and text."""
    noise = hashlib.shake_128(f"{model}\0{text}".encode()).digest(dimensions)
    numbers = [byte - 127.5 for byte in noise]
    length = math.sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers]


def _embedded(call: Call, script: Script, attempt: str) -> Answer:
    """Each text is counted for itself, so that a bill does not depend on how texts are put together."""
    return Answer(
        id=_REPEATED if script.repeat_id else attempt,
        model=call.model,
        choices=(),
        tool=None,
        finish="stop",
        input_tokens=sum(len(text.encode()) // 4 + 1 for text in call.texts),
        cached_tokens=0,
        usage=None,
        texts=call.texts,
        dimensions=script.dimensions or call.dimensions,
        base64=call.base64,
        vectors=script.vectors,
    )


def _words(seed: bytes, count: int) -> tuple[bytes, ...]:
    letters = hashlib.shake_128(seed).digest(count * 3).translate(_LETTERS)
    return tuple(letters[at : at + 3] + b" " for at in range(0, count * 3, 3))


def _arguments(seed: bytes, count: int) -> tuple[bytes, ...]:
    letters = hashlib.shake_128(seed).digest((count - 2) * 4).translate(_LETTERS)
    text = _OPEN + letters + _CLOSE
    return tuple(text[at : at + 4] for at in range(0, len(text), 4))


def reported(script: Script, answer: Answer) -> tuple[bytes, bytes, bytes]:
    """The numbers (input, output, cached) as the script has them told, in JSON."""
    true = (answer.input_tokens, answer.output_tokens, answer.cached_tokens)
    match script.usage:
        case "absurd":
            told: tuple[object, object, object] = (2**63, 2**63, 0)
        case "negative":
            told = (-true[0], -true[1], 0)
        case "float":
            told = (true[0] + 0.5, true[1] + 0.5, 0)
        case "nan":
            told = ("NaN", "NaN", 0)
        case "huge_cached":
            told = (true[0], true[1], true[0] * 10)
        case "below":
            told = (1, 1, 0)
        case None:
            told = true
    return str(told[0]).encode(), str(told[1]).encode(), str(told[2]).encode()
