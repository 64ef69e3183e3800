"""Replaying: cases go as bytes through a running gateway, as over HTTP but without the socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_kernel import pipeline
from asahi_kernel.api.exchange import named
from asahi_kernel.benchmark.recording import decode
from asahi_kernel.benchmark.standing_in import TRUTH
from asahi_kernel.errors import AsahiError
from asahi_kernel.trace import Trace
from asahi_kernel.types import Principal
from asahi_kernel.wire import native, openai

if TYPE_CHECKING:
    from asahi_kernel.answer import Answer
    from asahi_kernel.benchmark.workload import Case
    from asahi_kernel.gateway import Gateway

log = logging.getLogger(__name__)


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one case. Money in nUSD, `cost` None if a price is unknown; `tier` 0 is no hit. `overhead` is what
    Asahi itself spent on it, such as a paid embedding, on top of `cost`.

    `waited` says that a provider was waited for, also when a hit only shared another request's call. `overhead_ms` is
    all that Asahi itself took, from the first byte read to the last one encoded, None where it cannot be told apart.
    """

    cost: int | None
    saved: int = 0
    overhead: int = 0
    model: str = ""
    tier: int = 0
    quality: float = 0.0
    text: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    waited: bool = True
    latency_ms: float = 0.0
    overhead_ms: float | None = None
    error: str | None = None


class Books(Struct, frozen=True, kw_only=True):
    """The answers' own sums beside those of the storage, in nUSD. They agree, or one of the two is wrong. `own` is
    what Asahi spent on calls that no request waited for, such as rechecks of the semantic cache; `saved_by` is what
    the storage holds by technique, less what each of them cost."""

    requests: int
    events: int
    cost: int
    stored_cost: int
    saved: int
    stored_saved: int
    own: int = 0
    saved_by: Mapping[str, int] = {}

    @property
    def agree(self) -> bool:
        claimed = (self.requests, self.cost, self.saved - self.own)
        return claimed == (self.events, self.stored_cost, self.stored_saved) and self.own >= 0


async def replay(
    gateway: Gateway,
    cases: Sequence[Case],
    org: str,
    concurrency: int,
    tick: Callable[[], None],
    answers: Mapping[str, str] = {},
) -> list[Outcome]:
    """The outcomes, in the order of the cases. At most `concurrency` are under way; each is begun in order. `answers`
    by meaning are what a stand-in says."""
    principal = Principal(org=org, user="benchmark", permissions=frozenset({"infer"}))
    outcomes: dict[int, Outcome] = {}

    async def work(waiting: Iterator[tuple[int, Case]]) -> None:
        for place, case in waiting:
            TRUTH.set(answers.get(case.meaning))
            outcomes[place] = await _one(gateway, case, principal)
            tick()

    waiting = iter(enumerate(cases))
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work(waiting))
    return [outcomes[place] for place in range(len(cases))]


async def audit(gateway: Gateway, outcomes: Sequence[Outcome], org: str) -> Books:
    """Compare what the answers said with what the storage holds, once everything is written."""
    await gateway.drain(gateway.settings.api.drain_s)
    await gateway.journal.flush()
    totals = await gateway.storage.events.totals(org, None)
    return Books(
        requests=len(outcomes),
        events=totals.requests,
        cost=sum(outcome.cost or 0 for outcome in outcomes),
        stored_cost=totals.cost,
        saved=sum(outcome.saved for outcome in outcomes),
        stored_saved=totals.saved,
        own=totals.overhead_cost - sum(outcome.overhead for outcome in outcomes),
        saved_by=totals.saved_by,
    )


async def _one(gateway: Gateway, case: Case, principal: Principal) -> Outcome:
    begun = time.perf_counter()
    trace = Trace("benchmark")
    try:
        answer = await _answer(gateway, case, principal, trace)
    except AsahiError as error:
        return _failed(trace, error.code)
    except Exception:
        log.exception("%s failed inside the gateway", case.id)
        return _failed(trace, "internal")
    return _outcome(gateway, answer, (time.perf_counter() - begun) * 1e3)


async def _answer(gateway: Gateway, case: Case, principal: Principal, trace: Trace) -> Answer:
    answer = await pipeline.infer(gateway, named(gateway, decode(case)), principal, trace)
    (openai if case.wire == "openai" else native).encode(answer)
    return answer


def _failed(trace: Trace, code: str) -> Outcome:
    costs = [attempt.cost for attempt in trace.attempts]
    billed = None if None in costs else sum(cost or 0 for cost in costs)
    overhead = sum(trace.overhead.values())
    return Outcome(cost=billed, saved=-(billed or 0) - overhead, overhead=overhead, error=code)


def _outcome(gateway: Gateway, answer: Answer, latency_ms: float) -> Outcome:
    hit, model = answer.hit, answer.completion.model
    shared = hit is not None and hit.entry_id == answer.request_id
    profile = gateway.registry.by_name.get(model)
    return Outcome(
        cost=answer.bill.cost,
        saved=answer.bill.saved,
        overhead=answer.bill.overhead_cost,
        model=model,
        tier=hit.tier if hit else 0,
        quality=profile.quality_score if profile else 0.0,
        text=answer.completion.text,
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
        waited=hit is None or shared,
        latency_ms=latency_ms,
        overhead_ms=None if shared else latency_ms - answer.breakdown.get("inference", 0.0),
    )
