"""Comparing: two lists of outcomes of the same cases become the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from asahi_kernel.benchmark.interval import RESAMPLES, Interval, bootstrap, nearest_rank
from asahi_kernel.benchmark.replaying import Books, Outcome
from asahi_kernel.benchmark.report import (
    Caching,
    Ledger,
    Percentiles,
    Report,
    Saving,
    Side,
    Truth,
    TypeSaving,
    Workload,
)
from asahi_kernel.benchmark.workload import KINDS, Case
from asahi_kernel.money import NANO, dollars

#: Ratings closer than this count as the same, on the scale of 5.
_SAME_QUALITY = 0.1


class Run(Struct, frozen=True, kw_only=True):
    """All that one run observed: per case one outcome of each side, in the order of the cases."""

    source: str
    seed: int
    concurrency: int
    mock: bool
    version: str
    baseline_model: str
    tiers: tuple[str, ...]
    cases: Sequence[Case]
    baseline: Sequence[Outcome]
    asahi: Sequence[Outcome]
    baseline_books: Books
    asahi_books: Books


class _Pair(Struct, frozen=True):
    """One case that both sides answered at a known price; bills in nUSD."""

    case: Case
    before: int
    after: int
    hit: bool

    @property
    def bills(self) -> tuple[int, int]:
        return self.before, self.after


def compare(run: Run) -> Report:
    """The report; deterministic but for the times."""
    pairs = _pairs(run)
    truth = judge(run.cases, run.asahi)
    answered = [outcome for outcome in run.asahi if outcome.error is None]
    return Report(
        version=run.version,
        mock=run.mock,
        good=bool(pairs) and not truth.false_hits and run.baseline_books.agree and run.asahi_books.agree,
        workload=_workload(run),
        baseline_model=run.baseline_model,
        baseline=_side(run.baseline),
        asahi=_side(run.asahi),
        saving=_saving(run, pairs),
        types=_types(pairs),
        caching=_caching(run),
        truth=truth,
        hit_latency_ms=_percentiles(each.latency_ms for each in answered if not each.waited),
        miss_latency_ms=_percentiles(each.latency_ms for each in answered if each.waited),
        overhead_ms=_percentiles(each.overhead_ms for each in answered if each.overhead_ms is not None),
        baseline_books=_ledger(run.baseline_books),
        asahi_books=_ledger(run.asahi_books),
        notes=_notes(run, pairs),
    )


def judge(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Truth:
    """Hold the hits against what the workload knows. A hit is true only if it serves what a provider answered to a
    request of the same meaning."""
    paid: set[tuple[str, str]] = {
        (case.meaning, outcome.text)
        for case, outcome in zip(cases, outcomes, strict=True)
        if not outcome.tier and outcome.error is None
    }
    known = [(case, outcome) for case, outcome in zip(cases, outcomes, strict=True) if case.meaning]
    false = [case.id for case, outcome in known if outcome.tier and (case.meaning, outcome.text) not in paid]
    repeats = [outcome for case, outcome in zip(cases, outcomes, strict=True) if case.kind == "repeat"]
    return Truth(
        judged=len(known),
        false_hits=len(false),
        false_hit_ids=false,
        repeats=len(repeats),
        missed_repeats=sum(not outcome.tier for outcome in repeats),
    )


def _pairs(run: Run) -> list[_Pair]:
    return [
        _Pair(case, before.cost, after.cost, after.tier > 0)
        for case, before, after in zip(run.cases, run.baseline, run.asahi, strict=True)
        if before.error is None and after.error is None and before.cost is not None and after.cost is not None
    ]


def _workload(run: Run) -> Workload:
    kinds = Counter(case.kind for case in run.cases)
    return Workload(
        source=run.source,
        requests=len(run.cases),
        seed=run.seed,
        concurrency=run.concurrency,
        kinds={kind: kinds[kind] for kind in KINDS if kinds[kind]},
    )


def _side(outcomes: Sequence[Outcome]) -> Side:
    good = [outcome for outcome in outcomes if outcome.error is None]
    return Side(
        models=dict(Counter(outcome.model for outcome in good).most_common()),
        cost=_sum(outcome.cost or 0 for outcome in outcomes),
        failed_cost=_sum(outcome.cost or 0 for outcome in outcomes if outcome.error is not None),
        input_tokens=sum(outcome.input_tokens for outcome in good),
        output_tokens=sum(outcome.output_tokens for outcome in good),
        unpriced=sum(outcome.cost is None for outcome in outcomes),
        errors=dict(Counter(outcome.error for outcome in outcomes if outcome.error is not None)),
        quality=_quality(outcomes),
        latency_ms=_percentiles(outcome.latency_ms for outcome in good),
    )


def _quality(outcomes: Sequence[Outcome]) -> float | None:
    ratings = [outcome.quality for outcome in outcomes if outcome.error is None]
    return round(sum(ratings) / len(ratings), 3) if ratings else None


def _saving(run: Run, pairs: Sequence[_Pair]) -> Saving:
    before, after = sum(pair.before for pair in pairs), sum(pair.after for pair in pairs)
    cached = sum(pair.before - pair.after for pair in pairs if pair.hit)
    found: Interval | None = bootstrap([pair.bills for pair in pairs], run.seed)
    return Saving(
        compared=len(pairs),
        baseline_cost=before / NANO,
        cost=after / NANO,
        dollars=(before - after) / NANO,
        dollars_low=dollars(found.low) if found else None,
        dollars_high=dollars(found.high) if found else None,
        percent=_percent(before, after),
        percent_low=round(found.percent_low, 2) if found else None,
        percent_high=round(found.percent_high, 2) if found else None,
        resamples=RESAMPLES if found else 0,
        by_caching=cached / NANO,
        by_routing=(before - after - cached) / NANO,
        claimed=run.asahi_books.saved / NANO,
    )


def _types(pairs: Sequence[_Pair]) -> list[TypeSaving]:
    found = []
    for name in sorted({pair.case.type for pair in pairs if pair.case.type}):
        own = [pair for pair in pairs if pair.case.type == name]
        before, after = sum(pair.before for pair in own), sum(pair.after for pair in own)
        found.append(
            TypeSaving(
                type=name,
                requests=len(own),
                baseline_cost=before / NANO,
                cost=after / NANO,
                percent=_percent(before, after),
            )
        )
    return found


def _caching(run: Run) -> Caching:
    hits = [(case, outcome) for case, outcome in zip(run.cases, run.asahi, strict=True) if outcome.tier]
    tiers = Counter(outcome.tier for _, outcome in hits)
    kinds = Counter(case.kind for case, _ in hits)
    present = {case.kind for case in run.cases}
    return Caching(
        tiers=list(run.tiers),
        hits=len(hits),
        hit_rate=round(len(hits) / len(run.cases), 4),
        by_tier={str(tier): tiers[tier] for tier in (1, 2, 3)},
        by_kind={kind: kinds[kind] for kind in KINDS if kind in present},
        shared=sum(outcome.waited for _, outcome in hits),
    )


def _ledger(books: Books) -> Ledger:
    return Ledger(
        requests=books.requests,
        events=books.events,
        cost=books.cost / NANO,
        stored_cost=books.stored_cost / NANO,
        saved=books.saved / NANO,
        stored_saved=books.stored_saved / NANO,
        agree=books.agree,
    )


def _notes(run: Run, pairs: Sequence[_Pair]) -> list[str]:
    notes = []
    if run.mock:
        notes.append(
            "MOCK RUN: no provider was called and nothing was paid. Prices are the reference prices of the catalogue "
            "or of your configuration, answers and their token counts are synthetic, and a model's waiting time is a "
            "small share of its reference latency. The pipeline, the caches and the accounting are the real ones."
        )
    before, after = _quality(run.baseline), _quality(run.asahi)
    notes.append("Answer quality was not judged; the quality figures are only the models' ratings in the catalogue.")
    if before is not None and after is not None and after < before - _SAME_QUALITY:
        notes.append(
            f"Asahi answered from models rated {after:.2f} on average, the baseline is rated {before:.2f}. What was "
            "saved by choosing cheaper models is a saving only if they are good enough for these tasks; callers "
            "demand more with `quality_threshold` or `quality_preference`."
        )
    if len(pairs) < len(run.cases):
        notes.append(
            f"{len(run.cases) - len(pairs)} of {len(run.cases)} requests are left out of the comparison: "
            "they failed on one side, or their price is unknown."
        )
    if not any(case.meaning for case in run.cases):
        notes.append("This workload does not say which requests mean the same, so false hits cannot be counted.")
    if run.concurrency > 1:
        notes.append("Times include waiting for the other requests under way; measure them with --concurrency 1.")
    return notes


def _percentiles(values: Iterable[float]) -> Percentiles:
    found = sorted(values)
    if not found:
        return Percentiles(count=0)
    p50, p95, p99 = (round(nearest_rank(found, percent), 3) for percent in (50, 95, 99))
    return Percentiles(count=len(found), p50=p50, p95=p95, p99=p99)


def _percent(before: int, after: int) -> float | None:
    return round(100 * (before - after) / before, 2) if before else None


def _sum(amounts: Iterable[int]) -> float:
    return sum(amounts) / NANO
