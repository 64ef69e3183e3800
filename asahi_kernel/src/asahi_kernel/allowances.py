"""Allowances: what a request has left of the limits that counted it, for the headers of its answer."""

from __future__ import annotations

from contextvars import ContextVar
from math import ceil
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from asahi_kernel.trace import Trace

Counted: TypeAlias = Literal["requests", "tokens"]

_CURRENT: ContextVar[Trace | None] = ContextVar("asahi_allowances", default=None)


class Left(Struct, frozen=True):
    """Of one limit: how much there is in all, how much is left, and in how many seconds it is whole again."""

    limit: int
    remaining: int
    reset_s: float


def begin(trace: Trace) -> None:
    """From here on, what policies count in this task belongs to this request."""
    _CURRENT.set(trace)


def tell(counted: Counted, left: Left) -> None:
    """A limit has counted the request: the tightest one is told."""
    trace = _CURRENT.get()
    if trace is None:
        return
    known = trace.allowances.get(counted)
    if known is None or left.remaining < known.remaining:
        trace.allowances[counted] = left


def estimate(tokens: int) -> None:
    """So many tokens were counted for the request in advance; it is metered once they are known."""
    trace = _CURRENT.get()
    if trace is not None:
        trace.estimated_tokens = tokens


def headers(trace: Trace) -> list[tuple[bytes, bytes]]:
    """`x-ratelimit-…` of what was counted."""
    return [
        pair
        for counted, left in trace.allowances.items()
        for pair in (
            (f"x-ratelimit-limit-{counted}".encode(), str(left.limit).encode()),
            (f"x-ratelimit-remaining-{counted}".encode(), str(left.remaining).encode()),
            (f"x-ratelimit-reset-{counted}".encode(), str(ceil(left.reset_s)).encode()),
        )
    ]
