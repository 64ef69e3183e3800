"""The route stage: every registered model becomes a candidate, and the rules narrow and order the candidates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel.errors import AsahiError, NoRoute, PluginError, Unavailable
from asahi_kernel.learned import ANY_TASK, Learned
from asahi_kernel.money import count_input, expect_output, plain
from asahi_kernel.types import Candidate, Model, Usage, Verdict

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Ranking
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Principal, Request


#: No vendor's cache keeps a shorter beginning of a prompt, so no shorter one is written at a surcharge.
_LEAST_WRITTEN = 1_024


async def route(gateway: Gateway, request: Request, principal: Principal, trace: Trace) -> Sequence[Candidate]:
    """The candidates that may answer, best first, at least one."""
    return await judge(gateway, request, principal, trace, consider(gateway.registry.chat, request, gateway.learned))


async def judge(
    gateway: Gateway, request: Request, principal: Principal, trace: Trace, candidates: tuple[Candidate, ...]
) -> Sequence[Candidate]:
    """Those of the candidates that every rule leaves in, best first; every rule's verdict goes to the trace.

    Raises `NoRoute`, or `Unavailable` where only the providers' health is in the way. A rule that fails stops the
    request: routing around a bound nobody checked would break it.
    """
    trace.candidates = candidates
    if not candidates:
        raise Unavailable("no model is registered whose provider is configured", code="no_provider", retry_after=30)
    for name, rule in gateway.rules.items():
        verdict = _judged(name, candidates, await _ranked(gateway, name, rule.rank(request, principal, candidates)))
        trace.rules.append((name, verdict))
        trace.relaxed += verdict.relaxed
        trace.required = verdict.required or trace.required
        if trace.findings is None and verdict.kept and verdict.kept[0].findings is not None:
            _note(trace, verdict.kept)
        if not verdict.kept:
            raise _dead_end(gateway, request, trace, name, candidates)
        candidates = verdict.kept
    trace.ranked = candidates
    return candidates


def consider(models: Sequence[Model], request: Request, learned: Learned | None = None) -> tuple[Candidate, ...]:
    """Each model with its estimate for this request: the cost of the expected tokens, in nUSD. Once enough answers of a
    model were seen, for the task if the caller states one, their median length is expected."""
    tokens = count_input(request)
    output = expect_output(tokens, request.max_tokens)
    task = request.terms.task_type or "general"

    def length(model: Model) -> int:
        found = learned.output_tokens(model.name, request.terms.task_type or ANY_TASK) if learned else None
        if found is None:
            return output
        return found if request.max_tokens is None else min(found, request.max_tokens)

    return tuple(
        Candidate(
            name=model.name,
            model=model,
            input_tokens=tokens,
            cost=None if model.prices is None else model.prices.plain(tokens, length(model)) * request.n,
            quality=model.task_quality.get(task, model.quality_score),
            latency_ms=model.avg_latency_ms,
        )
        for model in models
    )


def worst_case(request: Request) -> Callable[[Candidate], int]:
    """What a candidate may cost at most, in nUSD: a tenth more input than estimated, all of it written to the vendor's
    cache where that costs more, and all the output it may give."""

    def cost(candidate: Candidate) -> int:
        prices = candidate.model.prices
        return 0 if prices is None else prices.cost(most_usage(request, candidate))

    return cost


def most_usage(request: Request, candidate: Candidate) -> Usage:
    """The tokens behind the worst case: what is written to a vendor's cache costs more."""
    model = candidate.model
    most = min(request.max_tokens or model.max_output_tokens, model.max_output_tokens) * request.n
    tokens, prices = -(-candidate.input_tokens * 11 // 10), model.prices
    plain = Usage(tokens, most, source="estimated")
    if prices is None or tokens < _LEAST_WRITTEN:
        return plain
    whole = msgspec.structs.replace(plain, cache_write_tokens=tokens, cache_write_1h_tokens=tokens)
    return whole if prices.cost(whole) > prices.cost(plain) else plain


def _note(trace: Trace, estimated: Sequence[Candidate]) -> None:
    """From now on the estimates of a rule are the ones to tell of, also for candidates that later rules drop."""
    by_name = {candidate.name: candidate for candidate in estimated}
    trace.findings = estimated[0].findings
    trace.candidates = tuple(by_name.get(candidate.name, candidate) for candidate in trace.candidates)


async def _ranked(gateway: Gateway, name: str, work: Awaitable[Ranking]) -> Ranking:
    """A rule's ranking within its time; the rules of this process cannot wait and need no clock."""
    if name not in gateway.waiting_rules:
        return await work
    try:
        async with asyncio.timeout(gateway.settings.api.plugin_timeout_ms / 1e3):
            return await work
    except TimeoutError:
        raise PluginError(f"rule {name!r} took longer than {gateway.settings.api.plugin_timeout_ms} ms") from None


def _judged(rule: str, given: Sequence[Candidate], ranking: Sequence[Candidate] | Verdict) -> Verdict:
    try:
        verdict = ranking if isinstance(ranking, Verdict) else Verdict(tuple(ranking))
        whole = all(isinstance(candidate, Candidate) for candidate in verdict.kept)
    except TypeError:
        whole = False
    if not whole:
        raise PluginError(f"rule {rule!r} gave a {type(ranking).__name__}, not candidates")
    if verdict.kept is given:
        return verdict
    models = {candidate.name: candidate.model for candidate in given}
    for candidate in verdict.kept:
        if models.pop(candidate.name, None) is not candidate.model:
            raise PluginError(f"rule {rule!r} returned {candidate.name!r}, which it was not given, or gave it twice")
    if len(models) > len(verdict.dropped):
        silent = dict.fromkeys(models.keys() - verdict.dropped.keys(), "dropped without a reason")
        verdict = Verdict(verdict.kept, {**verdict.dropped, **silent}, verdict.relaxed, verdict.required)
    return verdict


def _dead_end(gateway: Gateway, request: Request, trace: Trace, rule: str, given: Sequence[Candidate]) -> AsahiError:
    dropped = trace.rules[-1][1].dropped
    if rule == "health":
        wait_s = min(gateway.upstreams[each.model.provider].wait_s() for each in given)
        return Unavailable(
            "every provider that could answer is resting after failures",
            code="no_provider",
            retry_after=max(1.0, wait_s),
        )
    if dropped and all(reason.startswith("context") for reason in dropped.values()):
        largest = max(candidate.model.max_input_tokens for candidate in trace.candidates)
        return NoRoute(
            f"the request is larger than every candidate's context; the largest is {largest} tokens",
            code="context_too_long",
            details={"largest_context": largest},
        )
    if dropped and all(reason.startswith("price unknown") for reason in dropped.values()):
        return NoRoute("cost_budget cannot be checked: no candidate's price is known", code="price_unknown")
    why = "; ".join(f"{name}: {reason}" for name, reason in list(dropped.items())[:3])
    return NoRoute(
        f"no model meets the request; rule {rule!r} dropped the last ones ({why})",
        details={"rule": rule, "dropped": dict(dropped), "nearest": _nearest(request, given)},
    )


def _nearest(request: Request, given: Sequence[Candidate]) -> dict[str, dict[str, object]]:
    """Per stated bound, the model that comes closest and its value."""
    terms = request.terms
    nearest: dict[str, dict[str, object]] = {}
    if terms.quality_threshold is not None:
        best = max(given, key=lambda each: each.quality)
        nearest["quality_threshold"] = {"model": best.name, "value": best.quality}
    if terms.latency_budget_ms is not None:
        fastest = min(given, key=lambda each: each.latency_ms)
        nearest["latency_budget_ms"] = {"model": fastest.name, "value": fastest.latency_ms}
    if terms.cost_budget is not None and (priced := [each for each in given if each.cost is not None]):
        cheapest = min(priced, key=lambda each: each.cost or 0)
        nearest["cost_budget"] = {"model": cheapest.name, "value": plain(cheapest.cost)}
    return nearest
