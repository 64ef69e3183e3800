"""Believing: what storage says of an org, asked once a second, and believed for five minutes while it is away."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from msgspec import Struct

from asahi_kernel.clock import monotonic
from asahi_kernel.errors import Unavailable

T = TypeVar("T")

#: A change is in force on every worker within this time; past half of it storage is asked beside the request.
_FRESH_S = 1.0
#: How long what is known is believed while storage is away.
_KEPT_S = 300.0
_STORAGE_S = 2.0
#: A frozen storage keeps nobody waiting longer than this for what is known already.
_WAIT_S = 0.25
_ORGS = 10_000


class _Known(Struct, Generic[T]):
    told: T
    at: float
    failing: bool = False


class Believed(Generic[T]):
    """`look` asks storage about an org, and may raise anything: that is counted in `faults` under `name`. Callers for
    one org wait for one look. `what` is what a client is told to be unknown."""

    def __init__(
        self,
        look: Callable[[str], Awaitable[T]],
        what: str,
        faults: Counter[str],
        name: str,
        clock: Callable[[], float] = monotonic,
        *,
        fresh_s: float = _FRESH_S,
        most: int = _ORGS,
    ) -> None:
        self._ask = look
        self._what = what
        self._faults = faults
        self._name = name
        self._clock = clock
        self._fresh_s, self._most = fresh_s, most
        self._known: OrderedDict[str, _Known[T]] = OrderedDict()
        self._looking: dict[str, asyncio.Task[T]] = {}
        self._tasks: set[asyncio.Task[T]] = set()

    async def of(self, org: str) -> T:
        """What holds now. Raises `Unavailable` when storage is away and nothing is known of the org."""
        known = self._known.get(org)
        if known is None:
            return await self._look(org)
        age = self._clock() - known.at
        if age >= _KEPT_S:
            return await self._look(org)
        if age >= self._fresh_s and not known.failing:
            try:
                async with asyncio.timeout(_WAIT_S):
                    return await self._look(org)
            except (Unavailable, TimeoutError):
                known.failing = True
                return known.told
        if age >= self._fresh_s / 2:
            self._start(org)
        return known.told

    def fresh(self, org: str) -> T | None:
        """The same without waiting, if it was looked up a moment ago; None where `of` must be asked."""
        known = self._known.get(org)
        return known.told if known is not None and self._clock() - known.at < self._fresh_s / 2 else None

    def known(self, org: str) -> T | None:
        """What was last looked up, without waiting. What is old, or was never looked up, is looked up meanwhile."""
        known = self._known.get(org)
        if known is None or self._clock() - known.at >= self._fresh_s / 2:
            self._start(org)
        return None if known is None else known.told

    def learn(self, org: str, told: T) -> None:
        """It came out beside another look, just now."""
        self._keep(org, told, self._clock())

    def forget(self, org: str) -> None:
        """It was changed here: look it up again at once. A look under way may have read what was there before."""
        self._known.pop(org, None)
        self._looking.pop(org, None)

    def heard(self, org: str, before: T | None, now: T) -> None:
        """Storage has told what holds; `before` is what was known of the org, if anything was."""

    def forget_those(self, of: Callable[[str], bool]) -> None:
        """Forget those that this is true of."""
        for name in [*filter(of, (*self._known, *self._looking))]:
            self.forget(name)

    async def _look(self, org: str) -> T:
        return await asyncio.shield(self._start(org))

    def _start(self, org: str) -> asyncio.Task[T]:
        task = self._looking.get(org)
        if task is None:
            task = self._looking[org] = asyncio.get_running_loop().create_task(self._load(org))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, org))
        return task

    def _done(self, org: str, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if self._looking.get(org) is task:
            del self._looking[org]
        if not task.cancelled():
            task.exception()

    async def _load(self, org: str) -> T:
        began = self._clock()
        try:
            async with asyncio.timeout(_STORAGE_S):
                told = await self._ask(org)
        except Exception as error:
            self._faults[self._name] += 1
            if (known := self._known.get(org)) is not None:
                known.failing = True
            raise Unavailable(f"{self._what} cannot be looked up", code="storage_unavailable", retry_after=5) from error
        if self._looking.get(org) is asyncio.current_task():
            before = self._known.get(org)
            self._keep(org, told, began)
            self.heard(org, None if before is None else before.told, told)
        return told

    def _keep(self, org: str, told: T, began: float) -> None:
        self._known[org] = _Known(told, began)
        self._known.move_to_end(org)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
