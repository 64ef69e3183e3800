"""Trace context by the W3C recommendation: read from a caller, and told to who is called for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

from msgspec import Struct

Headers = Iterable[tuple[bytes, bytes]]

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER = re.compile(rf"({_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_MOST_MEMBERS = 32
_MOST_CHARACTERS = 512


class Parent(Struct, frozen=True, omit_defaults=True):
    """The caller's span that a request belongs to, as it was told: ids in hexadecimal, the caller's wish to sample, and
    the caller's own notes, which nobody here reads."""

    trace_id: str
    span_id: str
    sampled: bool = False
    state: str = ""


@runtime_checkable
class TracingSink(Protocol):
    """A sink that makes spans: of what share of the requests whose callers do not say."""

    @property
    def share(self) -> float: ...


def parent_of(headers: Headers) -> Parent | None:
    """What the headers of a request say; None where that is nothing or malformed, as the recommendation has it."""
    found = [value for name, value in headers if name == b"traceparent"]
    told = _PARENT.fullmatch(found[0].strip(b" \t")) if len(found) == 1 else None
    if told is None:
        return None
    version, trace, span, flags, more = told.groups()
    if version == b"ff" or (version == b"00" and more) or not trace.strip(b"0") or not span.strip(b"0"):
        return None
    state = b",".join(value for name, value in headers if name == b"tracestate").decode("latin-1")
    return Parent(trace.decode(), span.decode(), bool(int(flags, 16) & 1), _state(state) if state else "")


def trace_id(request_id: str, parent: Parent | None = None) -> str:
    """The trace that a request belongs to: the caller's, or its own, which follows from its id."""
    if parent is not None:
        return parent.trace_id
    return hashlib.blake2b(request_id.encode(), digest_size=16).hexdigest()


def span_id(request_id: str, part: str) -> str:
    """The span of a part of a request: `root`, a stage, or `attempt 1`."""
    return hashlib.blake2b(f"{request_id} {part}".encode(), digest_size=8).hexdigest()


def sampled(trace: str, share: float) -> bool:
    """Whether this share of all traces has this one: the rule of OpenTelemetry's own sampler by ratio."""
    return int(trace[16:], 16) < round(share * (1 << 64))


def onward(request_id: str, attempt: int, parent: Parent | None, share: float | None) -> str:
    """The headers of a call that is made for a request, or nothing. Without a sink that makes spans (`share` None) the
    caller's are passed on as they came."""
    if share is None:
        if parent is None:
            return ""
        trace, span, flag = parent.trace_id, parent.span_id, parent.sampled
    else:
        trace = trace_id(request_id, parent)
        span = span_id(request_id, f"attempt {attempt}")
        flag = parent.sampled if parent is not None else sampled(trace, share)
    state = f"tracestate: {parent.state}\r\n" if parent is not None and parent.state else ""
    return f"traceparent: 00-{trace}-{span}-{'01' if flag else '00'}\r\n{state}"


class _Told:
    """What calls may say while a block runs. Tasks that outlive it, such as a pool's, say nothing any more."""

    __slots__ = ("fields",)

    def __init__(self, fields: str) -> None:
        self.fields = fields


_telling: ContextVar[_Told | None] = ContextVar("asahi_telling", default=None)


@contextmanager
def telling(fields: str) -> Iterator[None]:
    """Calls that are made within the block carry these headers, which `onward` wrote."""
    told = _Told(fields)
    token = _telling.set(told)
    try:
        yield
    finally:
        told.fields = ""
        _telling.reset(token)


def told() -> str:
    """The headers that a call made now carries, each ended by CRLF; mostly nothing."""
    held = _telling.get()
    return held.fields if held is not None else ""


def _state(text: str) -> str:
    """The members in their order, or nothing if any of them is malformed; those that are too many are left off."""
    members = [each for part in text.split(",") if (each := part.strip(" \t"))]
    keys = [found[1] for each in members if (found := _MEMBER.fullmatch(each))]
    if len(keys) != len(members) or len(set(keys)) != len(keys) or len(members) > _MOST_MEMBERS:
        return ""
    size, kept = -1, []
    for each in members:
        size += len(each) + 1
        if size > _MOST_CHARACTERS:
            break
        kept.append(each)
    return ",".join(kept)
