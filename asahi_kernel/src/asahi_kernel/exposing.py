"""What a sink or a tier may be able to do beyond its work: tell how the whole gateway does, for Prometheus. Each is a
protocol of its own, looked for once while the gateway opens."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class ExposingSink(Protocol):
    """A sink that can write what it counted in Prometheus' text form, over all workers; `openmetrics` asks for
    OpenMetrics 1.0 instead of 0.0.4. Asked for each scrape."""

    async def exposition(self, *, openmetrics: bool) -> bytes: ...


@runtime_checkable
class SizedTier(Protocol):
    """A tier that knows at once how many entries and bytes this process holds, of all orgs together."""

    def held(self) -> tuple[int, int]: ...
