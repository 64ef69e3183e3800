"""The call stage: attempts at providers in ranked order, under one deadline, until one completes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeAlias, get_args

from asahi_kernel import books
from asahi_kernel.draft import Draft
from asahi_kernel.errors import Aborted, AsahiError, ProviderError
from asahi_kernel.hedge import Hedge, close_stream
from asahi_kernel.holdout import HELD_OUT
from asahi_kernel.outcomes import Broken, told, verdict
from asahi_kernel.records import Attempt
from asahi_kernel.resilience.retry import backoff
from asahi_kernel.settlement import pledge
from asahi_kernel.tracing import onward, telling
from asahi_kernel.types import Candidate, Chunk, Completion, FinishReason, Usage

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.outlet import Outlet
    from asahi_kernel.protocols import Provider
    from asahi_kernel.relay import Relay
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Model, Principal, Request
    from asahi_kernel.upstream import Upstream

    Ask: TypeAlias = Callable[[Provider, Model, Request], Awaitable[Completion]]


log = logging.getLogger(__name__)
_SILENCE: AbstractContextManager[None] = nullcontext()
_REASONS = frozenset(get_args(FinishReason))
_USAGE = (Usage, type(None))
#: What a vendor answers when it is the credential that is at fault or at its limit.
_CREDENTIAL = frozenset({401, 429})
#: The idle timer is moved only when it has fallen behind by this much: moving it on every chunk costs too much.
_REARM_S = 0.5


async def complete(provider: Provider, model: Model, request: Request) -> Completion:
    """What is asked of a provider, unless the caller of `call` asks for something else."""
    return await provider.complete(model, request)


async def call(
    gateway: Gateway,
    request: Request,
    principal: Principal,
    ranked: Sequence[Candidate],
    trace: Trace,
    relay: Relay | None,
    ask: Ask = complete,
    deadline: float = 0.0,
) -> Completion:
    """The first completion that any candidate gives, delivered through `relay` as it comes if there is one.

    Falls back to the next candidate until the first byte was delivered. Raises an `AsahiError` that sums up all
    attempts, whose records are in the trace. `deadline` is a time of the monotonic clock, 0 for the provider's own.
    """
    calls = _Calls(gateway, request, principal, trace, relay, ask, deadline)
    for candidate in ranked[: 1 + gateway.settings.routing.max_fallbacks]:
        if not calls.affordable(candidate):
            break
        completion = await calls.persist(candidate)
        if completion is not None:
            return completion
        if calls.hopeless:
            break
    raise calls.verdict()


class _Calls:
    """The attempts of one request."""

    def __init__(
        self,
        gateway: Gateway,
        request: Request,
        principal: Principal,
        trace: Trace,
        relay: Relay | None,
        ask: Ask,
        deadline: float,
    ) -> None:
        self._gateway = gateway
        self._ask = ask
        self._request = self._sending = request
        self._principal = principal
        self._org = principal.org
        self._trace = trace
        self._relay = relay
        self._deadline = deadline
        self._sent = False
        self._offset_ms = 0.0
        self._hedge = Hedge(gateway, request, principal, trace, streamed=relay is not None)
        self._failures: list[ProviderError] = []
        self._resting: list[Upstream] = []

    @property
    def hopeless(self) -> bool:
        """Whether no other candidate can do better."""
        return bool(self._failures) and (self._failures[-1].rejected or self._left() <= 0)

    def affordable(self, candidate: Candidate) -> bool:
        """Whether the retry budget allows this candidate; the first one is a request, the others are retries."""
        provider = candidate.model.provider
        if not self._failures:
            self._gateway.retries.deposit(self._org, provider)
            return True
        return self._gateway.retries.withdraw(self._org, provider)

    async def persist(self, candidate: Candidate) -> Completion | None:
        """Try one candidate, with retries; None when it is given up."""
        upstream = self._gateway.upstreams[candidate.model.provider]
        limits = upstream.resilience
        self._sending = self._prepared(upstream, candidate)
        if not self._deadline:
            self._deadline = time.monotonic() + (limits.timeout_s if self._relay is None else limits.stream_timeout_s)
        for attempt in range(1, limits.max_retries + 2):
            outlet = upstream.enter()
            if outlet is None:
                self._resting.append(upstream)
                return None
            completion = await self._attempt(upstream, outlet, candidate)
            if completion is not None:
                return completion
            failure = self._failures[-1]
            elsewhere = failure.status in _CREDENTIAL and upstream.available()
            wait_s = 0.0 if elsewhere else self._wait_s(upstream, attempt, failure)
            if not (failure.retryable or elsewhere) or attempt > limits.max_retries or wait_s >= self._left():
                return None
            if not self._gateway.retries.withdraw(self._org, upstream.name):
                return None
            await asyncio.sleep(wait_s)
        return None

    def _prepared(self, upstream: Upstream, candidate: Candidate) -> Request:
        """The request with markers for the vendor's cache of prompts. Fails open: it goes as it is."""
        if upstream.marking is None or self._trace.arm == HELD_OUT:
            return self._request
        try:
            return self._gateway.prompt_cache.prepare(self._org, upstream.marking, candidate.model, self._request)
        except Exception as error:  # noqa: BLE001 - fails open
            self._gateway.faults[f"prompt_cache.{upstream.name}"] += 1
            log.warning("prompt cache of %s failed: %s", upstream.name, type(error).__name__)
            return self._request

    def _wait_s(self, upstream: Upstream, attempt: int, failure: ProviderError) -> float:
        limits = upstream.resilience
        wait_s = backoff(attempt, limits.backoff_base_s, limits.backoff_cap_s, failure.retry_after)
        return max(wait_s, upstream.wait_s()) if failure.status == 429 else wait_s

    async def _attempt(self, upstream: Upstream, outlet: Outlet, candidate: Candidate) -> Completion | None:
        begun = time.perf_counter()
        draft = Draft(candidate.name)
        self._trace.model = candidate.name
        self._sent = False
        self._offset_ms = self._trace.elapsed_ms()
        try:
            await pledge(self._gateway, self._request, self._principal, self._trace, candidate)
            with self._telling(upstream):
                if self._relay is not None:
                    completion = await self._stream(upstream, outlet, candidate, draft, self._relay)
                else:
                    completion = await self._complete(upstream, outlet, candidate)
            completion = self._counted(upstream, candidate, completion, draft)
        except ProviderError as error:
            self._failed(outlet, candidate, draft, begun, error)
            return None
        except BaseException:
            outlet.breaker.leave()
            if self._sent:
                generated = books.partial(self._request, draft)
                self._lost(candidate, begun, self._hedge.abandon(generated))
                self._note(candidate, begun, "aborted", generated)
            raise
        self._lost(candidate, begun, self._hedge.settle(outlet, completion))
        upstream.answered = True
        self._trace.inexact = not draft.exact
        self._note(candidate, begun, "ok", completion)
        self._learn(candidate, completion)
        return completion

    def _telling(self, upstream: Upstream) -> AbstractContextManager[None]:
        """What the host is told of the trace: nothing, unless its table says so."""
        if not upstream.resilience.trace_context:
            return _SILENCE
        trace, number = self._trace, len(self._trace.attempts) + 1
        return telling(onward(trace.request_id, number, trace.parent, self._gateway.traced_share))

    def _learn(self, candidate: Candidate, completion: Completion) -> None:
        found, usage = self._trace.findings, completion.usage
        task = found.task if found else self._request.terms.task_type or "general"
        if usage is not None and self._request.n == 1:
            begun = self._trace.ttft_ms - self._offset_ms if self._trace.ttft_ms is not None else None
            streamed = self._relay is not None
            self._gateway.learned.note(candidate.name, task, usage.output_tokens, begun, streamed=streamed)

    def _counted(self, upstream: Upstream, candidate: Candidate, completion: Completion, draft: Draft) -> Completion:
        try:
            return books.counted(self._request, completion, candidate, draft, self._trace)
        except (AttributeError, TypeError) as error:
            raise _bug(upstream, error) from error

    async def _complete(self, upstream: Upstream, outlet: Outlet, candidate: Candidate) -> Completion:
        try:
            self._sent = self._trace.dispatched = True
            async with asyncio.timeout(min(upstream.resilience.timeout_s, self._left())):
                completion = await self._hedge.sooner(
                    upstream, outlet, candidate, lambda each: self._ask(each.provider, candidate.model, self._sending)
                )
        except TimeoutError:
            raise ProviderError("the provider did not answer in time", timed_out=True) from None
        except (ProviderError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise _bug(upstream, error) from error
        if not isinstance(completion, Completion) or not _spoken(completion):
            raise ProviderError(f"provider {upstream.name!r} gave something else than a Completion with a text")
        self._trace.first_byte()
        return completion

    async def _stream(
        self, upstream: Upstream, outlet: Outlet, candidate: Candidate, draft: Draft, relay: Relay
    ) -> Completion:
        if relay.screen is not None:
            relay.screen.restart()
        if outlet.streaming is None or self._request.n > 1:
            completion = await self._complete(upstream, outlet, candidate)
            relay.replay(completion)
            return completion
        try:
            await self._pump(upstream, outlet, candidate, draft, relay)
            completion = draft.completion()
        except TimeoutError:
            if relay.abandoned or relay.full:
                raise Aborted("the client left, or stopped reading") from None
            raise ProviderError("the provider stopped sending", timed_out=True) from None
        except (ProviderError, AsahiError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise _bug(upstream, error) from error
        if not draft.complete:
            raise ProviderError("the provider's stream ended before the answer did")
        return completion

    async def _pump(self, upstream: Upstream, outlet: Outlet, candidate: Candidate, draft: Draft, relay: Relay) -> None:
        limits = upstream.resilience
        streams = self._gateway.settings.streams
        abort = streams.on_disconnect == "abort"
        loop = asyncio.get_running_loop()
        end = loop.time() + self._left()
        async with asyncio.timeout_at(min(end, loop.time() + limits.first_token_timeout_s)) as limit:
            relay.on_abandon = (lambda: None if limit.expired() else limit.reschedule(loop.time())) if abort else None
            if relay.abandoned and abort:
                raise Aborted("the client left")
            self._sent = self._trace.dispatched = True
            source = await self._hedge.stream(upstream, outlet, candidate, self._sending)
            try:
                async for chunk in source:
                    if not _sound(chunk):
                        raise ProviderError(f"provider {upstream.name!r} streamed something else than a Chunk of text")
                    draft.add(chunk)
                    self._trace.first_byte()
                    if relay.abandoned and (abort or draft.pieces > streams.drain_cap_tokens):
                        raise Aborted("the client left")
                    if not _empty(chunk):
                        relay.put(chunk)
                    waited = relay.full
                    if waited:
                        limit.reschedule(end)
                        await relay.drained()
                    idle = min(end, loop.time() + limits.idle_timeout_s)
                    if waited or idle - (limit.when() or 0.0) > _REARM_S:
                        limit.reschedule(idle)
            finally:
                relay.on_abandon = None
                await close_stream(source)

    def _failed(self, outlet: Outlet, candidate: Candidate, draft: Draft, begun: float, error: ProviderError) -> None:
        self._failures.append(error)
        if error.status == 429:
            outlet.limited(error.retry_after)
        elif error.status in _CREDENTIAL:
            outlet.refused()
        if error.busy or (error.status is not None and 400 <= error.status < 500 and error.status not in {408, 429}):
            outlet.breaker.leave()
        else:
            outlet.breaker.fail()
        outcome = "timeout" if error.timed_out else f"http_{error.status}" if error.status else "error"
        generated = books.partial(self._request, draft) if draft.pieces else None
        self._lost(candidate, begun, self._hedge.abandon(generated))
        self._note(candidate, begun, outcome, generated, error.status)
        if error.status is None and generated is None and not error.busy:
            self._trace.warn("charge_unknown")
        if self._relay is not None and self._relay.started:
            raise Broken(
                f"the provider's stream broke off: {error.message}", details={"attempts": told(self._trace.attempts)}
            )

    def _lost(self, candidate: Candidate, begun: float, losers: Sequence[Completion | None]) -> None:
        for loser in losers:
            self._note(candidate, begun, "hedged", loser)

    def _note(
        self,
        candidate: Candidate,
        begun: float,
        outcome: str,
        completion: Completion | None,
        status: int | None = None,
    ) -> None:
        usage = completion.usage if completion is not None else None
        prices = candidate.model.prices
        billed = usage is not None
        if billed and outcome != "ok":
            self._trace.warn("usage_estimated")
        self._trace.purse.unheard.pop(id(self._trace), None)
        self._trace.attempts.append(
            Attempt(
                n=len(self._trace.attempts) + 1,
                provider=candidate.model.provider,
                model=candidate.name,
                outcome=outcome,
                http_status=200 if outcome == "ok" else status,
                latency_ms=(time.perf_counter() - begun) * 1e3,
                ttft_ms=self._trace.ttft_ms,
                usage=usage or Usage(),
                cost=(None if prices is None else prices.cost(usage)) if usage else 0,
                billed=billed,
                provider_request_id=completion.provider_request_id if completion else "",
            )
        )

    def verdict(self) -> AsahiError:
        """What all the failures together mean for the client."""
        rests_s = min((upstream.wait_s() for upstream in self._resting), default=30.0)
        return verdict(self._failures, rests_s, self._trace.attempts, expired=self._left() <= 0)

    def _left(self) -> float:
        return self._deadline - time.monotonic()


def _bug(upstream: Upstream, error: Exception) -> ProviderError:
    """A provider that raises anything but `ProviderError` broke its contract; it fails like any other provider."""
    return ProviderError(f"provider {upstream.name!r} failed with {type(error).__name__}", retryable=False)


def _spoken(completion: Completion) -> bool:
    return isinstance(completion.text, str) and completion.finish_reason in _REASONS


def _sound(chunk: object) -> bool:
    return isinstance(chunk, Chunk) and isinstance(chunk.text, str) and isinstance(chunk.usage, _USAGE)


def _empty(chunk: Chunk) -> bool:
    return not (chunk.text or chunk.tool_calls or chunk.finish_reason or chunk.delta or chunk.choice)
