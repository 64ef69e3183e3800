"""Gauges: how this worker does now, read when it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

from asahi_kernel.asking import note_fault
from asahi_kernel.exposing import SizedTier
from asahi_kernel.resilience.breaker import Breaker
from asahi_telemetry.tally import Gauge

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

_VERSION = version("asahi-kernel")
_LOOK_S = 1.0


def read(gateway: Gateway) -> Iterator[Gauge]:
    """What can be read at once."""
    journal, admission = gateway.journal, gateway.admission
    yield Gauge("asahi_workers", (), 1)
    yield Gauge("asahi_inflight", (), admission.inflight)
    yield Gauge("asahi_queue_depth", (), admission.queued)
    yield Gauge("asahi_journal_bytes", (), journal.size)
    yield Gauge("asahi_journal_pending", (), journal.lag)
    yield Gauge("asahi_journal_lag_seconds", (), round(journal.behind_s, 3), summed=False)
    yield Gauge("asahi_build_info", (_VERSION, gateway.settings.profile), 1, summed=False)
    for upstream in gateway.upstreams.values():
        for outlet in upstream.outlets:
            state = 0.0 if outlet.available() and not outlet.breaker.open else 1.0 if outlet.available() else 2.0
            yield Gauge("asahi_breaker_state", (outlet.name,), state, summed=False)
    for name, breaker in gateway.tier_breakers.items():
        yield Gauge("asahi_breaker_state", (f"cache.{name}",), _state(breaker), summed=False)


async def look(gateway: Gateway) -> list[Gauge]:
    """What takes a while to find out."""
    found = []
    for name, tier in gateway.tiers.items():
        if isinstance(tier, SizedTier):
            entries, size = tier.held()
            labels = (str(getattr(tier, "tier", name)),)
            found += [Gauge("asahi_cache_entries", labels, entries), Gauge("asahi_cache_bytes", labels, size)]
    try:
        async with asyncio.timeout(_LOOK_S):
            stored = await gateway.storage.dead_letters.count()
    except Exception:  # noqa: BLE001 - a metric that nobody can tell is left out
        note_fault(gateway, "prometheus", "storage")
        return found
    return [*found, Gauge("asahi_dead_letters", (), stored + len(gateway.journal.dead_letters), summed=False)]


def _state(breaker: Breaker) -> float:
    if not breaker.open:
        return 0.0
    return 1.0 if breaker.available() else 2.0
