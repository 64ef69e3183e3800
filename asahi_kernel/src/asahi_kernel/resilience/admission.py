"""Admission: a bounded number of requests in flight, a bounded queue with a deadline, a fair turn for every tenant."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from asahi_kernel.errors import Unavailable


class Admission:
    """Hands out places. Waiting tenants take turns; when the queue is full the longest line gives up its newest."""

    def __init__(self, max_inflight: int, max_queue: int, timeout_s: float) -> None:
        self._free = max_inflight
        self._max_queue = max_queue
        self._timeout_s = timeout_s
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.inflight = 0
        self.queued = 0

    @property
    def full(self) -> bool:
        """Whether the next one has to wait."""
        return not self._free or bool(self.queued)

    async def enter(self, org: str) -> None:
        """Take a place, waiting for one at most `timeout_s`; raises `Unavailable`."""
        if self._free and not self.queued:
            self._free -= 1
        else:
            await self._wait(org)
        self.inflight += 1

    def leave(self) -> None:
        """Give the place back, to the next tenant in turn."""
        self.inflight -= 1
        while self._lines:
            org, line = self._lines.popitem(last=False)
            place = line.popleft()
            self.queued -= 1
            if line:
                self._lines[org] = line
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    async def _wait(self, org: str) -> None:
        if self.queued >= self._max_queue:
            self._shed(org)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(org, deque()).append(place)
        self.queued += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                await place
        except TimeoutError:
            if not _given(place):
                self._forget(org, place)
                raise _overloaded() from None
        except asyncio.CancelledError:
            if _given(place):
                self.inflight += 1
                self.leave()
            else:
                self._forget(org, place)
            raise

    def _shed(self, org: str) -> None:
        longest = max(self._lines, key=lambda each: len(self._lines[each]), default=None)
        if longest is None or len(self._lines[longest]) <= len(self._lines.get(org, ())) + 1:
            raise _overloaded()
        place = self._lines[longest].pop()
        self.queued -= 1
        if not place.done():
            place.set_exception(_overloaded())

    def _forget(self, org: str, place: asyncio.Future[None]) -> None:
        line = self._lines.get(org)
        if line is not None and place in line:
            line.remove(place)
            self.queued -= 1
            if not line:
                del self._lines[org]


def _given(place: asyncio.Future[None]) -> bool:
    return place.done() and not place.cancelled() and place.exception() is None


def _overloaded() -> Unavailable:
    return Unavailable("the gateway is at its limit of requests in flight; try again shortly", retry_after=1)
