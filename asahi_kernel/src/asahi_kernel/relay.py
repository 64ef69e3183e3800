"""A relay: hands a stream from the task that owns the upstream to the client, and outlives the client."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from asahi_kernel.answer import Answer, StreamItem
from asahi_kernel.screening import Screen
from asahi_kernel.types import Choice, Chunk, Completion, ToolCallDelta

#: Delivered in place of a chunk when nothing has come for a while.
SILENCE = Chunk()
_LIMIT = 64
_PIECE = 48


class Relay:
    """One producer, one consumer. The producer may wait for a slow client; once the client has left, nothing waits.

    `started` is true from the first delivered byte on: after it nothing may be retried or spliced.
    """

    def __init__(self) -> None:
        self._items: deque[StreamItem] = deque()
        self._failure: BaseException | None = None
        self._ended = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self.started = False
        self.abandoned = False
        self.on_abandon: Callable[[], None] | None = None
        self.screen: Screen | None = None

    @property
    def full(self) -> bool:
        """Whether the client has so much unread that the producer should wait for `drained`."""
        return len(self._items) >= _LIMIT

    def put(self, chunk: Chunk) -> None:
        """Deliver a chunk, or what the screen lets through of it."""
        if self.screen is None:
            self._deliver(chunk)
            return
        for each in self.screen.pass_on(chunk):
            self._deliver(each)

    def _deliver(self, chunk: Chunk) -> None:
        self.started = True
        if not self.abandoned:
            self._items.append(chunk)
            self._wake_reader()

    def break_silence(self) -> None:
        """Nothing has come for a while: give the reader something to say so, unless there is something to read."""
        if not (self._items or self._ended or self.abandoned):
            self._items.append(SILENCE)
            self._wake_reader()

    async def drained(self) -> None:
        """Wait until the client has read everything, or left."""
        if self._items:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    def replay(self, completion: Completion) -> None:
        """Deliver a whole completion, every choice of it, as a stream of a few words each."""
        self._replay(0, completion)
        for index, choice in enumerate(completion.others, 1):
            self._replay(index, choice)

    def _replay(self, index: int, choice: Completion | Choice) -> None:
        """What is not text comes first, as thinking does."""
        if choice.message:
            self.put(Chunk(index=index, delta=choice.message))
        for start in range(0, len(choice.text), _PIECE):
            self.put(Chunk(index=index, text=choice.text[start : start + _PIECE]))
        for at, call in enumerate(choice.tool_calls):
            delta = ToolCallDelta(
                index=at, id=call.id, name=call.name, arguments=call.arguments, type=call.type, extra=call.extra
            )
            self.put(Chunk(index=index, tool_calls=(delta,)))
        self.put(Chunk(index=index, finish_reason=choice.finish_reason, choice=choice.choice))

    def finish(self, answer: Answer) -> None:
        """The end: the settled answer is the last item."""
        self._items.append(answer)
        self._ended = True
        self._wake_reader()

    def fail(self, error: BaseException) -> None:
        """The other end: the client gets this error after what was already delivered. Only the first end counts."""
        if self._ended:
            return
        self._failure = error
        self._ended = True
        self._wake_reader()

    async def take(self) -> list[StreamItem]:
        """Everything that waits to be sent, at least one item; raises the producer's error at the end of its items."""
        while not self._items:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return []
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        items = list(self._items)
        self._items.clear()
        self._wake_writer()
        return items

    def abandon(self) -> None:
        """The client has left."""
        if self.abandoned or self._ended:
            return
        self.abandoned = True
        self._items.clear()
        self._wake_writer()
        if self.on_abandon is not None:
            self.on_abandon()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _wake_writer(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)
