"""Comparing: two lists of outcomes of the same cases become the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set

import msgspec
from msgspec import Struct

from asahi_kernel.benchmark.interval import RESAMPLES, Interval, bootstrap, nearest_rank
from asahi_kernel.benchmark.judging import judge
from asahi_kernel.benchmark.noting import notes
from asahi_kernel.benchmark.replaying import Books, Outcome
from asahi_kernel.benchmark.report import (
    Caching,
    Circumstances,
    Ledger,
    Percentiles,
    Report,
    Saving,
    Side,
    TypeSaving,
    Workload,
)
from asahi_kernel.benchmark.targets import targets
from asahi_kernel.benchmark.workload import KINDS, Case
from asahi_kernel.money import NANO, dollars


class Run(Struct, frozen=True, kw_only=True):
    """All that one run observed: per case one outcome of each side, in the order of the cases. `remarks` are what a
    reader of the workload must know; `bound` is the share of hits that may be false."""

    source: str
    built_in: bool
    bound: float
    remarks: tuple[str, ...]
    circumstances: Circumstances
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
    """One case that both sides answered at a known price; bills in nUSD. `overhead` is what Asahi itself spent
    because of it, besides `after`."""

    case: Case
    before: int
    after: int
    overhead: int
    tier: int

    @property
    def bills(self) -> tuple[int, int]:
        return self.before, self.after + self.overhead


def compare(run: Run) -> Report:
    """The report; deterministic but for the times."""
    pairs = _pairs(run)
    truth = judge(run.cases, run.asahi, run.bound, real=not run.mock)
    answered = [outcome for outcome in run.asahi if outcome.error is None]
    hits = [outcome for outcome in answered if not outcome.waited]
    report = Report(
        version=run.version,
        mock=run.mock,
        good=bool(pairs) and truth.proper and run.baseline_books.agree and run.asahi_books.agree,
        workload=_workload(run),
        baseline_model=run.baseline_model,
        baseline=_side(run.baseline),
        asahi=_side(run.asahi),
        saving=_saving(run, pairs, frozenset(truth.false_hit_ids)),
        types=_types(pairs),
        caching=_caching(run),
        truth=truth,
        hit_latency_ms=_percentiles(each.latency_ms for each in hits),
        tier_latency_ms={
            str(tier): _percentiles(each.latency_ms for each in hits if each.tier == tier)
            for tier in sorted({each.tier for each in hits})
        },
        miss_latency_ms=_percentiles(each.latency_ms for each in answered if each.waited),
        overhead_ms=_percentiles(each.overhead_ms for each in answered if each.overhead_ms is not None),
        baseline_books=_ledger(run.baseline_books),
        asahi_books=_ledger(run.asahi_books),
        targets=[],
        circumstances=run.circumstances,
        notes=[],
    )
    report = msgspec.structs.replace(report, targets=targets(report))
    return msgspec.structs.replace(report, notes=[*notes(report), *run.remarks])


def _pairs(run: Run) -> list[_Pair]:
    own = _shares(run)
    return [
        _Pair(case, before.cost, after.cost, after.overhead + share, after.tier)
        for case, before, after, share in zip(run.cases, run.baseline, run.asahi, own, strict=True)
        if before.error is None and after.error is None and before.cost is not None and after.cost is not None
    ]


def _shares(run: Run) -> list[int]:
    """What Asahi spent on calls of its own, spread evenly over the hits that they are made for, else over all."""
    learned = [place for place, outcome in enumerate(run.asahi) if outcome.tier > 1] or range(len(run.asahi))
    each, rest = divmod(run.asahi_books.own, len(learned) or 1)
    shares = [0] * len(run.asahi)
    for number, place in enumerate(learned):
        shares[place] = each + (number < rest)
    return shares


def _workload(run: Run) -> Workload:
    kinds = Counter(case.kind for case in run.cases)
    return Workload(
        source=run.source,
        built_in=run.built_in,
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


def _saving(run: Run, pairs: Sequence[_Pair], false: Set[str]) -> Saving:
    before, paid = sum(pair.before for pair in pairs), sum(pair.after for pair in pairs)
    overhead = sum(pair.overhead for pair in pairs)
    after = paid + overhead
    cached = {tier: sum(each.before - each.after for each in pairs if each.tier == tier) for tier in (1, 2, 3)}
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
        by_caching=sum(cached.values()) / NANO,
        by_tier={str(tier): amount / NANO for tier, amount in cached.items()},
        by_false_hits=sum(each.before - each.after for each in pairs if each.tier and each.case.id in false) / NANO,
        by_routing=(before - paid - sum(cached.values())) / NANO,
        overhead=overhead / NANO,
        claimed=run.asahi_books.stored_saved / NANO,
        claimed_by={name: amount / NANO for name, amount in sorted(run.asahi_books.saved_by.items())},
    )


def _types(pairs: Sequence[_Pair]) -> list[TypeSaving]:
    found = []
    for name in sorted({pair.case.type for pair in pairs if pair.case.type}):
        own = [pair for pair in pairs if pair.case.type == name]
        before, after = sum(pair.before for pair in own), sum(sum(pair.bills[1:]) for pair in own)
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
        own_calls=books.own / NANO,
        agree=books.agree,
    )


def _percentiles(values: Iterable[float]) -> Percentiles:
    found = sorted(values)
    if not found:
        return Percentiles(count=0)
    p50, p90, p95, p99 = (round(nearest_rank(found, percent), 3) for percent in (50, 90, 95, 99))
    return Percentiles(count=len(found), p50=p50, p90=p90, p95=p95, p99=p99)


def _percent(before: int, after: int) -> float | None:
    return round(100 * (before - after) / before, 2) if before else None


def _sum(amounts: Iterable[int]) -> float:
    return sum(amounts) / NANO
