"""The journal: takes every settled request at once, and applies it to storage and sinks in batches off the path.

This first journal lives in memory: what is pending when the process is killed is lost, and `/health` says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from asahi_kernel.protocols import Sink, Storage
from asahi_kernel.records import Decision, Event

log = logging.getLogger(__name__)

_BATCH_S = 0.01
_RETRY_S = 1.0
_BATCH = 5_000


class Journal:
    """`add` never waits and never fails. Storage is retried until it takes a batch; a failing sink loses that batch."""

    durable = False

    def __init__(self, storage: Storage, sinks: Mapping[str, Sink], faults: Counter[str]) -> None:
        self._storage = storage
        self._sinks = sinks
        self._faults = faults
        self._pending: list[tuple[Event, Decision]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def lag(self) -> int:
        """Records not yet in storage."""
        return len(self._pending)

    def add(self, event: Event, decision: Decision) -> None:
        """Record one settled request."""
        self._pending.append((event, decision))
        self._schedule(_BATCH_S)

    async def flush(self) -> None:
        """Apply everything that is pending now, or as much as storage takes."""
        async with self._writing:
            while self._pending:
                batch = self._pending[:_BATCH]
                if not await self._save(batch):
                    self._schedule(_RETRY_S)
                    return
                del self._pending[: len(batch)]
                await self._tell([event for event, _ in batch])

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self.flush()
        if self._pending:
            log.error("%d events could not be stored before the end", len(self._pending))

    def _schedule(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._start)

    def _start(self) -> None:
        self._timer = None
        task = asyncio.get_running_loop().create_task(self.flush())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _save(self, batch: Sequence[tuple[Event, Decision]]) -> bool:
        try:
            await self._storage.events.save([event for event, _ in batch])
            await self._storage.decisions.save([decision for _, decision in batch])
        except Exception:
            self._faults["storage"] += 1
            log.warning("storage refused a batch of %d events; it is kept and tried again", len(batch), exc_info=True)
            return False
        return True

    async def _tell(self, events: Sequence[Event]) -> None:
        for name, sink in self._sinks.items():
            try:
                await sink.write(events)
            except Exception:
                self._faults[f"sink.{name}"] += 1
                log.warning("sink %s lost %d events", name, len(events), exc_info=True)
