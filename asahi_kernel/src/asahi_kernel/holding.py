"""Holding: money is put aside before a call, and settled once with what was really billed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from asahi_kernel.asking import bounded, note_fault
from asahi_kernel.errors import NoRoute
from asahi_kernel.vetting import Binding

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Candidate, Principal


async def reserve(
    gateway: Gateway,
    principal: Principal,
    ranked: Sequence[Candidate],
    trace: Trace,
    worst: Callable[[Candidate], int],
) -> None:
    """Settlements hold the worst case of the dearest candidate that may be called, beside what the request holds for
    its other steps; closed on any failure. A model without a price cannot be held to a budget."""
    binding = [each for each in gateway.settlements if not isinstance(each, Binding) or each.binds(principal)]
    if binding:
        if unpriced := [candidate.name for candidate in ranked if candidate.model.prices is None]:
            raise NoRoute(f"the price of {unpriced[0]!r} is unknown, and there is a budget", code="price_unknown")
        trace.reserved = True
        trace.purse.held += max(map(worst, ranked))
        for settlement in binding:
            held = settlement.reserve(trace.request_id, principal, trace.purse.held)
            await bounded(gateway, f"settlement {type(settlement).__name__!r}", held, type(None))


async def close(gateway: Gateway, principal: Principal, trace: Trace) -> None:
    """Give back what was reserved, shielded from the client and from cancellation."""
    if trace.reserved:
        billed = sum(attempt.cost or 0 for attempt in trace.attempts)
        await asyncio.shield(gateway.detach(_settle_all(gateway, principal, trace.request_id, billed)))
    if gateway.meters and trace.estimated_tokens:
        gateway.detach(_meter(gateway, principal, trace))


async def _meter(gateway: Gateway, principal: Principal, trace: Trace) -> None:
    tokens = sum(attempt.usage.total_tokens for attempt in trace.attempts if attempt.billed)
    for meter in gateway.meters:
        try:
            work = meter.metered(principal, trace.estimated_tokens, tokens)
            await bounded(gateway, f"meter {type(meter).__name__!r}", work, type(None))
        except Exception:  # noqa: BLE001 - fails open: the estimate stands
            note_fault(gateway, "meter", type(meter).__name__)


async def _settle_all(gateway: Gateway, principal: Principal, request_id: str, cost: int) -> None:
    for settlement in gateway.settlements:
        try:
            settled = settlement.settle(request_id, principal, cost)
            await bounded(gateway, f"settlement {type(settlement).__name__!r}", settled, type(None))
        except Exception:  # noqa: BLE001 - the lease ends by itself; the others must still be settled
            note_fault(gateway, "settlement", type(settlement).__name__)
