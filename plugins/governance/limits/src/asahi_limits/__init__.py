"""Rate limits, quotas and budgets: nested, atomic over all workers, settled exactly once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_kernel import Factory, hookimpl
from asahi_limits.config import BudgetConfig, QuotaConfig, RateConfig

if TYPE_CHECKING:
    from litestar.types import ControllerRouterHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Policy


@hookimpl
def register_policies() -> Iterable[Factory[Policy, Any]]:
    """`rate`, `quota` and `budget`, which are asked by default outside the development profile."""
    return (
        Factory("rate", RateConfig, open_rate),
        Factory("quota", QuotaConfig, open_quota),
        Factory("budget", BudgetConfig, open_budget),
    )


@hookimpl
def register_routes(gateway: Gateway) -> Iterable[ControllerRouterHandler]:
    """`/governance/budgets` and `/governance/usage`."""
    from asahi_limits.routes import limit_routes

    return limit_routes(gateway)


@asynccontextmanager
async def open_rate(config: RateConfig, gateway: Gateway) -> AsyncIterator[Policy]:
    from asahi_limits.rate import Rate

    yield Rate(gateway)


@asynccontextmanager
async def open_quota(config: QuotaConfig, gateway: Gateway) -> AsyncIterator[Policy]:
    from asahi_limits.leasing import leasing
    from asahi_limits.quota import Quota

    async with leasing(gateway) as leases:
        yield Quota(gateway, leases)


@asynccontextmanager
async def open_budget(config: BudgetConfig, gateway: Gateway) -> AsyncIterator[Policy]:
    from asahi_limits.budget import open_policy

    async with open_policy(config, gateway) as policy:
        yield policy
