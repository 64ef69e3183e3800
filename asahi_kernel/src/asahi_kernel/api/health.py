"""Health: three different questions for three different askers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

from litestar import Response, get
from msgspec import Struct

from asahi_kernel.api.access import PUBLIC
from asahi_kernel.tiers import GuardedTier

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway

VERSION = version("asahi-kernel")
_CACHED_S = 5.0


class Health(Struct, kw_only=True):
    """The deep view, for people and dashboards; probes use the other two."""

    status: str
    version: str
    profile: str
    uptime_seconds: float
    components: Mapping[str, str]
    cache_backend: str
    warnings: tuple[str, ...]


def health_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    cached: tuple[float, Health] | None = None

    @get("/health/live", opt={"permission": PUBLIC}, tags=["health"])
    async def live() -> dict[str, str]:
        """200 while the event loop turns; asks nobody."""
        return {"status": "live"}

    @get("/health/ready", opt={"permission": PUBLIC}, tags=["health"])
    async def ready() -> Response[dict[str, str]]:
        """200 when requests may come. Providers and caches are never part of it."""
        state = "draining" if gateway.draining else "ready" if gateway.opened else "starting"
        return Response({"status": state}, status_code=200 if state == "ready" else 503)

    @get("/health", opt={"permission": PUBLIC}, tags=["health"])
    async def deep() -> Response[Health]:
        """Every component as real traffic and a cached probe show it."""
        nonlocal cached
        if cached is None or time.monotonic() - cached[0] > _CACHED_S or gateway.draining:
            cached = time.monotonic(), await examine(gateway)
        return Response(cached[1], status_code=503 if gateway.draining else 200)

    return [live, ready, deep]


async def examine(gateway: Gateway) -> Health:
    """Look at every component once."""
    components = {gateway.storage.name: await _storage(gateway)}
    behind = gateway.journal.lag > 10_000 or gateway.journal.failing
    components["journal"] = "degraded" if behind else "healthy"
    components |= {f"cache.{name}": _tier(gateway, name) for name in gateway.tiers}
    components |= {name: upstream.health() for name, upstream in gateway.upstreams.items()}
    bad = {"unreachable", "degraded", "resting"}
    status = "degraded" if bad & set(components.values()) else "healthy"
    return Health(
        status="draining" if gateway.draining else status,
        version=VERSION,
        profile=gateway.settings.profile,
        uptime_seconds=round(time.monotonic() - gateway.started, 1),
        components=components,
        cache_backend=", ".join(gateway.tiers) or "none",
        warnings=tuple(warnings(gateway)),
    )


def warnings(gateway: Gateway) -> list[str]:
    """What an operator should know although nothing is broken."""
    found = []
    if gateway.mock:
        found.append("answers come from the mock provider: no provider is configured")
    if gateway.storage.name == "memory":
        found.append("storage is memory: events and totals end with the process")
    if gateway.journal.mode == "memory":
        found.append("the journal is in memory: a crash loses the events of the last moments")
    elif gateway.journal.mode == "async":
        found.append("the journal is async: a power cut loses up to 100 ms of charges")
    if gateway.faults["dead_letters"]:
        found.append(f"{gateway.faults['dead_letters']} events are dead letters: storage could not take them")
    if not gateway.vault.configured and gateway.storage.name != "memory":
        found.append("the encryption key was made on this host: set ASAHI_ENCRYPTION_KEY before there is a second one")
    return [*found, *gateway.cautions]


def _tier(gateway: Gateway, name: str) -> str:
    tier = gateway.tiers[name]
    resting = isinstance(tier, GuardedTier) and tier.resting
    return "degraded" if resting or gateway.tier_breakers[name].open else "healthy"


async def _storage(gateway: Gateway) -> str:
    try:
        async with asyncio.timeout(1):
            await gateway.storage.ping()
    except Exception:  # noqa: BLE001 - that it fails is the finding
        return "unreachable"
    return "healthy"
