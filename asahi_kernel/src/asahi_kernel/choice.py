"""The choice of a model as it is told: why this one, under which bounds, and what the others would have been."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from asahi_kernel.answer import Alternative, Route
from asahi_kernel.holdout import HELD_OUT
from asahi_kernel.money import plain
from asahi_kernel.records import Considered, RuleNote
from asahi_kernel.types import Candidate, Completion, Hit

if TYPE_CHECKING:
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Request, Terms

TECHNIQUES = {1: "exact_cache", 2: "semantic_cache", 3: "intermediate_cache"}


def told(request: Request, trace: Trace, completion: Completion, hit: Hit | None) -> Route:
    """The outcome of routing for an answered request; on a hit, where the answer came from."""
    terms, found = request.terms, trace.findings
    chosen = next((each for each in trace.candidates if each.name == completion.model), None)
    if hit is not None:
        reason = f"answered from the {TECHNIQUES[hit.tier].replace('_', ' ')}, {hit.age_s:.0f} s old"
    elif trace.steps:
        reused = sum(step.reused for step in trace.steps)
        reason = f"answered in {len(trace.steps)} steps, {reused} of them known; the last by {completion.model}"
    else:
        reason = explain_choice(request, trace, completion.model, chosen)
    return Route(
        mode=terms.mode,
        reason=reason,
        task_type=found.task if found else terms.task_type or "general",
        task_confidence=found.confidence if found else 1.0 if terms.task_type else 0.1,
        difficulty=found.difficulty if found else None,
        predicted_quality=chosen.quality if chosen else None,
        fallback_used=bool(trace.relaxed) or fell_back(trace),
        relaxed=trace.relaxed,
        alternatives=alternatives(request, trace, request.model) if _wanted(request, trace) else (),
    )


def untold(request: Request, trace: Trace) -> Route:
    """The same for a request without an answer."""
    found = trace.findings
    return Route(
        mode=request.terms.mode,
        reason="",
        task_type=found.task if found else request.terms.task_type or "general",
        difficulty=found.difficulty if found else None,
        fallback_used=fell_back(trace),
    )


def explain_choice(request: Request, trace: Trace, name: str, chosen: Candidate | None) -> str:
    """One sentence on why this model."""
    if trace.arm == HELD_OUT:
        return f"held out to measure the saving: {name} answers as it would without Asahi"
    if request.terms.mode == "explicit":
        return f"{name} was named by the caller"
    if fell_back(trace):
        return f"fallback to {name} after {trace.attempts[0].model} failed"
    count = len(trace.ranked)
    reason = f"cheapest of {count} {'adequate' if not trace.relaxed else 'remaining'} model{'s' if count != 1 else ''}"
    held = _held(request.terms, trace, chosen) if chosen else ""
    if trace.relaxed:
        held += f" ({' and '.join(trace.relaxed)} relaxed)"
    return f"{reason}: {held}" if held else f"{reason} ({len(trace.candidates)} registered)"


def bounds_of(terms: Terms, trace: Trace) -> tuple[Mapping[str, float | None], Mapping[str, str]]:
    """The bounds in force and who set each: those of a rule, else what the caller stated."""
    found = trace.required
    bounds: dict[str, float | None] = {
        "quality": found.quality if found else terms.quality_threshold,
        "latency_ms": found.latency_ms if found else terms.latency_budget_ms,
        "cost": terms.cost_budget,
    }
    sources = {name: "caller" for name, value in bounds.items() if value is not None}
    if found is not None:
        sources |= {"quality": found.quality_source, "latency_ms": found.latency_source}
    return bounds, sources


def considered(candidate: Candidate) -> Considered:
    """A candidate without its model's profile."""
    return Considered(
        name=candidate.name,
        quality=candidate.quality,
        latency_ms=candidate.latency_ms,
        cost=candidate.cost,
        interval=candidate.interval,
    )


def notes(trace: Trace) -> tuple[RuleNote, ...]:
    """Every rule's turn; the order of those left only where it is not that of the turn before."""
    told, names = [], [each.name for each in trace.candidates]
    for rule, verdict in trace.rules:
        left = [name for name in names if name not in verdict.dropped] if verdict.dropped else names
        names = [each.name for each in verdict.kept]
        told.append(RuleNote(rule=rule, dropped=verdict.dropped, order=() if names == left else tuple(names)))
    return tuple(told)


def alternatives(request: Request, trace: Trace, chosen: str | None) -> tuple[Alternative, ...]:
    """Every other model with its estimate, largest saving against the chosen one first."""
    named = next((each for each in trace.candidates if each.name == chosen), None)
    found = [
        Alternative(
            model=each.name,
            estimated_cost=each.cost,
            estimated_quality=each.quality,
            estimated_latency_ms=each.latency_ms,
            savings_percent=_percent(each, named),
        )
        for each in trace.candidates
        if each is not named
    ]
    return tuple(
        sorted(found, key=lambda each: (each.savings_percent is None, -(each.savings_percent or 0.0), each.model))
    )


def fell_back(trace: Trace) -> bool:
    """Whether another model than the first one tried had to answer."""
    return bool(trace.attempts) and trace.walk is None and trace.attempts[-1].model != trace.attempts[0].model


def _held(terms: Terms, trace: Trace, chosen: Candidate) -> str:
    """The chosen model's estimates against the bounds: `quality 3.80 >= 3.50, 80 ms <= 300 ms, $0.0018 <= $0.01`."""
    found, parts = trace.required, []
    quality = found.quality if found else terms.quality_threshold
    latency = found.latency_ms if found else terms.latency_budget_ms
    if quality is not None:
        parts.append(f"quality {chosen.quality:.2f} {'>=' if chosen.quality >= quality else '<'} {quality:.2f}")
    if latency is not None:
        parts.append(f"{chosen.latency_ms:.0f} ms {'<=' if chosen.latency_ms <= latency else '>'} {latency:.0f} ms")
    if terms.cost_budget is not None:
        parts.append(f"${plain(chosen.cost)} <= ${plain(terms.cost_budget)}")
    return ", ".join(parts)


def _wanted(request: Request, trace: Trace) -> bool:
    """Only the native wire has a place for alternatives."""
    return request.terms.mode == "explicit" and trace.route == "/infer"


def _percent(candidate: Candidate, named: Candidate | None) -> float | None:
    if named is None or not named.cost or candidate.cost is None:
        return None
    return round(100 * (named.cost - candidate.cost) / named.cost, 2)
