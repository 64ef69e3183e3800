"""The rules `autopilot` and `guided`: drop what is below the defaults of the task or the preferences, or relax them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

from asahi_kernel import Candidate, Findings, Required, Verdict
from asahi_kernel.preferences import TaskNeed
from asahi_optimizer.config import Bounds
from asahi_optimizer.difficulty import find

if TYPE_CHECKING:
    from asahi_kernel import Principal, Request
    from asahi_kernel.standing import Standing
    from asahi_kernel.types import Task, Terms
    from asahi_optimizer.config import AutopilotConfig, GuidedConfig, Level, Pace

#: Quality and milliseconds that a task asks for in autopilot. Tasks without a row take those of `general`.
TABLE: Mapping[str, tuple[float, float]] = {
    "faq": (3.5, 300),
    "summarization": (3.5, 500),
    "reasoning": (4.0, 500),
    "coding": (4.0, 500),
    "translation": (3.5, 300),
    "classification": (3.0, 200),
    "extraction": (3.5, 300),
    "creative": (3.5, 500),
    "legal": (4.2, 2_000),
    "general": (3.5, 300),
}
#: What the preferences of guided mode mean.
QUALITY: Mapping[Level, float] = {"low": 3.0, "medium": 3.5, "high": 4.0, "max": 4.5}
LATENCY_MS: Mapping[Pace, float] = {"slow": 2_000, "normal": 500, "fast": 300, "instant": 150}
#: What a task asks for in guided mode, whatever is preferred.
FLOORS: Mapping[str, tuple[float, float]] = {"reasoning": (4.0, 500), "coding": (4.0, 500), "legal": (4.2, 2_000)}

_FREE = (0.0, inf)


class Autopilot:
    """In autopilot holds candidates against the defaults of their task; the caller's numbers take their place."""

    local = True

    def __init__(self, config: AutopilotConfig, standing: Callable[[str], Standing | None] = lambda org: None) -> None:
        self._config = config
        self._standing = standing
        self._table = _overlaid(TABLE, config.task_table, TABLE["general"])

    async def rank(self, request: Request, principal: Principal, candidates: Sequence[Candidate]) -> Verdict:
        terms = request.terms
        if terms.mode != "autopilot" or not candidates:
            return Verdict(tuple(candidates))
        standing = self._standing(principal.org)
        required = self.require(terms, _found(request, candidates).task, standing)
        return narrow(candidates, required, terms, cautious=self._config.cautious or _cautious(standing))

    def defaults(self) -> Mapping[str, tuple[float, float]]:
        """What holds for each task where the caller says nothing."""
        found = {task: self._default(task) for task in self._table}
        return {task: (default.quality, default.latency_ms) for task, default in found.items()}

    def require(self, terms: Terms, task: str, standing: Standing | None = None) -> Required:
        """The bounds in force: the caller's, else the org's, else the task's."""
        default = self._default(task, standing)
        quality, latency = default.quality, default.latency_ms
        sources = [default.quality_source, default.latency_source]
        if terms.quality_threshold is not None:
            quality, sources[0] = terms.quality_threshold, "caller"
        if terms.latency_budget_ms is not None:
            latency, sources[1] = terms.latency_budget_ms, "caller"
        return Required(quality=quality, latency_ms=latency, quality_source=sources[0], latency_source=sources[1])

    def _default(self, task: str, standing: Standing | None = None) -> Required:
        """What an org says of one task takes the place of the table; what it says of all raises the quality."""
        quality, latency = self._table.get(task) or self._table["general"]
        sources = ["task", "task"]
        need = _need(standing, task)
        raised = self._config.default_quality_threshold if need.quality is None else need.quality
        if raised is not None and (raised > quality or _own(standing, task)):
            quality, sources[0] = raised, "org"
        replaced = self._config.default_latency_budget_ms if need.latency_ms is None else need.latency_ms
        if replaced is not None:
            latency, sources[1] = replaced, "org"
        return Required(quality=quality, latency_ms=latency, quality_source=sources[0], latency_source=sources[1])


class Guided:
    """In guided mode holds candidates against the preferences, which the task may tighten; the caller's numbers hold
    beside them."""

    local = True

    def __init__(self, config: GuidedConfig, standing: Callable[[str], Standing | None] = lambda org: None) -> None:
        self._config = config
        self._standing = standing
        self._floors = _overlaid(FLOORS, config.floors, _FREE)
        self._qualities = {**QUALITY, **config.quality_map}
        self._latencies = {**LATENCY_MS, **config.latency_map}

    async def rank(self, request: Request, principal: Principal, candidates: Sequence[Candidate]) -> Verdict:
        terms = request.terms
        if terms.mode != "guided" or not candidates:
            return Verdict(tuple(candidates))
        standing = self._standing(principal.org)
        required = self.require(terms, _found(request, candidates).task, standing)
        return narrow(candidates, required, terms, cautious=self._config.cautious or _cautious(standing))

    def require(self, terms: Terms, task: str, standing: Standing | None = None) -> Required:
        """The strictest of preference, task and caller. Where nothing is preferred the org's default stands in."""
        quality = self._qualities[terms.quality_preference or "medium"]
        latency = self._latencies[terms.latency_preference or "normal"]
        sources = ["preference", "preference"]
        need = _need(standing, task)
        if terms.quality_preference is None and need.quality is not None and need.quality > quality:
            quality, sources[0] = need.quality, "org"
        if terms.latency_preference is None and need.latency_ms is not None:
            latency, sources[1] = need.latency_ms, "org"
        floor, ceiling = self._floors.get(task, (quality, latency))
        if floor > quality:
            quality, sources[0] = floor, "task"
        if ceiling < latency:
            latency, sources[1] = ceiling, "task"
        if terms.quality_threshold is not None and terms.quality_threshold >= quality:
            quality, sources[0] = terms.quality_threshold, "caller"
        if terms.latency_budget_ms is not None and terms.latency_budget_ms <= latency:
            latency, sources[1] = terms.latency_budget_ms, "caller"
        return Required(quality=quality, latency_ms=latency, quality_source=sources[0], latency_source=sources[1])


def narrow(candidates: Sequence[Candidate], required: Required, terms: Terms, *, cautious: bool) -> Verdict:
    """Those that meet both bounds; else latency is given up, then quality, and the best of what is left stays.

    What the caller stated is never given up, unless they asked for the best effort.
    """
    level = _lower if cautious else _expected
    quality, latency = required.quality, required.latency_ms
    firm = terms.on_no_route == "refuse"
    hard_quality = firm and required.quality_source == "caller"
    hard_latency = firm and required.latency_source == "caller"
    good = [each for each in candidates if level(each) >= quality]
    fast = [each for each in candidates if each.latency_ms <= latency]
    kept = [each for each in good if each.latency_ms <= latency]
    relaxed: tuple[str, ...] = ()
    if not kept and good and not hard_latency:
        kept, relaxed = good, ("latency",)
    elif not kept and not hard_quality and (left := fast if hard_latency else list(candidates)):
        best = max(map(level, left))
        kept = [each for each in left if level(each) == best]
        relaxed = ("quality",) if min(each.latency_ms for each in kept) <= latency else ("latency", "quality")
    staying = {each.name for each in kept}
    dropped = {each.name: _fault(each, level, required) for each in candidates if each.name not in staying}
    return Verdict(tuple(kept), dropped, relaxed, required)


def _need(standing: Standing | None, task: str) -> TaskNeed:
    return TaskNeed() if standing is None else standing.need(task)


def _own(standing: Standing | None, task: str) -> bool:
    """Whether the org says itself what quality this task needs."""
    if standing is None:
        return False
    found = standing.preferences.routing.task_overrides.get(task)
    return found is not None and found.quality is not None


def _cautious(standing: Standing | None) -> bool:
    return standing is not None and standing.preferences.routing.cautious


def _fault(candidate: Candidate, level: Callable[[Candidate], float], required: Required) -> str:
    if level(candidate) < required.quality:
        return f"quality {level(candidate):.2f} < {required.quality:.2f}"
    if candidate.latency_ms > required.latency_ms:
        return f"{candidate.latency_ms:.0f} ms > {required.latency_ms:.0f} ms"
    return "another has the higher quality"


def _expected(candidate: Candidate) -> float:
    return candidate.quality


def _lower(candidate: Candidate) -> float:
    return candidate.interval[0] if candidate.interval else candidate.quality


def _found(request: Request, candidates: Sequence[Candidate]) -> Findings:
    """What an earlier rule has found out, else what can be seen now."""
    return candidates[0].findings or find(request, candidates[0].input_tokens)


def _overlaid(
    table: Mapping[str, tuple[float, float]], changes: Mapping[Task, Bounds], default: tuple[float, float]
) -> dict[str, tuple[float, float]]:
    overlaid = dict(table)
    for task, bounds in changes.items():
        quality, latency = overlaid.get(task, default)
        overlaid[task] = (
            quality if bounds.quality is None else bounds.quality,
            latency if bounds.latency_ms is None else bounds.latency_ms,
        )
    return overlaid
