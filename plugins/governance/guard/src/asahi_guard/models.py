"""The policy `models` and the rules `policy` and `plan`: which models an org may use, asked for by name, by routing, or
on hits, and how many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from asahi_guard.standing import standing_of
from asahi_kernel.errors import Denied
from asahi_kernel.types import Candidate, Completion, Principal, Request, Verdict

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.people import Tenant
    from asahi_kernel.repositories.rules import OrgPolicy
    from asahi_kernel.settings import Plan


class Permitted:
    """A blocked model is not to be had, whatever else is allowed; with a list of allowed ones no other is."""

    local = True

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def admit(self, request: Request, principal: Principal) -> Request:
        """Refuses a model that is asked for by name."""
        policy = (await standing_of(self._gateway, principal.org)).policy
        named = request.model
        if named is not None and (reason := fault(self._gateway, policy, named)):
            raise Denied(f"the model {named!r} {reason}", code="model_blocked", param="model", details={"model": named})
        return request

    async def clear(self, request: Request, principal: Principal) -> Request:
        """The same for what leaves without being inference."""
        return await self.admit(request, principal)

    def objection(self, request: Request, principal: Principal, stored: Completion) -> str:
        """An answer of a model that is blocked by now is not served again."""
        policy = self._gateway.standings.known(principal.org).policy
        reason = fault(self._gateway, policy, stored.model)
        return f"its model {reason}" if reason else ""


class PolicyRule:
    """Drops the models that the org may not use."""

    local = True

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def rank(self, request: Request, principal: Principal, candidates: Sequence[Candidate]) -> Verdict:
        policy = (await standing_of(self._gateway, principal.org)).policy
        if not policy.blocked_models and not policy.allowed_models:
            return Verdict(tuple(candidates))
        faults = {each.name: fault(self._gateway, policy, each.name) for each in candidates}
        dropped = {name: f"its model {reason}" for name, reason in faults.items() if reason}
        return Verdict(tuple(each for each in candidates if each.name not in dropped), dropped)


class PlanRule:
    """Keeps as many models as the org's plan has, those that the rules before liked best."""

    local = True

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def rank(self, request: Request, principal: Principal, candidates: Sequence[Candidate]) -> Verdict:
        tenant = (await standing_of(self._gateway, principal.org)).tenant
        plan = plan_of(self._gateway, tenant)
        if tenant is None or plan is None or len(candidates) <= plan.models:
            return Verdict(tuple(candidates))
        reason = f"the plan {tenant.plan!r} has room for {plan.models} for each request"
        return Verdict(tuple(candidates[: plan.models]), {each.name: reason for each in candidates[plan.models :]})


def plan_of(gateway: Gateway, tenant: Tenant | None) -> Plan | None:
    """What binds an org; None without a tenant, and for the operator."""
    settings = gateway.settings
    if tenant is None or tenant.org_id == settings.governance.operator_org:
        return None
    return settings.tenants.plan(tenant.plan)


def fault(gateway: Gateway, policy: OrgPolicy, model: str) -> str:
    """Why an org with this policy may not use a model, or nothing. Its lists may name models by their aliases."""
    if not policy.blocked_models and not policy.allowed_models:
        return ""
    aliases = gateway.registry.aliases
    if any(aliases.get(each, each) == model for each in policy.blocked_models):
        return "is blocked by the policy of this organisation"
    if policy.allowed_models and not any(aliases.get(each, each) == model for each in policy.allowed_models):
        return "is not among those that the policy of this organisation allows"
    return ""
