"""The sink `prometheus`: counts settled requests in batches, off their path, and tells of all workers when scraped."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from asahi_kernel.background import repeated
from asahi_telemetry import gauges
from asahi_telemetry.counting import QUALITY, QUALITY_COUNT, Counting, count_faults
from asahi_telemetry.folder import Folder
from asahi_telemetry.tally import Gauge, Labels, Tally, encode, snapshot
from asahi_telemetry.text import render

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.records import Event
    from asahi_telemetry.config import PrometheusConfig

log = logging.getLogger(__name__)
_LOOK_S = 10.0
#: The loop's worst lag of so many rounds is told, or a short stall would be gone before the next scrape.
_ROUNDS = 60


class Metrics:
    """`write` only adds numbers. Once every interval the gauges are read, and with a folder all of it is shared."""

    def __init__(self, config: PrometheusConfig, gateway: Gateway, folder: Folder | None) -> None:
        self._gateway = gateway
        self._folder = folder
        self._interval_s = config.interval_s
        self._org_label = gateway.settings.observability.org_label
        self._tally = Tally()
        self._counting = Counting(self._tally, org_label=self._org_label)
        self._seen: dict[str, int] = {}
        self._slept_at = time.perf_counter()
        self._lags: deque[float] = deque(maxlen=_ROUNDS)
        self._looked: list[Gauge] = []
        self._look_at = 0.0
        self._shared = b""

    async def write(self, events: Sequence[Event]) -> None:
        for event in events:
            self._counting.count(event)

    async def exposition(self, *, openmetrics: bool) -> bytes:
        """All workers added up, this one as it is now."""
        count_faults(self._tally, self._gateway.faults, self._seen)
        own = [*await self._gauges(fresh=True)]
        whole, others = (Tally(), list[Gauge]()) if self._folder is None else await asyncio.to_thread(self._others)
        whole.merge(self._tally)
        now = added_up([*own, *others]) | derived(whole)
        return render(whole, now, openmetrics=openmetrics, org_label=self._org_label)

    async def tick(self) -> None:
        """Read the gauges, and tell the others."""
        late = time.perf_counter() - self._slept_at - self._interval_s
        self._lags.append(max(0.0, late * 1e3))
        if self._gateway.opened:
            count_faults(self._tally, self._gateway.faults, self._seen)
            await self._share(tuple(await self._gauges()))
        self._slept_at = time.perf_counter()

    async def end(self) -> None:
        """Leave what was counted to the others: gauges end with their worker."""
        count_faults(self._tally, self._gateway.faults, self._seen)
        try:
            await self._share(())
        except OSError as error:
            log.warning("the last counts could not be written (%s)", error.strerror)

    async def _share(self, now: tuple[Gauge, ...]) -> None:
        if self._folder is None:
            return
        told = encode(snapshot(self._tally, now))
        if told != self._shared:
            await asyncio.to_thread(self._folder.write, told)
            self._shared = told

    async def _gauges(self, *, fresh: bool = False) -> list[Gauge]:
        now = time.monotonic()
        if fresh or now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._looked = await gauges.look(self._gateway)
        lag = Gauge("asahi_event_loop_lag_ms", (), round(max(self._lags, default=0.0), 1), summed=False)
        return [*gauges.read(self._gateway), *self._looked, lag]

    def _others(self) -> tuple[Tally, list[Gauge]]:
        assert self._folder is not None
        told = self._folder.others()
        if self._folder.unreadable:
            self._gateway.faults["prometheus.unreadable"] += self._folder.unreadable
            self._folder.unreadable = 0
        return told


def added_up(told: Iterable[Gauge]) -> dict[tuple[str, Labels], float]:
    """The gauges of all workers as one."""
    whole: dict[tuple[str, Labels], float] = {}
    for each in told:
        key = each.name, each.labels
        if key not in whole:
            whole[key] = each.value
        else:
            whole[key] = whole[key] + each.value if each.summed else max(whole[key], each.value)
    return whole


def derived(whole: Tally) -> dict[tuple[str, Labels], float]:
    """What follows from the counters: the hit rate of each tier, and the mean quality of each model."""
    found: dict[tuple[str, Labels], float] = {}
    rates: dict[str, list[int]] = {}
    for at, name in enumerate(("asahi_cache_hits_total", "asahi_cache_misses_total")):
        for labels, (number,) in whole.series.get(name, {}).items():
            rates.setdefault(labels[0], [0, 0])[at] += number
    for tier, (hits, misses) in rates.items():
        found["asahi_cache_hit_rate", (tier,)] = hits / (hits + misses)
    counts = whole.series.get(QUALITY_COUNT, {})
    for labels, (milli,) in whole.series.get(QUALITY, {}).items():
        found["asahi_quality_score", labels] = milli / 1e3 / counts[labels][0]
    return found


@asynccontextmanager
async def opened(config: PrometheusConfig, gateway: Gateway) -> AsyncIterator[Metrics]:
    """The sink. A folder is shared where anything else outlives a process or is shared: not by one with memory only."""
    settings, folder = gateway.settings, None
    if settings.api.workers > 1 or gateway.storage.name != "memory":
        folder = Folder(Path(config.dir) if config.dir else Path(settings.journal.dir).parent / "metrics")
        await asyncio.to_thread(folder.open)
    metrics = Metrics(config, gateway, folder)
    try:
        async with repeated("sink.prometheus", metrics.tick, config.interval_s, gateway.faults):
            yield metrics
        await metrics.end()
    finally:
        if folder is not None:
            folder.close()
