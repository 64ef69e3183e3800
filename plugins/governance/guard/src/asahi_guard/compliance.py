"""The policy `compliance` and the rule `region`: an org's profile, held on every request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from asahi_guard.demands import Demands, demands_of, unfit, unmet
from asahi_guard.standing import standing_of
from asahi_kernel.errors import Denied
from asahi_kernel.types import Candidate, Completion, Principal, Request, Verdict

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Terms


class Compliant:
    """Refuses what the profile cannot be held for, and keeps prompts out of the caches where they may not be stored."""

    local = True

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def admit(self, request: Request, principal: Principal) -> Request:
        """Raises `Denied` where the gateway is not set up for the profile, or a model is named that may not answer."""
        demands = demands_of(await standing_of(self._gateway, principal.org))
        if demands.nothing:
            return request
        if missing := unmet(self._gateway, demands):
            raise Denied(
                f"the compliance profile of this organisation cannot be held: {'; '.join(missing)}",
                code="compliance_denied",
                details={"unmet": list(missing)},
            )
        if request.model is not None and (reason := self._unfit(demands, request.model)):
            raise Denied(
                f"the compliance profile of this organisation forbids the model {request.model!r}: {reason}",
                code="compliance_denied",
                param="model",
            )
        if demands.keeps_prompts:
            return request
        return msgspec.structs.replace(request, terms=unstored(request.terms))

    async def clear(self, request: Request, principal: Principal) -> Request:
        """The same for what leaves without being inference."""
        return await self.admit(request, principal)

    def objection(self, request: Request, principal: Principal, stored: Completion) -> str:
        """An answer of a model that may not answer by now is not served again."""
        demands = demands_of(self._gateway.standings.known(principal.org))
        return "" if demands.nothing else self._unfit(demands, stored.model)

    def _unfit(self, demands: Demands, name: str) -> str:
        model = self._gateway.registry.by_name.get(name)
        return "" if model is None else unfit(self._gateway, demands, model)


class RegionRule:
    """Drops models of another or of no known region, of providers that are not allowed, or without an agreement."""

    local = True

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def rank(self, request: Request, principal: Principal, candidates: Sequence[Candidate]) -> Verdict:
        demands = demands_of(await standing_of(self._gateway, principal.org))
        if demands.nothing:
            return Verdict(tuple(candidates))
        faults = {each.name: unfit(self._gateway, demands, each.model) for each in candidates}
        dropped = {name: reason for name, reason in faults.items() if reason}
        return Verdict(tuple(each for each in candidates if each.name not in dropped), dropped)


def unstored(terms: Terms) -> Terms:
    """Only the exact tier, which goes by a keyed hash of the question, and nothing of the question beside it."""
    return msgspec.structs.replace(terms, semantic_cache=False, intermediate_cache=False, keep_prompt=False)
