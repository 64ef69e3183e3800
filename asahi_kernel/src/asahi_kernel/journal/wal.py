"""The write-ahead log: many requests' records in one write and one sync (group commit), in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from asahi_kernel.errors import ConfigError, Unavailable
from asahi_kernel.journal.frames import frame
from asahi_kernel.journal.segment import Segment, sync_folder
from asahi_kernel.lines import CHANGE

log = logging.getLogger(__name__)
T = TypeVar("T")

#: A file whose records storage all holds is exchanged for a new one from this size on.
_SPENT = 1 << 20
_RETRY_S = 0.5
_ASYNC_S = 0.05
#: How long a request waits for a disk that does not take its record.
PATIENCE_S = 5.0


class Ticket:
    """A record on its way to the disk. `segment` is None until it is there."""

    __slots__ = ("data", "segment", "waiter")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.segment: Segment | None = None
        self.waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Whoever waits may go on."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Wal:
    """`put` never waits; `settled` waits until a record is on the disk.

    A failed write or sync ends its segment: a new file is opened and what was not yet on the disk is written again from
    memory. The old descriptor is never trusted again (Rebello et al., USENIX ATC 2020).
    """

    def __init__(self, folder: Path, segment_bytes: int, faults: Counter[str], *, durable: bool = True) -> None:
        self.owner = secrets.token_hex(8)
        self.folder = folder
        self.durable = durable
        self.failing = False
        self._limit = segment_bytes
        self._faults = faults
        self._count = 0
        self._queue: deque[Ticket] = deque()
        self._full: list[Segment] = []
        self._current: Segment | None = None
        self._thread = ThreadPoolExecutor(1, "journal")
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the folder and the first file; raises `ConfigError` where that cannot be."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._current = await self._run(self._fresh)
        except OSError as error:
            raise ConfigError(f"journal.dir: cannot write to {self.folder}: {error.strerror}") from error
        self._task = asyncio.get_running_loop().create_task(self._pump())

    @property
    def size(self) -> int:
        """Bytes that storage does not hold yet, at most."""
        return sum(each.size for each in [*self._full, self._current] if each is not None)

    @property
    def strained(self) -> bool:
        """Whether the disk takes nothing now, or has no further room."""
        return self.failing or (self._current is not None and self._current.tight)

    def admit(self) -> None:
        """Refuse a call that could not be accounted for: the disk is full, or fails."""
        if self.strained:
            raise Unavailable(
                "the journal cannot be written, so nothing can be paid for; cached answers are still served",
                code="storage_unavailable",
                retry_after=5,
            )

    def put(self, payload: bytes) -> Ticket:
        """Take a record for the disk."""
        ticket = Ticket(frame(payload))
        self._queue.append(ticket)
        self._wake.set()
        return ticket

    async def settled(self, ticket: Ticket) -> None:
        """Wait for the disk; raises `Unavailable` when it takes too long. The record stays in line all the same."""
        if not self.durable or ticket.segment is not None:
            return
        if ticket.waiter is None:
            ticket.waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.shield(ticket.waiter)
        except TimeoutError:
            self.failing = True
            self.admit()

    def release(self, ticket: Ticket) -> None:
        """Storage holds the record: its file may go."""
        segment = ticket.segment
        if segment is None:  # storage was faster than the disk
            if ticket in self._queue:
                self._queue.remove(ticket)
            ticket.wake()
            return
        segment.outstanding -= 1
        if not segment.outstanding:
            self._sweep()

    async def turn(self) -> None:
        """Go on in a new file; the old one goes once storage holds its records. A disk without room keeps the old."""
        if self._current is None or not self._current.size:
            return
        try:
            await self._run(self._rotate)
        except OSError:
            return
        self._sweep()

    async def close(self) -> None:
        """Write what is left; files whose records storage holds are removed, the others stay for the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            await self._run(_nothing)  # what the thread was doing is done
        if self._queue:
            await self._commit(list(self._queue))
        for segment in [*self._full, self._current]:
            if segment is not None:
                segment.close() if segment.outstanding else segment.remove()
        self._thread.shutdown()

    async def _pump(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_RETRY_S if self.strained else None):
                    await self._wake.wait()
            except TimeoutError:
                await self._relieve()
            self._wake.clear()
            if not self.durable:
                await asyncio.sleep(_ASYNC_S)
            await self._drain()

    async def _drain(self) -> None:
        while self._queue:
            if not await self._commit(list(self._queue)):
                await asyncio.sleep(_RETRY_S)

    async def _relieve(self) -> None:
        """Look whether there is room again, or for a new file where the last one broke and none could be made."""
        if self._current is None:
            try:
                await self._run(self._rotate)
            except OSError:
                return
        if self._current is not None:
            await self._run(self._current.stretch)
            self.failing = self._current.tight

    async def _commit(self, batch: Sequence[Ticket]) -> bool:
        try:
            segment = await self._run(self._write, b"".join([ticket.data for ticket in batch]))
        except OSError as error:
            self._faults["journal"] += 1
            if not self.failing:
                why = "the journal cannot be written (%s); nothing is paid for until it can"
                log.error(why, error.strerror, extra=CHANGE)
            self.failing = True
            return False
        if self.failing:
            log.warning("the journal can be written again", extra=CHANGE)
        self.failing = False
        for ticket in batch:
            self._landed(ticket, segment)
        self._sweep()
        return True

    def _sweep(self) -> None:
        """Remove the files that are no longer written and whose records storage holds."""
        for segment in [each for each in self._full if not each.outstanding]:
            self._full.remove(segment)
            segment.remove()

    def _landed(self, ticket: Ticket, segment: Segment) -> None:
        if self._queue and self._queue[0] is ticket:
            self._queue.popleft()
        else:  # released while it was being written
            return
        ticket.segment = segment
        ticket.data = b""
        segment.outstanding += 1
        ticket.wake()

    def _write(self, data: bytes) -> Segment:
        """In the thread: to the current file, or to a new one when that is full, spent or broken."""
        current = self._current
        if current is None or current.size > self._limit or (current.size > _SPENT and not current.outstanding):
            current = self._rotate()
        try:
            current.write(data)
        except OSError:
            self._rotate().write(data)
            assert self._current is not None
            return self._current
        return current

    def _rotate(self) -> Segment:
        old, self._current = self._current, None
        if old is not None:
            self._full.append(old)
        self._current = self._fresh()
        return self._current

    def _fresh(self) -> Segment:
        self._count += 1
        segment = Segment(self.folder / f"{self.owner}-{self._count:08d}.wal")
        sync_folder(self.folder)
        return segment

    async def _run(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)


def _nothing() -> None:
    pass
