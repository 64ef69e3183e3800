"""Rechecks: a question that a cache has answered is answered again off the request path, so that the cache can learn
whether it was right. No cache sees it, and its cost is overhead. A cache may ask a model for more than that."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel.answer import Answer, Bill, Route
from asahi_kernel.calling import call
from asahi_kernel.errors import AsahiError
from asahi_kernel.holding import close, reserve
from asahi_kernel.pipeline import cacheable, release, shape
from asahi_kernel.records import OWN, Status
from asahi_kernel.rendering import render
from asahi_kernel.routing import route, worst_case
from asahi_kernel.settlement import record
from asahi_kernel.trace import Trace
from asahi_kernel.types import Completion, Usage

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Principal, Request

log = logging.getLogger(__name__)


async def recheck(
    gateway: Gateway,
    request: Request,
    principal: Principal,
    model: str,
    technique: str,
    why: str = "answered again to check the cache",
) -> Completion | None:
    """A fresh answer by the model that gave the stored one, or of whatever else a cache must know of a model; None when
    there is none that could be compared.

    Budgets hold for it, and `technique` pays: its saving is lowered by the cost. `request` was admitted before.
    """
    if gateway.draining or model not in gateway.registry.by_name:
        return None
    terms = msgspec.structs.replace(request.terms, mode="explicit", stream=False)
    asked = msgspec.structs.replace(request, model=model, terms=terms)
    trace = Trace(OWN)
    fresh: Completion | None = None
    status: Status = "failed"
    try:
        gateway.journal.admit()
        shaped = render(await shape(gateway, asked, principal))
        ranked = await route(gateway, shaped, principal, trace)
        await reserve(gateway, principal, ranked, trace, worst_case(shaped))
        answered = await call(gateway, shaped, principal, ranked, trace, None)
        status = "ok"
        fresh = await release(gateway, asked, answered, principal)
    except AsahiError as error:
        log.info("a recheck had no answer: %s", error.code)
    except asyncio.CancelledError:
        status = "aborted"
        raise
    finally:
        if trace.dispatched:
            _settle(gateway, asked, principal, trace, status, technique, why)
            await gateway.journal.kept(trace.receipt)
        await close(gateway, principal, trace)
    return fresh if fresh is not None and cacheable(asked, fresh, trace) else None


def _settle(
    gateway: Gateway, request: Request, principal: Principal, trace: Trace, status: Status, technique: str, why: str
) -> None:
    """One event of its own, without a baseline: nobody would have asked without Asahi."""
    costs = [attempt.cost for attempt in trace.attempts]
    spent = sum(cost or 0 for cost in costs)
    bill = Bill(
        cost=None if None in costs else 0,
        overhead_cost=spent,
        saved=-spent,
        saved_by={technique: -spent} if spent else {},
        price_version=gateway.registry.by_name[request.model or ""].price_version,
    )
    last = trace.attempts[-1] if trace.attempts else None
    answer = Answer(
        request_id=trace.request_id,
        timestamp=trace.timestamp,
        completion=Completion(model=last.model if last else "", provider=last.provider if last else ""),
        usage=last.usage if last else Usage(),
        bill=bill,
        route=Route(mode="explicit", reason=why),
        billed_tokens=sum(each.usage.total_tokens for each in trace.attempts if each.billed),
        warnings=tuple(trace.warnings if bill.price_known else [*trace.warnings, "price_unknown"]),
    )
    record(gateway, request, principal, trace, status, None if status == "ok" else "recheck_failed", answer)
