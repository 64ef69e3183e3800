"""Wanting: what an org's preferences mean on the path of a request, without waiting for storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Principal, Request

_HOUR_S = 3_600.0


def in_mode(gateway: Gateway, request: Request, principal: Principal) -> Request:
    """The request in the org's default mode, where the caller said nothing of it and a rule heeds it."""
    if not request.terms.undecided or "guided" not in gateway.rules:
        return request
    mode = gateway.standings.known(principal.org).preferences.routing.default_mode
    return request if mode == request.terms.mode else replace(request, terms=replace(request.terms, mode=mode))


def keeps_exact(gateway: Gateway, org: str) -> bool:
    """Whether the org wants its exact cache."""
    return gateway.standings.known(org).preferences.cache.t1_enabled


def exact_life(gateway: Gateway, seconds: float) -> Callable[[str], float]:
    """How many seconds an org's answers live in the exact tier: as it says, else `seconds`."""

    def life(org: str) -> float:
        standing = gateway.standings.known(org)
        return standing.preferences.cache.t1_ttl_hours * _HOUR_S if "cache.t1_ttl_hours" in standing.said else seconds

    return life


def grace_of(gateway: Gateway) -> Callable[[str], float]:
    """How many seconds an org's expired entries stay where they are, served to nobody: none, or, where it does not want
    them cleaned up, as long as anything of it is kept."""
    days = gateway.settings.governance.retention_days

    def grace(org: str) -> float:
        standing = gateway.standings.known(org)
        if standing.preferences.cache.auto_cleanup:
            return 0.0
        return 24 * _HOUR_S * (days if standing.profile is None else min(days, standing.profile.retention_days))

    return grace


def step_life(gateway: Gateway, seconds: float) -> Callable[[str], float]:
    """The same for results of steps."""

    def life(org: str) -> float:
        standing = gateway.standings.known(org)
        return standing.preferences.cache.t3_ttl_hours * _HOUR_S if "cache.t3_ttl_hours" in standing.said else seconds

    return life
