"""Bills: what one request cost, what it would have cost, and which technique made the difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from asahi_kernel.answer import Bill
from asahi_kernel.choice import TECHNIQUES
from asahi_kernel.prompt_cache import marked
from asahi_kernel.types import Hit, Model, Usage

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Request

NOTHING = Usage()


def bill_of(gateway: Gateway, request: Request, trace: Trace, usage: Usage, hit: Hit | None) -> Bill:
    """The bill of an answered request."""
    baseline = gateway.registry.baseline_of(request)
    own_cache = hit is None and marked(request)
    alone = usage if own_cache else Usage(*sizes(usage))
    before = baseline.prices.cost(alone) if baseline is not None and baseline.prices is not None else 0
    named = baseline.name if baseline else None
    if hit is None and trace.steps:
        return _steps_bill(gateway, trace, alone, baseline)
    if hit is not None and all(attempt.cost is not None for attempt in trace.attempts):
        version = baseline.price_version if baseline else None
        failed = sum(attempt.cost or 0 for attempt in trace.attempts)
        return Bill(
            cost=failed,
            baseline_cost=before,
            baseline_usage=alone,
            saved=before - failed,
            saved_by={TECHNIQUES[hit.tier]: before, **({"failed_attempts": -failed} if failed else {})},
            baseline_model=named,
            price_version=version,
        )
    model = gateway.registry.by_name[trace.attempts[-1].model]
    if model.prices is None or any(attempt.cost is None for attempt in trace.attempts):
        return Bill(cost=None, baseline_model=named, price_version=model.price_version)
    cost = sum(attempt.cost or 0 for attempt in trace.attempts)
    if baseline is None or baseline.prices is None:
        before = cost
    return Bill(
        cost=cost,
        baseline_cost=before,
        baseline_usage=alone,
        saved=before - cost,
        saved_by=_saved_by(before, model.prices.cost(alone), trace),
        baseline_model=named,
        price_version=model.price_version,
    )


def _steps_bill(gateway: Gateway, trace: Trace, alone: Usage, baseline: Model | None) -> Bill:
    """The bill of a request that was answered in steps; its baseline is one call for all of it. What the reused steps
    would have cost anew is the cache's saving, the rest that of routing: less than nothing where steps cost more than
    the whole would have."""
    named = baseline.name if baseline else None
    used = [gateway.registry.by_name[attempt.model] for attempt in trace.attempts]
    version = used[-1].price_version if used else baseline.price_version if baseline else None
    if any(attempt.cost is None for attempt in trace.attempts):
        return Bill(cost=None, baseline_model=named, price_version=version)
    cost = sum(attempt.cost or 0 for attempt in trace.attempts)
    failed = sum(attempt.cost or 0 for attempt in trace.attempts if attempt.outcome != "ok")
    before = cost if baseline is None or baseline.prices is None else baseline.prices.cost(alone)
    reused = sum(step.worth for step in trace.steps)
    routing = before - (cost - failed) - reused
    parts = {"intermediate_cache": reused, "routing": routing, "failed_attempts": -failed}
    return Bill(
        cost=cost,
        baseline_cost=before,
        baseline_usage=alone,
        saved=before - cost,
        saved_by={name: amount for name, amount in parts.items() if amount},
        baseline_model=named,
        price_version=version,
    )


def vectors_bill(model: Model, trace: Trace, usage: Usage) -> Bill:
    """The bill of a request for vectors: its baseline is every text paid for at the same model."""
    named, version = model.name, model.price_version
    if model.prices is None or any(attempt.cost is None for attempt in trace.attempts):
        return Bill(cost=None if trace.attempts else 0, baseline_model=named, price_version=version)
    alone = Usage(*sizes(usage))
    before = model.prices.cost(alone)
    cost = sum(attempt.cost or 0 for attempt in trace.attempts)
    failed = sum(attempt.cost or 0 for attempt in trace.attempts if attempt.outcome != "ok")
    parts = {"exact_cache": before - (cost - failed), "failed_attempts": -failed}
    return Bill(
        cost=cost,
        baseline_cost=before,
        baseline_usage=alone,
        saved=before - cost,
        saved_by={name: amount for name, amount in parts.items() if amount},
        baseline_model=named,
        price_version=version,
    )


def _saved_by(before: int, alone: int, trace: Trace) -> Mapping[str, int]:
    """Telescoping from the baseline to the bill, so that the parts sum exactly. `alone` is the chosen model's bill for
    what the caller asked by itself: a vendor's cache of prompts is our doing only where the caller set no markers."""
    paid = trace.attempts[-1].cost or 0
    failed = sum(attempt.cost or 0 for attempt in trace.attempts[:-1])
    parts = {"routing": before - alone, "prompt_caching": alone - paid, "failed_attempts": -failed}
    return {name: amount for name, amount in parts.items() if amount}


def failure_bill(gateway: Gateway, trace: Trace) -> Bill:
    """The bill of a request without an answer: what was billed all the same lowers savings."""
    version = gateway.registry.by_name[trace.attempts[-1].model].price_version if trace.attempts else None
    if any(attempt.cost is None for attempt in trace.attempts):
        return Bill(cost=None, price_version=version)
    cost = sum(attempt.cost or 0 for attempt in trace.attempts)
    parts = {"failed_attempts": -cost} if cost else {}
    return Bill(cost=cost, saved=-cost, saved_by=parts, price_version=version)


def billed_usage(trace: Trace) -> Usage:
    """What the billed attempts used together."""
    billed = [attempt for attempt in trace.attempts if attempt.billed]
    if not billed:
        return NOTHING
    return Usage(
        sum(attempt.usage.input_tokens for attempt in billed),
        sum(attempt.usage.output_tokens for attempt in billed),
        source="estimated",
    )


def sizes(usage: Usage) -> tuple[int, int]:
    """Input and output tokens."""
    return usage.input_tokens, usage.output_tokens
