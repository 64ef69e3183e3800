"""What a cache tier may be able to do beyond remembering: show what it holds, and share work between processes.

Each is a protocol of its own, looked for once while the gateway opens.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from msgspec import Struct

from asahi_kernel.protocols import CacheTier, EvictingTier
from asahi_kernel.types import Completion, Request

if TYPE_CHECKING:
    from asahi_kernel.types import Hit, Principal

#: How much of a question is kept beside its answer, for people to recognise it by.
PREVIEW = 120
#: Ids that are put in order at a time, and ids that are given before others have their turn.
_RUN, _SLICE = 5_000, 500


class CacheRow(Struct, frozen=True, kw_only=True):
    """One entry as its org may see it. `query` is the beginning of the question; `size_bytes` what the entry takes."""

    tier: Literal[1, 2, 3]
    key: str
    entry_id: str
    completion: Completion
    size_bytes: int
    created_at: datetime
    expires_at: datetime | None
    hits: int = 0
    query: str = ""
    user: str | None = None
    document_id: str | None = None


class TierStats(Struct, frozen=True):
    """What a tier holds of one org, and where: `memory`, or the name of the server that keeps it. Large holdings may be
    estimated from a sample. `more` is what else there is to tell of this kind of tier."""

    entries: int
    bytes: int
    backend: str
    more: Mapping[str, Any] = {}


class Step(Struct, frozen=True, kw_only=True):
    """A part of a request, as a request of its own. `key` is a fingerprint of everything that shapes its result."""

    step_id: str
    step_type: Literal["summarize", "extract", "classify", "answer", "compare"]
    request: Request
    key: bytes
    intent: str = ""
    document_id: str | None = None


class Plan(Protocol):
    """How one request is answered in steps. `following` gives those that can be done now, none when all are done;
    `last` says whether a step's result is the answer itself; `compose` makes the answer of all results."""

    total: int

    def following(self, results: Mapping[str, Completion]) -> Sequence[Step]: ...
    def last(self, step: Step) -> bool: ...
    def compose(self, results: Mapping[str, Completion]) -> Completion: ...


@runtime_checkable
class ListingTier(EvictingTier, Protocol):
    """A tier that can show what it holds of one org. `rows` come newest first, in bounded memory; with `before` only
    those whose entry id is lower. `sweep` removes what has expired, of that org alone, and says how many."""

    tier: Literal[1, 2, 3]

    def rows(self, org: str, before: str | None = None) -> AsyncIterator[CacheRow]: ...
    async def sweep(self, org: str) -> int: ...
    async def stats(self, org: str) -> TierStats: ...


@runtime_checkable
class ForewarnedTier(Protocol):
    """A tier shared between processes, which must know when a question began whose answer it will be given, so that a
    `clear` in between holds for it. `get` tells it; where `get` is not asked, this is."""

    async def expect(self, key: bytes, principal: Principal) -> None: ...


@runtime_checkable
class ClaimingTier(Protocol):
    """A tier shared between processes that can say which of them refreshes an entry: for so many seconds one caller is
    told True. Who cannot ask is told False."""

    async def claim(self, key: bytes, principal: Principal, seconds: float) -> bool: ...


@runtime_checkable
class GuardedTier(Protocol):
    """A tier that bounds its own waits and knows by itself when to rest, so that it is asked without a clock beside it:
    after a stall of this process two clocks would both run out, and the tier would rest for nothing. `resting` is true
    while it makes do without what it should use."""

    guarded: bool

    @property
    def resting(self) -> bool: ...


@runtime_checkable
class StepwiseTier(CacheTier, Protocol):
    """A tier that splits requests into steps, and keeps the results of steps instead of answers: its `get` and `put` do
    nothing. The pipeline walks through a `plan`, which is None for a request that is not for this tier."""

    def plan(self, request: Request, principal: Principal) -> Plan | None: ...
    async def find(self, step: Step, principal: Principal) -> Hit | None: ...
    async def keep(self, step: Step, principal: Principal, result: Completion) -> None: ...


@runtime_checkable
class ScrubbingTier(Protocol):
    """A tier that keeps files: `scrub` takes out of them what was forgotten before."""

    async def scrub(self) -> None: ...


class Precision(Protocol):
    """How often a tier was wrong on one task: `false_hits` of `labelled_hits` served answers that were looked at again.
    `state` is `breached` where the bound `max_error_rate` is not kept."""

    @property
    def task(self) -> str: ...
    @property
    def labels(self) -> int: ...
    @property
    def labelled_hits(self) -> int: ...
    @property
    def false_hits(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def max_error_rate(self) -> float: ...


@runtime_checkable
class MeasuredTier(Protocol):
    """A tier that may be wrong, and knows how often it was: by task, as this process has seen and been told."""

    def precision(self, org: str) -> Sequence[Precision]: ...


def preview(request: Request) -> str:
    """The beginning of the last thing a user said, unless nothing of it may be kept."""
    if not request.terms.keep_prompt:
        return ""
    for message in reversed(request.messages):
        if message.role == "user":
            return message.text[:PREVIEW]
    return ""


async def newest(ids: Collection[str], before: str | None = None) -> AsyncIterator[str]:
    """Ids from the highest down, below `before`. A million of them are put in order without a long pause."""
    listed = ids if isinstance(ids, (list, tuple)) else list(ids)
    runs: list[list[str]] = []
    for start in range(0, len(listed), _RUN):
        part = listed[start : start + _RUN]
        runs.append(sorted((each for each in part if before is None or each < before), reverse=True))
        await asyncio.sleep(0)
    for number, each in enumerate(heapq.merge(*runs, reverse=True)):
        if number % _SLICE == 0:
            await asyncio.sleep(0)
        yield each
