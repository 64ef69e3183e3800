"""Applying: settled requests go from the journal to storage in batches, and then to the sinks."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress

from asahi_kernel import clock
from asahi_kernel.errors import Unstorable
from asahi_kernel.journal.books import BookShelf
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
#: So many rows refused without one taken, and it is not the rows.
_PATIENT = 16


class _Sieve:
    """What a batch was sorted into: whether any row was `taken`, and the rows that were refused."""

    def __init__(self) -> None:
        self.taken = False
        self.refused: list[tuple[Settled, Exception]] = []

    @property
    def certain(self) -> bool:
        """Whether storage said of each that it can never take it."""
        return all(isinstance(error, Unstorable) for _, error in self.refused)


class Applier:
    """A dead storage is asked again until it takes a batch. A row that a living one cannot take becomes a dead letter,
    and a failing sink loses its batch."""

    def __init__(
        self,
        storage: Storage,
        sinks: Mapping[str, Sink],
        faults: Counter[str],
        bury: Callable[[Sequence[DeadLetter]], None],
        shelf: BookShelf | None = None,
    ) -> None:
        self.storage = storage
        self._sinks = sinks
        self._faults = faults
        self._bury = bury
        self._shelf = shelf
        self._book: Book | None = None
        self._unsaved = True
        self._refusals = self._new = 0
        self._telling: set[asyncio.Task[None]] = set()

    def price(self, book: Book) -> None:
        """The prices in force from now on: storage has them before anything that was charged by them, also when a
        later process brings it there."""
        self._book = book
        if self._shelf is not None:
            try:
                self._shelf.put(book)
            except OSError as error:
                self._faults["journal.book"] += 1
                log.error("the price book cannot be kept beside the journal (%s)", error.strerror)

    async def apply(self, batch: Sequence[Settled]) -> bool:
        """Whether storage now holds the whole batch, or dead letters in its place."""
        return await self._applied(batch, again=False)

    async def apply_again(self, batch: Sequence[Settled]) -> bool:
        """The same for what a dead process may have applied before: sinks are told only of what storage did not have,
        or they would count it twice. It may have had other prices."""
        self._unsaved = True
        return await self._applied(batch, again=True)

    async def _applied(self, batch: Sequence[Settled], *, again: bool) -> bool:
        self._new = 0
        if not await self._whole(batch):
            return False
        self._refusals = 0
        events = _last([each.event for each in batch], self._new) if again else [each.event for each in batch]
        if self._sinks and events:
            self._run(self._tell(events))
        return True

    async def close(self) -> None:
        """Give the sinks a last moment."""
        if self._telling:
            await asyncio.wait(self._telling, timeout=_LAST_S)
            for task in tuple(self._telling):
                task.cancel()

    async def _whole(self, batch: Sequence[Settled]) -> bool:
        error = await self._refusal(batch)
        if error is None:
            return True
        if not isinstance(error, Unstorable) and self._refusals < _STUBBORN:
            return False
        sieve = _Sieve()
        return await self._sift(batch, error, sieve) and await self._set_apart(sieve)

    async def _refusal(self, batch: Sequence[Settled]) -> Exception | None:
        """Why storage did not take the batch, or None."""
        try:
            async with asyncio.timeout(_SAVE_S):
                await self._save_prices()
                self._new += await self.storage.books.post(batch)
        except Unstorable as error:
            return error
        except Exception as error:  # noqa: BLE001 - a dead storage must not stop inference; the batch is kept and retried
            self._faults["storage"] += 1
            log.warning("storage refused a batch of %d events (%s)", len(batch), type(error).__name__)
            self._refusals = self._refusals + 1 if await self._alive() else 0
            return error
        return None

    async def _sift(self, batch: Sequence[Settled], error: Exception, sieve: _Sieve) -> bool:
        """Find the rows at fault by halving; all others are stored. False when storage died, or takes nothing at all:
        then no row is at fault."""
        if len(batch) == 1:
            sieve.refused.append((batch[0], error))
            return sieve.taken or sieve.certain or len(sieve.refused) < _PATIENT
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            failure = await self._refusal(half)
            if failure is None:
                sieve.taken = True
            elif (not isinstance(failure, Unstorable) and self._refusals < _STUBBORN) or not await self._sift(
                half, failure, sieve
            ):
                return False
        return True

    async def _set_apart(self, sieve: _Sieve) -> bool:
        """A row that storage itself calls unstorable goes to a file if need be. One that is only suspected goes where
        storage takes it, and beside rows that it took, or not at all."""
        if not sieve.certain and not sieve.taken:
            return False
        letters = [_letter(settled, error) for settled, error in sieve.refused]
        try:
            async with asyncio.timeout(_SAVE_S):
                await self.storage.dead_letters.save(letters)
        except Exception as failure:  # noqa: BLE001 - then they go to a file of their own
            log.warning("storage takes no dead letter either (%s)", type(failure).__name__)
            if not sieve.certain:
                return False
            try:
                self._bury(letters)
            except OSError as full:
                log.error("a dead letter finds no place (%s); it is tried again", full.strerror)
                return False
        for settled, _ in sieve.refused:
            self._faults["dead_letters"] += 1
            log.error("storage cannot take the event of request %s; it is a dead letter", settled.event.request_id)
        return True

    async def _save_prices(self) -> None:
        if not self._unsaved:
            return
        if self._book is not None:
            await self.storage.prices.save(self._book)
        for path, book in self._shelf.books() if self._shelf is not None else ():
            await self.storage.prices.save(book)
            with suppress(OSError):
                path.unlink()
        self._unsaved = False

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


def _last(events: Sequence[Event], new: int) -> Sequence[Event]:
    """Those that storage had not: requests are applied in the order they were settled in, and whose outcome nobody
    heard not at all before."""
    ordered = sorted(events, key=lambda each: each.status == "unknown")
    return ordered[len(ordered) - new :]


def _letter(settled: Settled, error: Exception) -> DeadLetter:
    return DeadLetter(source="journal", payload=_told(settled), error=type(error).__name__, timestamp=clock.now())


def _told(settled: Settled) -> bytes:
    """A request as the journal has it; one that not even the journal can hold, such as a lone surrogate, as text."""
    try:
        return encode(Closed(settled))
    except (UnicodeEncodeError, OverflowError):
        return repr(settled).encode("utf-8", "backslashreplace")
