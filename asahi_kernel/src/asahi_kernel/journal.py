"""The journal: takes every settled request at once, and applies it to storage and sinks in batches off the path.

This first journal lives in memory: what is pending when the process is killed is lost, and `/health` says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Coroutine, Mapping, Sequence

from asahi_kernel.protocols import Sink, Storage
from asahi_kernel.records import Event, Settled

log = logging.getLogger(__name__)

_BATCH_S = 0.01
_RETRY_S = 1.0
_BATCH = 5_000
_SAVE_S = 10.0
_TELL_S = 10.0
_LAST_S = 1.0
_DEAD_LETTERS = 1_000


class Journal:
    """`add` never waits and never fails. A dead storage is retried until it takes a batch, a row that a
    living one cannot take is set apart, and a failing sink loses its batch."""

    durable = False

    def __init__(self, storage: Storage, sinks: Mapping[str, Sink], faults: Counter[str]) -> None:
        self._storage = storage
        self._sinks = sinks
        self._faults = faults
        self._pending: list[Settled] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.dead_letters: deque[Event] = deque(maxlen=_DEAD_LETTERS)

    @property
    def lag(self) -> int:
        """Records not yet in storage."""
        return len(self._pending)

    def add(self, settled: Settled) -> None:
        """Record one settled request."""
        self._pending.append(settled)
        self._schedule(_BATCH_S)

    async def flush(self) -> None:
        """Apply everything that is pending now, or as much as storage takes. Sinks are told afterwards, apart."""
        async with self._writing:
            while self._pending:
                batch = self._pending[:_BATCH]
                if not await self._apply(batch):
                    self._schedule(_RETRY_S)
                    return
                del self._pending[: len(batch)]
                if self._sinks:
                    self._run(self._tell([each.event for each in batch]))

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self.flush()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_S)
            for task in tuple(self._tasks):
                task.cancel()
        if self._pending:
            log.error("%d events could not be stored before the end", len(self._pending))

    def _schedule(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._start)

    def _start(self) -> None:
        self._timer = None
        self._run(self.flush())

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _apply(self, batch: Sequence[Settled]) -> bool:
        """Save a batch. A storage that takes some rows of it and not others has rows that it cannot take: those are set
        apart. One that takes none is tried again."""
        refused = await self._refused(batch)
        if len(refused) == len(batch):
            return False
        for each in refused:
            self._faults["dead_letters"] += 1
            self.dead_letters.append(each.event)
            log.error("storage cannot take the event of request %s; it is set apart", each.event.request_id)
        return True

    async def _refused(self, batch: Sequence[Settled]) -> list[Settled]:
        """The rows of a batch that storage did not take, found by halving."""
        if await self._save(batch):
            return []
        if len(batch) == 1 or not await self._alive():
            return list(batch)
        middle = len(batch) // 2
        return [*await self._refused(batch[:middle]), *await self._refused(batch[middle:])]

    async def _alive(self) -> bool:
        try:
            async with asyncio.timeout(_SAVE_S):
                await self._storage.ping()
        except Exception:  # noqa: BLE001 - that it fails is the finding
            return False
        return True

    async def _save(self, batch: Sequence[Settled]) -> bool:
        try:
            async with asyncio.timeout(_SAVE_S):
                await self._storage.books.post(batch)
        except Exception as error:  # noqa: BLE001 - a dead storage must not stop inference; the batch is kept and retried
            self._faults["storage"] += 1
            log.warning("storage refused a batch of %d events (%s)", len(batch), type(error).__name__)
            return False
        return True

    async def _tell(self, events: Sequence[Event]) -> None:
        for name, sink in self._sinks.items():
            try:
                async with asyncio.timeout(_TELL_S):
                    await sink.write(events)
            except Exception as error:  # noqa: BLE001 - sinks fail open
                self._faults[f"sink.{name}"] += 1
                log.warning("sink %s lost %d events (%s)", name, len(events), type(error).__name__)
