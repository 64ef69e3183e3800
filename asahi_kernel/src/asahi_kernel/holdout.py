"""The holdout: a small random share of requests goes to the baseline model as it came, so that savings are measured and
not only computed."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel.errors import AsahiError
from asahi_kernel.rendering import render
from asahi_kernel.routing import route
from asahi_kernel.trace import Trace

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Principal, Request

#: Techniques that mark the two arms on events: answered by the baseline unoptimised, and eligible for it but not drawn.
HELD_OUT, COMPARED = "holdout", "holdout_compared"


async def draw(gateway: Gateway, request: Request, principal: Principal, trace: Trace) -> Request:
    """The request, or what the baseline model is asked instead. Drawn by a keyed hash of the request id, so that nobody
    can choose. Requests with bounds of their own, and those that the baseline may not answer, are neither drawn nor
    compared."""
    rate = gateway.settings.savings.holdout_rate
    if not _eligible(request):
        return request
    name = request.model or request.terms.baseline
    baseline = gateway.registry.by_name.get(name) if name else gateway.registry.baseline
    if baseline is None or baseline.prices is None:
        return request
    terms = msgspec.structs.replace(request.terms, mode="explicit", cache="off")
    plain = msgspec.structs.replace(request, model=baseline.name, terms=terms)
    try:
        await route(gateway, render(plain), principal, Trace(trace.route))
    except AsahiError:
        return request
    drawn = fraction(gateway.holdout_key, trace.request_id) < rate
    trace.arm = HELD_OUT if drawn else COMPARED
    return plain if drawn else request


def fraction(key: bytes, request_id: str) -> float:
    """Where a request stands in [0, 1): HMAC-SHA-256 of its id."""
    return int.from_bytes(hmac.digest(key, request_id.encode(), hashlib.sha256)[:8], "big") / 2**64


def _eligible(request: Request) -> bool:
    terms = request.terms
    return (
        terms.cache == "on"
        and request.n == 1
        and terms.quality_threshold is None
        and terms.latency_budget_ms is None
        and terms.cost_budget is None
    )
