"""Applying: settled requests go from the journal to storage in batches, and then to the sinks."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime

from asahi_kernel.errors import Unstorable
from asahi_kernel.journal.entries import Closed, encode
from asahi_kernel.ledger import Book
from asahi_kernel.protocols import Sink, Storage
from asahi_kernel.records import DeadLetter, Event, Settled

log = logging.getLogger(__name__)

_SAVE_S = 30.0
_TELL_S = 10.0
_LAST_S = 1.0
#: A living storage that refused the same batch so often without a word about its rows has a row that it cannot take.
_STUBBORN = 5


class Applier:
    """A dead storage is asked again until it takes a batch. A row that a living one cannot take becomes a dead letter,
    and a failing sink loses its batch."""

    def __init__(
        self,
        storage: Storage,
        sinks: Mapping[str, Sink],
        faults: Counter[str],
        bury: Callable[[Sequence[DeadLetter]], None],
    ) -> None:
        self.storage = storage
        self._sinks = sinks
        self._faults = faults
        self._bury = bury
        self._book: Book | None = None
        self._refusals = 0
        self._telling: set[asyncio.Task[None]] = set()

    def price(self, book: Book) -> None:
        """The prices in force from now on: storage has them before anything that was charged by them."""
        self._book = book

    async def apply(self, batch: Sequence[Settled]) -> bool:
        """Whether storage now holds the whole batch, or dead letters in its place."""
        if not await self._whole(batch):
            return False
        self._refusals = 0
        if self._sinks:
            self._run(self._tell([each.event for each in batch]))
        return True

    async def close(self) -> None:
        """Give the sinks a last moment."""
        if self._telling:
            await asyncio.wait(self._telling, timeout=_LAST_S)
            for task in tuple(self._telling):
                task.cancel()

    async def _whole(self, batch: Sequence[Settled]) -> bool:
        try:
            async with asyncio.timeout(_SAVE_S):
                await self._save_prices()
                await self.storage.books.post(batch)
        except Unstorable as error:
            return await self._halved(batch, error)
        except Exception as error:  # noqa: BLE001 - a dead storage must not stop inference; the batch is kept and retried
            self._faults["storage"] += 1
            log.warning("storage refused a batch of %d events (%s)", len(batch), type(error).__name__)
            self._refusals += await self._alive()
            return self._refusals >= _STUBBORN and await self._halved(batch, error)
        return True

    async def _halved(self, batch: Sequence[Settled], error: Exception) -> bool:
        """Find the rows at fault by halving; all others are stored."""
        if len(batch) == 1:
            return await self._set_apart(batch[0], error)
        middle = len(batch) // 2
        return await self._whole(batch[:middle]) and await self._whole(batch[middle:])

    async def _set_apart(self, settled: Settled, error: Exception) -> bool:
        self._faults["dead_letters"] += 1
        log.error("storage cannot take the event of request %s; it is a dead letter", settled.event.request_id)
        letter = DeadLetter(
            source="journal",
            payload=_told(settled),
            error=type(error).__name__,
            timestamp=datetime.now(UTC),
        )
        try:
            async with asyncio.timeout(_SAVE_S):
                await self.storage.dead_letters.save([letter])
        except Exception as failure:  # noqa: BLE001 - then they go to a file of their own
            log.warning("storage takes no dead letter either (%s)", type(failure).__name__)
            self._bury([letter])
        return True

    async def _save_prices(self) -> None:
        if self._book is not None:
            await self.storage.prices.save(self._book)
            self._book = None

    async def _alive(self) -> bool:
        try:
            async with asyncio.timeout(_SAVE_S):
                await self.storage.ping()
        except Exception:  # noqa: BLE001 - that it fails is the finding
            return False
        return True

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, events: Sequence[Event]) -> None:
        for name, sink in self._sinks.items():
            try:
                async with asyncio.timeout(_TELL_S):
                    await sink.write(events)
            except Exception as error:  # noqa: BLE001 - sinks fail open
                self._faults[f"sink.{name}"] += 1
                log.warning("sink %s lost %d events (%s)", name, len(events), type(error).__name__)


def _told(settled: Settled) -> bytes:
    """A request as the journal has it; one that not even the journal can hold, such as a lone surrogate, as text."""
    try:
        return encode(Closed(settled))
    except (UnicodeEncodeError, OverflowError):
        return repr(settled).encode("utf-8", "backslashreplace")
