"""The journal: takes every settled request at once, has paid ones on the disk before their answers are out, and applies
all of them to storage and sinks in batches off the path."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextvars import Context
from pathlib import Path

import msgspec

from asahi_kernel import clock
from asahi_kernel.journal.applying import Applier
from asahi_kernel.journal.books import BookShelf
from asahi_kernel.journal.entries import Closed, Intent, encode
from asahi_kernel.journal.frames import frame
from asahi_kernel.journal.recovery import recover
from asahi_kernel.journal.wal import Ticket, Wal
from asahi_kernel.ledger import Book
from asahi_kernel.protocols import Sink, Storage
from asahi_kernel.records import DeadLetter, Settled
from asahi_kernel.settings import Journal as JournalSettings

log = logging.getLogger(__name__)

_BATCH_S = 0.01
_RETRY_S = 1.0
_ADOPT_S = 10.0
_CATCH_UP_S = 3.0
_BATCH = 2_000
_DEAD_LETTERS = 1_000


class Receipt:
    """One request in the journal: its settlement, and its records that must stay until storage has it."""

    __slots__ = ("settled", "tickets")

    def __init__(self) -> None:
        self.settled: Settled | None = None
        self.tickets: list[Ticket] = []


class Journal:
    """`add` never waits and never fails; `intend` and `kept` wait for the disk where the mode says so."""

    def __init__(
        self, storage: Storage, sinks: Mapping[str, Sink], faults: Counter[str], settings: JournalSettings
    ) -> None:
        mode = settings.mode or ("memory" if storage.name == "memory" else "durable")
        self.mode = mode
        self._folder = Path(settings.dir)
        self._wal: Wal | None = None
        if mode != "memory":
            self._wal = Wal(self._folder, settings.segment_bytes, faults, durable=mode == "durable")
        shelf = BookShelf(self._folder) if self._wal is not None else None
        self._applier = Applier(storage, sinks, faults, self._bury, shelf)
        self._pending: deque[Receipt] = deque()
        self._applying = asyncio.Lock()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.dead_letters: deque[DeadLetter] = deque(maxlen=_DEAD_LETTERS)
        self.recovered = 0
        self._catching: asyncio.Task[None] | None = None

    @property
    def durable(self) -> bool:
        """Whether a paid answer is on the disk before its last byte is out."""
        return self._wal is not None and self._wal.durable

    @property
    def lag(self) -> int:
        """Settled requests not yet in storage."""
        return len(self._pending)

    @property
    def behind_s(self) -> float:
        """Seconds since the oldest request that is not yet in storage was settled."""
        oldest = self._pending[0].settled if self._pending else None
        if oldest is None:
            return 0.0
        ended = oldest.event.timestamp.timestamp() + oldest.event.latency_ms / 1e3
        return max(0.0, clock.timestamp() - ended)

    @property
    def size(self) -> int:
        """Bytes on the disk that storage does not hold yet, at most."""
        return 0 if self._wal is None else self._wal.size

    @property
    def failing(self) -> bool:
        """Whether the disk takes nothing now."""
        return self._wal is not None and self._wal.strained

    async def open(self, book: Book) -> None:
        """Begin; `book` holds the prices in force. What dead processes left is taken over in the background."""
        loop = asyncio.get_running_loop()
        if self._wal is not None:
            await self._wal.open()
        self._applier.price(book)
        if self._wal is not None:
            self._tasks.append(loop.create_task(self._adopt()))
        self._tasks.append(loop.create_task(self._work()))

    async def close(self) -> None:
        """Apply what storage takes; what it does not take stays on the disk for the next start."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.flush()
        await self._applier.close()
        if self._pending:
            where = "stay in the journal" if self._wal is not None else "are lost"
            log.error("%d events could not be stored before the end; they %s", len(self._pending), where)
        if self._wal is not None:
            await self._wal.close()

    def admit(self) -> None:
        """Refuse what could not be accounted for, before anything is paid; raises `Unavailable`."""
        if self._wal is not None:
            self._wal.admit()

    async def intend(self, receipt: Receipt, unsettled: Settled) -> None:
        """Have on the disk that a call is about to be paid for; `unsettled` is what it comes to if we die now."""
        if self._wal is not None:
            self._wal.admit()
            ticket = self._wal.put(encode(Intent(unsettled)))
            receipt.tickets.append(ticket)
            await self._wal.settled(ticket)

    def add(self, receipt: Receipt, settled: Settled) -> None:
        """Record one settled request. One that no file can hold goes to storage all the same, and to its dead
        letters."""
        receipt.settled = settled
        self._pending.append(receipt)
        if self._wal is not None:
            try:
                receipt.tickets.append(self._wal.put(encode(Closed(settled))))
            except (UnicodeEncodeError, OverflowError):
                log.error("request %s cannot be written to the journal", settled.event.request_id)
        self._wake.set()

    async def kept(self, receipt: Receipt) -> None:
        """Wait until the settlement is on the disk: the answer may go out."""
        if self._wal is not None and receipt.tickets:
            await self._wal.settled(receipt.tickets[-1])

    async def flush(self) -> None:
        """Apply everything that is pending now, or as much as storage takes."""
        async with self._applying:
            while self._pending:
                batch = [self._pending[at] for at in range(min(_BATCH, len(self._pending)))]
                if not await self._applier.apply([each.settled for each in batch if each.settled is not None]):
                    return
                for receipt in batch:
                    self._pending.popleft()
                    self._release(receipt)

    async def catch_up(self) -> None:
        """Let what was settled until now reach storage, for three seconds at most."""
        if self._pending:
            if self._catching is None or self._catching.done():
                self._catching = asyncio.get_running_loop().create_task(self.flush(), context=Context())
            await asyncio.wait({self._catching}, timeout=_CATCH_UP_S)

    async def retire(self) -> None:
        """Begin a new file, so that the records which storage holds leave the disk now and not when a file is full."""
        await self.flush()
        if self._wal is not None:
            await self._wal.turn()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_BATCH_S)
            self._wake.clear()
            await self.flush()
            if self._pending:
                await asyncio.sleep(_RETRY_S)
                self._wake.set()

    async def _adopt(self) -> None:
        while True:
            try:
                async with self._applying:
                    self.recovered += await recover(self._folder, self._applier.apply_again)
            except OSError as error:
                log.error("the journal of a dead process cannot be read (%s)", error.strerror)
            await asyncio.sleep(_ADOPT_S)

    def _release(self, receipt: Receipt) -> None:
        if self._wal is not None:
            for ticket in receipt.tickets:
                self._wal.release(ticket)

    def _bury(self, letters: Sequence[DeadLetter]) -> None:
        """The last resort for rows that storage takes neither as events nor as dead letters; may raise `OSError`."""
        if self._wal is not None:
            with (self._folder / "dead-letters").open("ab") as file:
                file.writelines(frame(msgspec.msgpack.encode(letter)) for letter in letters)
                file.flush()
                os.fsync(file.fileno())
        self.dead_letters.extend(letters)
