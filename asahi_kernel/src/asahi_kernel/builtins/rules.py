"""The rules that need no learning: the named model, health, capability, the caller's bounds, price."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from asahi_kernel.factory import Config, Factory
from asahi_kernel.gateway import Gateway
from asahi_kernel.money import plain
from asahi_kernel.protocols import Rule
from asahi_kernel.types import Candidate, Capability, Principal, Request, Required, Verdict
from asahi_kernel.upstream import ANY_WIRE

#: A latency that no model has.
_ANY_MS = 600_000.0
_NEEDS: Mapping[str, Capability] = {
    "image_url": "vision",
    "image": "vision",
    "input_audio": "audio",
    "file": "file",
    "document": "file",
}


class Explicit:
    """In explicit mode drops all but the named model."""

    local = True

    async def rank(self, request: Request, principal: Principal, candidates: Sequence[Candidate]) -> Verdict:
        if request.model is None:
            return Verdict(tuple(candidates))
        return _sift(candidates, lambda each: "" if each.name == request.model else "another model was named")


class Health:
    """Drops models that are unavailable, and those of providers that rest after failures."""

    local = True

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def rank(self, request: Request, principal: Principal, candidates: Sequence[Candidate]) -> Verdict:
        return _sift(candidates, self._fault)

    def _fault(self, candidate: Candidate) -> str:
        if candidate.model.availability == "unavailable":
            return "marked unavailable"
        return "" if self._gateway.upstreams[candidate.model.provider].available() else "provider is resting"


class Capable:
    """Drops models that lack what the request needs, would lose some of it, or whose context is too small."""

    local = True

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def rank(self, request: Request, principal: Principal, candidates: Sequence[Candidate]) -> Verdict:
        needs = needed(request)
        return _sift(candidates, lambda each: self._fault(each, request, needs))

    def _fault(self, candidate: Candidate, request: Request, needs: frozenset[Capability]) -> str:
        model, tokens = candidate.model, candidate.input_tokens
        if missing := needs - model.capabilities:
            return f"cannot do {', '.join(sorted(missing))}"
        upstream = self._gateway.upstreams[model.provider]
        if request.wire and upstream.wire not in (ANY_WIRE, request.wire):
            fields = ", ".join(name for name, _ in request.options) or "fields of messages or tools"
            return f"does not speak the {request.wire} wire, which {fields} need"
        if request.options and not upstream.wire:
            return f"takes no {', '.join(name for name, _ in request.options)}"
        if reason := upstream.refuses(request):
            return f"its provider {reason}"
        if request.max_tokens is not None and request.max_tokens > model.max_output_tokens:
            return f"max_tokens {request.max_tokens} > {model.max_output_tokens}"
        if tokens + (request.max_tokens or 0) > model.max_input_tokens:
            return f"context {model.max_input_tokens} < {tokens + (request.max_tokens or 0)} tokens"
        return ""


class Bounds:
    """Drops models that break a bound the caller stated. With `best_effort` only `cost_budget` stays hard. The org's
    default bounds hold here where no rule `autopilot` holds them: they are given up rather than that nobody answers."""

    local = True

    def __init__(self, gateway: Gateway | None = None) -> None:
        self._gateway = gateway

    async def rank(self, request: Request, principal: Principal, candidates: Sequence[Candidate]) -> Verdict:
        terms = request.terms
        if terms.quality_threshold is None and terms.latency_budget_ms is None and terms.cost_budget is None:
            return self._by_default(request, principal.org, candidates)
        affordable = _sift(candidates, lambda each: _too_dear(each, terms.cost_budget))
        strict = _relax(affordable, terms.quality_threshold, terms.latency_budget_ms)
        return affordable if terms.on_no_route == "best_effort" and not strict.kept else strict

    def _by_default(self, request: Request, org: str, candidates: Sequence[Candidate]) -> Verdict:
        gateway = self._gateway
        if gateway is None or request.terms.mode != "autopilot" or "autopilot" in gateway.rules:
            return Verdict(tuple(candidates))
        need = gateway.standings.known(org).need(request.terms.task_type or "general")
        if need.quality is None and need.latency_ms is None:
            return Verdict(tuple(candidates))
        bounds = need.quality or 0.0, need.latency_ms or _ANY_MS
        required = Required(quality=bounds[0], latency_ms=bounds[1], quality_source="org", latency_source="org")
        relaxations: tuple[tuple[float | None, tuple[str, ...]], ...] = ((need.latency_ms, ()), (None, ("latency",)))
        for latency_ms, relaxed in relaxations:
            found = _relax(Verdict(tuple(candidates)), need.quality, latency_ms)
            if found.kept:
                return Verdict(found.kept, found.dropped, relaxed, required)
        return Verdict(tuple(candidates), {}, ("latency", "quality"), required)


class Cheapest:
    """Drops nothing; the lowest estimated cost first, ties to the faster, then by name. Unpriced models come last."""

    local = True

    async def rank(
        self, request: Request, principal: Principal, candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        return candidates if len(candidates) < 2 else sorted(candidates, key=_price)


def needed(request: Request) -> frozenset[Capability]:
    """The capabilities that a request asks of a model."""
    needs: set[Capability] = set()
    if request.tools:
        needs.add("tools")
    if b"json_schema" in request.response_format:
        needs.add("json_schema")
    for message in request.messages:
        if isinstance(message.content, tuple):
            needs.update(_NEEDS[part.type] for part in message.content if part.type in _NEEDS)
    return frozenset(needs)


def _price(candidate: Candidate) -> tuple[bool, int, float, str]:
    return candidate.cost is None, candidate.cost or 0, candidate.latency_ms, candidate.name


def _too_dear(candidate: Candidate, budget: int | None) -> str:
    if budget is None:
        return ""
    if candidate.cost is None:
        return "price unknown, and a cost budget is set"
    return f"${plain(candidate.cost)} > ${plain(budget)}" if candidate.cost > budget else ""


def _relax(verdict: Verdict, quality: float | None, latency_ms: float | None) -> Verdict:
    def fault(candidate: Candidate) -> str:
        if quality is not None and candidate.quality < quality:
            return f"quality {candidate.quality:.2f} < {quality:.2f}"
        if latency_ms is not None and candidate.latency_ms > latency_ms:
            return f"{candidate.latency_ms:.0f} ms > {latency_ms:.0f} ms"
        return ""

    sifted = _sift(verdict.kept, fault)
    return Verdict(sifted.kept, {**verdict.dropped, **sifted.dropped})


def _sift(candidates: Sequence[Candidate], fault: Callable[[Candidate], str]) -> Verdict:
    """Keep the candidates without a fault, and say the fault of the others."""
    dropped: dict[str, str] = {}
    kept: list[Candidate] = []
    for candidate in candidates:
        if reason := fault(candidate):
            dropped[candidate.name] = reason
        else:
            kept.append(candidate)
    return Verdict(tuple(kept), dropped) if dropped else Verdict(tuple(candidates))


def _opened(make: Callable[[Gateway], Rule]) -> Callable[[Config, Gateway], AbstractAsyncContextManager[Rule]]:
    @asynccontextmanager
    async def open_rule(config: Config, gateway: Gateway) -> AsyncIterator[Rule]:
        yield make(gateway)

    return open_rule


ALL = (
    Factory("explicit", Config, _opened(lambda gateway: Explicit())),
    Factory("health", Config, _opened(Health)),
    Factory("capability", Config, _opened(Capable)),
    Factory("bounds", Config, _opened(Bounds)),
    Factory("cheapest", Config, _opened(lambda gateway: Cheapest())),
)
