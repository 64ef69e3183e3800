"""Routing that knows the task, how difficult it is, and how well each model does it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_kernel import Factory, hookimpl
from asahi_optimizer.config import AutopilotConfig, EstimateConfig, GuidedConfig

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Rule


@hookimpl
def register_rules() -> Iterable[Factory[Rule, Any]]:
    """`estimate` comes first, so that bounds are held against estimates; `autopilot` and `guided` act in their mode."""
    return (
        Factory("estimate", EstimateConfig, open_estimate),
        Factory("autopilot", AutopilotConfig, open_autopilot),
        Factory("guided", GuidedConfig, open_guided),
    )


@asynccontextmanager
async def open_estimate(config: EstimateConfig, gateway: Gateway) -> AsyncIterator[Rule]:
    """What it has learnt lives as long as it is open."""
    from asahi_optimizer.estimating import Estimate

    yield Estimate(config)


@asynccontextmanager
async def open_autopilot(config: AutopilotConfig, gateway: Gateway) -> AsyncIterator[Rule]:
    from asahi_optimizer.modes import Autopilot

    yield Autopilot(config, gateway.standings.known)


@asynccontextmanager
async def open_guided(config: GuidedConfig, gateway: Gateway) -> AsyncIterator[Rule]:
    from asahi_optimizer.modes import Guided

    yield Guided(config, gateway.standings.known)
