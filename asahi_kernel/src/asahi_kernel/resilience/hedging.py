"""Hedging: a call that is slower than nearly all before it gets a second one beside it, and the sooner answer counts.

Dean and Barroso, The Tail at Scale (2013). It is opt-in, rare by a budget, and the loser is charged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import date
from typing import Any, Generic, TypeVar

from asahi_kernel import clock
from asahi_kernel.money import nano
from asahi_kernel.settings import HedgingSettings

T = TypeVar("T")
#: A second call is made once a call is slower than this share of the calls before it.
SLOWEST = 0.95


class Hedges:
    """One provider's budget: at most `share` of its calls, and so many dollars a day for the losers."""

    def __init__(self, settings: HedgingSettings, today: Callable[[], date] = lambda: clock.now().date()) -> None:
        self._share = settings.share
        self._cap = nano(settings.max_cost_per_day)
        self._today = today
        self._day = today()
        self._spent = 0
        self._calls = 0
        self.made = 0

    def count(self) -> None:
        """One more call that might be hedged."""
        self._calls += 1

    def allowed(self, cost: int) -> bool:
        """Whether the budget has room for a second call that may cost so many nUSD."""
        if (day := self._today()) != self._day:
            self._day, self._spent = day, 0
        return self.made + 1 <= self._share * self._calls and self._spent + cost <= self._cap

    def begin(self, cost: int) -> None:
        """A second call is made that may cost so many nUSD: they are held until it is known what the loser costs."""
        self.made += 1
        self._spent += cost

    def spare(self, cost: int) -> None:
        """The second call was not made after all."""
        self.made -= 1
        self.settled(cost, 0)

    def settled(self, held: int, cost: int) -> None:
        """What the loser is charged, of what was held for it."""
        self._spent = max(0, self._spent - held + cost)


class Race(Generic[T]):
    """`second` may be made once the first has taken `after_s`; the first success wins, the other is dropped.

    `hedged` says that there were two, `won_by_second` which one it was, `other_failed` that the other had failed.
    """

    def __init__(self, after_s: float, drop: Callable[[T], Coroutine[Any, Any, None]] | None = None) -> None:
        self._after_s = after_s
        self._drop = drop
        self.hedged = False
        self.won_by_second = False
        self.other_failed = False

    async def run(self, first: Awaitable[T], second: Callable[[], Awaitable[Callable[[], Awaitable[T]] | None]]) -> T:
        """The winner's result; where both fail the first one's error."""
        runners: list[asyncio.Future[T]] = [asyncio.ensure_future(first)]
        try:
            await asyncio.wait(runners, timeout=self._after_s)
            more = None if runners[0].done() else await second()
            if more is not None and not runners[0].done():
                self.hedged = True
                runners.append(asyncio.ensure_future(more()))
            return await self._winner(runners)
        finally:
            await self._end(runners)

    async def _winner(self, runners: list[asyncio.Future[T]]) -> T:
        waiting = set(runners)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for runner in runners:
                if runner in done and not runner.cancelled() and runner.exception() is None:
                    self.won_by_second = runner is not runners[0]
                    return runner.result()
        return await runners[0]

    async def _end(self, runners: list[asyncio.Future[T]]) -> None:
        winner = runners[self.won_by_second]
        for runner in runners:
            if runner.done():
                good = not runner.cancelled() and runner.exception() is None
                self.other_failed = self.other_failed or (runner is not winner and not good)
                if good and runner is not winner and self._drop is not None:
                    await self._drop(runner.result())
            else:
                runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
