"""The trace of one request: what each stage found, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asahi_kernel import clock
from asahi_kernel.allowances import Counted, Left
from asahi_kernel.answer import StepNote
from asahi_kernel.identity import new_id
from asahi_kernel.journal import Receipt
from asahi_kernel.records import Attempt, Lookup
from asahi_kernel.tracing import Parent
from asahi_kernel.types import Candidate, Findings, Hit, Required, Verdict

if TYPE_CHECKING:
    from asahi_kernel.stepping import Walk


class Purse:
    """What a request holds and has under way, over all its calls, in nUSD and attempts. `unheard` has, for each part of
    the request, the calls whose outcome nobody has heard yet."""

    __slots__ = ("held", "unheard")

    def __init__(self) -> None:
        self.held = 0
        self.unheard: dict[int, tuple[Attempt, ...]] = {}


class Trace:
    """Written by the pipeline as it goes, read once when the request is settled. Times are in milliseconds, `started`
    in seconds of the performance counter. `spare` is an entry that this request renews early, for if that fails,
    `walk` its way through steps, `parent` the caller's span."""

    __slots__ = (
        "_mark",
        "allowances",
        "arm",
        "attempts",
        "breakdown",
        "cache_status",
        "candidates",
        "dispatched",
        "estimated_tokens",
        "findings",
        "inexact",
        "key",
        "lookups",
        "model",
        "overhead",
        "parent",
        "purse",
        "ranked",
        "receipt",
        "relaxed",
        "request_id",
        "required",
        "reserved",
        "route",
        "rules",
        "spare",
        "started",
        "steps",
        "timestamp",
        "ttft_ms",
        "walk",
        "warnings",
    )

    def __init__(self, route: str, request_id: str | None = None, parent: Parent | None = None) -> None:
        self.request_id = request_id or new_id()
        self.parent = parent
        self.route = route
        self.timestamp = clock.now()
        self.started = self._mark = time.perf_counter()
        self.key = b""
        self.model = ""
        self.overhead: dict[str, int] = {}
        self.allowances: dict[Counted, Left] = {}
        self.estimated_tokens = 0
        self.cache_status = "miss"
        self.arm = ""
        self.inexact = False
        self.dispatched = False
        self.reserved = False
        self.breakdown: dict[str, float] = {}
        self.lookups: list[Lookup] = []
        self.candidates: tuple[Candidate, ...] = ()
        self.ranked: Sequence[Candidate] = ()
        self.rules: list[tuple[str, Verdict]] = []
        self.relaxed: tuple[str, ...] = ()
        self.findings: Findings | None = None
        self.required: Required | None = None
        self.spare: Hit | None = None
        self.attempts: list[Attempt] = []
        self.warnings: list[str] = []
        self.ttft_ms: float | None = None
        self.receipt = Receipt()
        self.purse = Purse()
        self.walk: Walk | None = None
        self.steps: tuple[StepNote, ...] = ()

    def branch(self) -> Trace:
        """The trace of one step among several: routed by itself, while what it pays is the whole request's."""
        part = Trace(self.route, self.request_id, self.parent)
        part.started, part.timestamp = self.started, self.timestamp
        part.attempts, part.warnings, part.overhead = self.attempts, self.warnings, self.overhead
        part.receipt, part.purse = self.receipt, self.purse
        return part

    def join(self, part: Trace) -> None:
        """What a step has done is done by the request; how it was routed is told of the last step."""
        self.dispatched |= part.dispatched
        self.reserved |= part.reserved
        self.inexact |= part.inexact
        self.model = part.model or self.model
        self.ttft_ms = part.ttft_ms if self.ttft_ms is None else self.ttft_ms
        self.candidates, self.ranked, self.rules = part.candidates, part.ranked, part.rules
        self.relaxed, self.findings, self.required = part.relaxed, part.findings, part.required
        self.purse.unheard.pop(id(part), None)

    def mark(self, stage: str) -> None:
        """All time since the last mark went to this stage."""
        now = time.perf_counter()
        self.breakdown[stage] = self.breakdown.get(stage, 0.0) + (now - self._mark) * 1e3
        self._mark = now

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.started) * 1e3

    def first_byte(self) -> None:
        """The first piece of the answer has come."""
        if self.ttft_ms is None:
            self.ttft_ms = self.elapsed_ms()

    def warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)
