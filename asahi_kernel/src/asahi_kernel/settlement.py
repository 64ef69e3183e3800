"""Settlement: one admitted request becomes one bill, one event, one decision, and the answer that tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asahi_kernel.answer import Answer, Bill, Route
from asahi_kernel.bills import NOTHING, bill_of, billed_usage, failure_bill, sizes, vectors_bill
from asahi_kernel.choice import alternatives, bounds_of, considered, notes, told, untold
from asahi_kernel.errors import Aborted, AsahiError
from asahi_kernel.money import count_input, expect_output
from asahi_kernel.overhead import burdened
from asahi_kernel.records import OWN, Attempt, Decision, Event, Settled, Status
from asahi_kernel.routing import most_usage
from asahi_kernel.types import Candidate, Completion, Hit, Usage
from asahi_kernel.witnessing import witness

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Principal, Request


def settle(
    gateway: Gateway, request: Request, principal: Principal, trace: Trace, completion: Completion, hit: Hit | None
) -> Answer:
    """Close an answered request: journalled before this returns."""
    trace.mark("post_processing")
    usage = completion.usage or NOTHING
    bill = burdened(bill_of(gateway, request, trace, usage, hit), trace)
    answer = Answer(
        request_id=trace.request_id,
        timestamp=trace.timestamp,
        completion=completion,
        usage=usage,
        bill=bill,
        route=told(request, trace, completion, hit),
        hit=hit,
        cache_status=f"t{hit.tier}" if hit else trace.cache_status,
        billed_tokens=sum(each.usage.total_tokens for each in trace.attempts if each.billed),
        techniques=_techniques(bill, trace),
        latency_ms=trace.elapsed_ms(),
        ttft_ms=trace.ttft_ms,
        breakdown=trace.breakdown,
        attempts=len(trace.attempts),
        warnings=tuple(trace.warnings if bill.price_known else [*trace.warnings, "price_unknown"]),
        steps=trace.steps,
    )
    record(gateway, request, principal, trace, "ok", None, answer)
    return answer


def _techniques(bill: Bill, trace: Trace) -> tuple[str, ...]:
    applied = tuple(name for name in bill.saved_by if name != "failed_attempts")
    return (*applied, trace.arm) if trace.arm else applied


def settle_embeddings(
    gateway: Gateway, request: Request, principal: Principal, trace: Trace, told: Completion, hit: Hit | None
) -> Answer:
    """Close an answered request for vectors. Its baseline is every text paid for at the same model; what the cache
    knew, or what stood in the request twice, is saved. `hit` is set when the cache knew all."""
    trace.mark("post_processing")
    usage, model = told.usage or NOTHING, gateway.registry.by_name[told.model]
    bill = vectors_bill(model, trace, usage)
    named = "was named by the caller" if request.terms.mode == "explicit" else "embeds where no model is named"
    reason = "answered from the exact cache" if hit else f"{model.name} {named}"
    answer = Answer(
        request_id=trace.request_id,
        timestamp=trace.timestamp,
        completion=told,
        usage=usage,
        bill=bill,
        route=Route(mode=request.terms.mode, reason=reason),
        hit=hit,
        cache_status="t1" if hit else trace.cache_status,
        billed_tokens=sum(each.usage.input_tokens for each in trace.attempts if each.billed),
        techniques=tuple(name for name in bill.saved_by if name != "failed_attempts"),
        latency_ms=trace.elapsed_ms(),
        breakdown=trace.breakdown,
        attempts=len(trace.attempts),
        warnings=tuple(trace.warnings if bill.price_known else [*trace.warnings, "price_unknown"]),
    )
    record(gateway, request, principal, trace, "ok", None, answer)
    return answer


def foresee(gateway: Gateway, request: Request, trace: Trace, chosen: Candidate) -> Answer:
    """The answer of a dry run: what would be chosen, and what it is estimated to cost; nothing is recorded."""
    tokens = count_input(request)
    usage = Usage(tokens, expect_output(tokens, request.max_tokens), source="estimated")
    baseline = gateway.registry.baseline_of(request)
    before = baseline.prices.plain(*sizes(usage)) if baseline and baseline.prices else 0
    saved = before - chosen.cost if chosen.cost is not None else 0
    bill = Bill(
        cost=chosen.cost,
        baseline_cost=before,
        saved=saved,
        saved_by={"routing": saved} if saved else {},
        baseline_model=baseline.name if baseline else None,
        price_version=chosen.model.price_version,
    )
    trace.mark("routing")
    completion = Completion(model=chosen.name, provider=chosen.model.provider, usage=usage)
    route = told(request, trace, completion, None)
    return Answer(
        request_id=trace.request_id,
        timestamp=trace.timestamp,
        completion=completion,
        usage=usage,
        bill=bill,
        route=msgspec.structs.replace(route, alternatives=alternatives(request, trace, chosen.name)),
        cache_status="bypass",
        latency_ms=trace.elapsed_ms(),
        breakdown=trace.breakdown,
        warnings=("dry_run: money and tokens are estimates, nothing was called",),
    )


def settle_failure(
    gateway: Gateway, request: Request, principal: Principal, trace: Trace, error: BaseException
) -> None:
    """Close a request that ends in an error. What was billed is charged: failures lower savings."""
    trace.mark("inference" if trace.dispatched else "admission")
    if isinstance(error, Aborted) or not isinstance(error, Exception):
        status: Status = "aborted"
    elif isinstance(error, AsahiError) and not trace.dispatched and error.status < 500:
        status = "denied"
    else:
        status = "failed"
    code = error.code if isinstance(error, AsahiError) else "internal"
    record(gateway, request, principal, trace, status, code, _unanswered(gateway, request, trace))


async def pledge(
    gateway: Gateway, request: Request, principal: Principal, trace: Trace, candidate: Candidate, calls: int = 1
) -> None:
    """Before a call is paid for: have in the journal what it comes to if nothing more is ever heard of it. That is the
    worst case, of so many calls at once, beside those of the request's other steps. Raises `Unavailable` when the
    journal cannot be written."""
    if gateway.journal.mode == "memory":
        return
    attempt = _unheard(request, trace, candidate)
    unheard = trace.purse.unheard
    unheard[id(trace)] = (attempt,) * calls
    attempts = (*trace.attempts, *(each for part in unheard.values() for each in part))
    known = None not in (paid := [each.cost for each in attempts])
    spent = sum(each or 0 for each in paid) if known else 0
    own, terms = trace.route == OWN, request.terms
    event = Event(
        request_id=trace.request_id,
        timestamp=trace.timestamp,
        org_id=principal.org,
        user_id=principal.user,
        key_id=principal.key_id,
        route=trace.route,
        status="unknown",
        error="outcome_unknown",
        client_request_id=terms.client_request_id,
        routing_mode=terms.mode,
        model_requested=request.model or terms.baseline,
        model_selected=candidate.name,
        provider=candidate.model.provider,
        input_tokens=attempt.usage.input_tokens,
        billed_tokens=sum(each.usage.total_tokens for each in attempts if each.billed),
        usage_source="estimated",
        cost=(0 if own else spent) if known else None,
        overhead_cost=spent if own else 0,
        saved=-spent,
        saved_by={"failed_attempts": -spent} if spent else {},
        price_version=candidate.model.price_version,
        tags=terms.tags,
        attempts=attempts,
        warnings=("usage_estimated",),
        parent=trace.parent,
    )
    await gateway.journal.intend(trace.receipt, Settled(event, _undecided(event)))


def _unheard(request: Request, trace: Trace, candidate: Candidate) -> Attempt:
    usage = most_usage(request, candidate)
    prices = candidate.model.prices
    return Attempt(
        n=len(trace.attempts) + 1,
        provider=candidate.model.provider,
        model=candidate.name,
        outcome="unknown",
        usage=usage,
        cost=None if prices is None else prices.cost(usage),
        billed=True,
    )


def _undecided(event: Event) -> Decision:
    return Decision(
        request_id=event.request_id,
        org_id=event.org_id,
        user_id=event.user_id,
        timestamp=event.timestamp,
        mode=event.routing_mode,
        task_type=event.task_type,
        required={},
        lookups=(),
        candidates=(),
        rules=(),
        chosen=event.model_selected,
        reason="the gateway stopped before it heard how this call ended; the worst case is charged",
    )


def _unanswered(gateway: Gateway, request: Request, trace: Trace) -> Answer:
    """What there is to tell of a request without an answer: the last model asked, and what was billed."""
    last = trace.attempts[-1] if trace.attempts else None
    usage = billed_usage(trace)
    return Answer(
        request_id=trace.request_id,
        timestamp=trace.timestamp,
        completion=Completion(model=last.model if last else "", provider=last.provider if last else ""),
        usage=usage,
        bill=burdened(failure_bill(gateway, trace), trace),
        route=untold(request, trace),
        billed_tokens=usage.total_tokens,
        warnings=tuple(trace.warnings),
    )


def record(
    gateway: Gateway,
    request: Request,
    principal: Principal,
    trace: Trace,
    status: Status,
    error: str | None,
    answer: Answer,
) -> None:
    """Make an answer an event and a decision, and hand them to the journal."""
    event = _event(request, principal, trace, status, error, answer)
    gateway.journal.add(trace.receipt, Settled(event, _decision(request, event, trace)))
    witness(gateway, event)


def _event(request: Request, who: Principal, trace: Trace, status: Status, error: str | None, answer: Answer) -> Event:
    bill, usage, hit, terms = answer.bill, answer.usage, answer.hit, request.terms
    return Event(
        request_id=trace.request_id,
        timestamp=trace.timestamp,
        org_id=who.org,
        route=trace.route,
        status=status,
        error=error,
        client_request_id=terms.client_request_id,
        user_id=who.user,
        key_id=who.key_id,
        task_type=answer.route.task_type,
        difficulty=answer.route.difficulty,
        routing_mode=terms.mode,
        model_requested=request.model or terms.baseline,
        model_selected=answer.completion.model,
        provider=answer.completion.provider,
        cache_hit=hit is not None,
        cache_tier=answer.tier,
        cache_similarity=hit.similarity if hit else None,
        cache_entry_id=hit.entry_id if hit else None,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        billed_tokens=answer.billed_tokens,
        usage_source=usage.source,
        latency_ms=trace.elapsed_ms(),
        ttft_ms=trace.ttft_ms,
        latency_breakdown=trace.breakdown,
        cost=bill.cost,
        baseline_cost=bill.baseline_cost,
        overhead_cost=bill.overhead_cost,
        saved=bill.saved,
        baseline_model=bill.baseline_model,
        baseline_usage=bill.baseline_usage,
        price_version=bill.price_version,
        saved_by=bill.saved_by,
        techniques=answer.techniques,
        tags=terms.tags,
        routing_reason=answer.route.reason,
        fallback_used=answer.route.fallback_used,
        attempts=tuple(trace.attempts),
        quality_score=answer.route.predicted_quality,
        warnings=answer.warnings,
        parent=trace.parent,
    )


def _decision(request: Request, event: Event, trace: Trace) -> Decision:
    required, sources = bounds_of(request.terms, trace)
    return Decision(
        request_id=event.request_id,
        org_id=event.org_id,
        user_id=event.user_id,
        timestamp=event.timestamp,
        mode=event.routing_mode,
        task_type=event.task_type,
        required=required,
        sources=sources,
        findings=trace.findings,
        lookups=tuple(trace.lookups),
        candidates=tuple([considered(each) for each in trace.candidates]),
        rules=notes(trace),
        chosen=event.model_selected or None,
        reason=event.routing_reason or (event.error or ""),
    )
