"""A request's chance of a second call beside a slow one, at the same provider and before the first byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from asahi_kernel.errors import AsahiError, ProviderError
from asahi_kernel.resilience.hedging import SLOWEST, Race
from asahi_kernel.routing import worst_case
from asahi_kernel.settlement import pledge

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.outlet import Outlet
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Candidate, Chunk, Completion, Principal, Request
    from asahi_kernel.upstream import Upstream

T = TypeVar("T")


class _Second:
    """A second call, until its loser is charged."""

    def __init__(
        self, upstream: Upstream, candidate: Candidate, outlet: Outlet, won: bool = False, other_failed: bool = False
    ) -> None:
        self.upstream = upstream
        self.candidate = candidate
        self.outlet = outlet
        self.won = won
        self.other_failed = other_failed


class Hedge:
    """Does nothing at all where the provider's table does not ask for it."""

    def __init__(
        self, gateway: Gateway, request: Request, principal: Principal, trace: Trace, *, streamed: bool
    ) -> None:
        self._gateway = gateway
        self._request = request
        self._principal = principal
        self._trace = trace
        self._streamed = streamed
        self._second: _Second | None = None
        self._held = 0

    async def sooner(
        self, upstream: Upstream, outlet: Outlet, candidate: Candidate, ask: Callable[[Outlet], Awaitable[T]]
    ) -> T:
        """What one call gives, or the sooner of two where the first is unusually slow and the budget allows another."""
        self._second = None
        after_ms = None
        if upstream.hedges is not None:
            upstream.hedges.count()
            after_ms = self._gateway.learned.start_ms(candidate.name, SLOWEST, streamed=self._streamed)
        if after_ms is None:
            return await ask(outlet)
        race: Race[T] = Race(after_ms / 1e3, _dropped)
        others: list[Outlet] = []

        async def second() -> Callable[[], Awaitable[T]] | None:
            other = await self._allowed(upstream, candidate)
            if other is None:
                return None
            others.append(other)
            return lambda: ask(other)

        try:
            answer = await race.run(ask(outlet), second)
        except BaseException as error:
            if race.hedged and isinstance(error, asyncio.CancelledError):
                self._second = _Second(upstream, candidate, others[0], other_failed=race.other_failed)
            else:
                self._spare(upstream, others)
            raise
        if race.hedged:
            self._second = _Second(upstream, candidate, others[0], race.won_by_second, race.other_failed)
        else:
            self._spare(upstream, others)
        return answer

    async def stream(
        self, upstream: Upstream, outlet: Outlet, candidate: Candidate, request: Request
    ) -> AsyncIterator[Chunk]:
        """A provider's stream, or the one of two that begins first."""
        assert outlet.streaming is not None
        if upstream.hedges is None:
            return outlet.streaming.stream(candidate.model, request)

        async def begin(each: Outlet) -> tuple[Chunk, AsyncIterator[Chunk]]:
            assert each.streaming is not None
            own = each.streaming.stream(candidate.model, request)
            try:
                return await anext(own), own
            except StopAsyncIteration:
                raise ProviderError("the provider's stream ended before the answer did") from None
            except BaseException:
                await close_stream(own)
                raise

        return _resumed(*await self.sooner(upstream, outlet, candidate, begin))

    def settle(self, outlet: Outlet, completion: Completion) -> list[Completion | None]:
        """Tell the breakers who answered. What the loser is charged for, if there were two calls: it may have generated
        as much as the winner, unless it failed, which is None."""
        second, self._second = self._second, None
        if second is None:
            outlet.breaker.succeed()
            return []
        (second.outlet if second.won else outlet).breaker.succeed()
        (outlet if second.won else second.outlet).breaker.leave()
        return [self._charged(second, None if second.other_failed else completion)]

    def abandon(self, generated: Completion | None) -> list[Completion | None]:
        """The same where no answer came to its end: of what was generated when the caller left or the stream broke."""
        second, self._second = self._second, None
        if second is None:
            return []
        second.outlet.breaker.leave()
        return [self._charged(second, None if second.other_failed else generated)]

    def _charged(self, second: _Second, loser: Completion | None) -> Completion | None:
        cost, prices = 0, second.candidate.model.prices
        if loser is not None:
            assert loser.usage is not None
            usage = msgspec.structs.replace(loser.usage, source="estimated")
            loser = msgspec.structs.replace(loser, usage=usage, provider_request_id="")
            cost = prices.cost(usage) if prices is not None else 0
        if second.upstream.hedges is not None:
            second.upstream.hedges.settled(self._held, cost)
        return loser

    def _spare(self, upstream: Upstream, others: list[Outlet]) -> None:
        for other in others:
            other.breaker.leave()
            if upstream.hedges is not None:
                upstream.hedges.spare(self._held)

    async def _allowed(self, upstream: Upstream, candidate: Candidate) -> Outlet | None:
        """A credential for a second call, once the journal knows of both; None where budget or breakers forbid one."""
        hedges, most = upstream.hedges, worst_case(self._request)(candidate)
        if hedges is None or not hedges.allowed(most) or (outlet := upstream.enter()) is None:
            return None
        self._held = most
        hedges.begin(most)
        try:
            await pledge(self._gateway, self._request, self._principal, self._trace, candidate, calls=2)
        except BaseException as error:
            self._spare(upstream, [outlet])
            if isinstance(error, AsahiError):
                return None
            raise
        return outlet


async def close_stream(source: AsyncIterator[Chunk]) -> None:
    """Let a provider's stream go, with its connection."""
    if isinstance(source, AsyncGenerator):
        await source.aclose()


async def _resumed(first: Chunk, source: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
    try:
        yield first
        async for chunk in source:
            yield chunk
    finally:
        await close_stream(source)


async def _dropped(answer: object) -> None:
    """A stream that came second is let go."""
    if isinstance(answer, tuple):
        await close_stream(answer[1])
