"""Overhead: what Asahi itself spends on a request, such as an embedding that a cache asks a vendor for."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from asahi_kernel.answer import Bill
    from asahi_kernel.trace import Trace

_CURRENT: ContextVar[Trace | None] = ContextVar("asahi_overhead", default=None)


def begin(trace: Trace) -> None:
    """From here on, what this task spends belongs to this request."""
    _CURRENT.set(trace)


def charge(technique: str, amount: int) -> None:
    """Charge nUSD to the request that this task works for, at the expense of a technique such as `semantic_cache`."""
    trace = _CURRENT.get()
    if trace is not None and amount:
        trace.overhead[technique] = trace.overhead.get(technique, 0) + amount


def burdened(bill: Bill, trace: Trace) -> Bill:
    """The bill with the overhead on it: what a technique costs lowers what it saved, below zero if need be."""
    if not trace.overhead:
        return bill
    amount = sum(trace.overhead.values())
    saved_by = dict(bill.saved_by)
    for technique, spent in trace.overhead.items():
        saved_by[technique] = saved_by.get(technique, 0) - spent
    return msgspec.structs.replace(
        bill,
        overhead_cost=bill.overhead_cost + amount,
        saved=bill.saved - amount,
        saved_by={name: value for name, value in saved_by.items() if value},
    )
