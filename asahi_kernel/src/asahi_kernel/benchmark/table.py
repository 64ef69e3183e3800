"""The report as plain text, for someone who pays the bill."""

from __future__ import annotations

from collections.abc import Iterator

from asahi_kernel.benchmark.report import Ledger, Percentiles, Report, Side, TierTruth, Truth

TIERS = {"1": "exact", "2": "semantic", "3": "intermediate"}
KINDS = {
    "original": "first time asked",
    "repeat": "exact repeats",
    "paraphrase": "paraphrases",
    "near_miss": "near-misses",
    "trace": "from the trace",
}
CHECKED = {True: "ok", False: "BAD"}
_WIDTH = 96


def render(report: Report) -> str:
    """The whole text, without a newline at the end."""
    lines = [*_head(report), *_bill(report), *_types(report), *_caching(report), *_models(report), *_times(report)]
    return "\n".join([*lines, *_checks(report), *_notes(report)])


def _head(report: Report) -> Iterator[str]:
    load = report.workload
    yield f"asahi benchmark {report.version}: {load.source}, {load.requests:,} requests, seed {load.seed}"
    if report.mock:
        yield "MOCK: reference prices, synthetic answers, nothing was paid (see the notes)"


def _bill(report: Report) -> Iterator[str]:
    saving = report.saving
    yield from _title(f"The bill ({saving.compared:,} requests answered on both sides)")
    yield _money(f"without Asahi, on {report.baseline_model}", saving.baseline_cost)
    yield _money("with Asahi", saving.cost)
    yield _money("saved", saving.dollars, "" if saving.percent is None else f"{saving.percent:.2f} %")
    if saving.dollars_low is not None and saving.dollars_high is not None:
        yield (
            f"  {'  95 % interval':<44}{_dollars(saving.dollars_low)} to {_dollars(saving.dollars_high)}"
            f"   ({saving.percent_low:.2f} % to {saving.percent_high:.2f} %)"
        )
    yield _money("  of which by caching", saving.by_caching)
    if saving.by_false_hits:
        yield _money("    of this by false hits, which is no saving", saving.by_false_hits)
    yield _money("  of which by choosing cheaper models", saving.by_routing)
    if saving.overhead:
        yield _money("  less what Asahi's own calls cost", -saving.overhead)
    yield _money("saved according to Asahi's own events", saving.claimed)
    for name, side in (("without Asahi", report.baseline), ("with Asahi", report.asahi)):
        if side.failed_cost:
            yield _money(f"failed requests {name}", side.failed_cost)
        if side.unpriced:
            yield f"  requests {name} of unknown price: {side.unpriced}"


def _types(report: Report) -> Iterator[str]:
    if report.types:
        yield from _title("By type of task")
        yield f"  {'':<24}{'requests':>10}{'without Asahi':>16}{'with Asahi':>14}{'saved':>10}"
        for each in report.types:
            percent = "" if each.percent is None else f"{each.percent:.1f} %"
            before, after = _dollars(each.baseline_cost), _dollars(each.cost)
            yield f"  {each.type:<24}{each.requests:>10,}{before:>16}{after:>14}{percent:>10}"


def _caching(report: Report) -> Iterator[str]:
    caching, kinds = report.caching, report.workload.kinds
    yield from _title("Answers from the cache")
    share = f"{100 * caching.hit_rate:.1f} %"
    yield f"  {'hits':<44}{caching.hits:>12,} of {report.workload.requests:,}   {share}"
    for tier, hits in caching.by_tier.items():
        name = TIERS[tier]
        absent = "" if hits or name in caching.tiers else "   not in use"
        yield f"  {f'  tier {tier}, {name}':<44}{hits:>12,}{absent}"
    if caching.shared:
        yield f"  {'  of these, shared a call under way':<44}{caching.shared:>12,}"
    for kind, hits in caching.by_kind.items():
        yield f"  {KINDS[kind]:<44}{hits:>12,} of {kinds[kind]:,}{_remark(report, kind, hits)}"


def _remark(report: Report, kind: str, hits: int) -> str:
    if kind == "paraphrase" and not hits and "semantic" not in report.caching.tiers:
        return "   the semantic tier is not in use, see --semantic"
    return {"repeat": "   should all hit", "near_miss": "   must not hit"}.get(kind, "")


def _models(report: Report) -> Iterator[str]:
    yield from _title("Who answered (on hits: who gave the stored answer)")
    yield f"  {'':<44}{'without Asahi':>14}{'with Asahi':>14}"
    before, after = report.baseline.models, report.asahi.models
    for model in {**before, **after}:
        yield f"  {model:<44}{before.get(model, 0):>14,}{after.get(model, 0):>14,}"
    rows = {
        "tokens read": (f"{report.baseline.input_tokens:,}", f"{report.asahi.input_tokens:,}"),
        "tokens written": (f"{report.baseline.output_tokens:,}", f"{report.asahi.output_tokens:,}"),
        "quality by the catalogue, of 5, not judged": (_quality(report.baseline), _quality(report.asahi)),
        "errors": (_errors(report.baseline), _errors(report.asahi)),
    }
    for name, (left, right) in rows.items():
        yield f"  {name:<44}{left:>14}{right:>14}"


def _times(report: Report) -> Iterator[str]:
    yield from _title("Times in milliseconds")
    yield f"  {'':<44}{'requests':>10}{'p50':>10}{'p90':>10}{'p95':>10}{'p99':>10}"
    yield _time("without Asahi, the whole request", report.baseline.latency_ms)
    yield _time("with Asahi, the whole request", report.asahi.latency_ms)
    for tier, found in report.tier_latency_ms.items():
        yield _time(f"  answered by tier {tier}, {TIERS[tier]}", found)
    yield _time("  a provider was asked", report.miss_latency_ms)
    yield _time("Asahi's own work per request", report.overhead_ms)


def _checks(report: Report) -> Iterator[str]:
    truth = report.truth
    yield from _title("Checks")
    if truth.judged:
        yield _check("false hits", truth.proper, _false(truth))
        if len(truth.by_tier) > 1:
            for each in truth.by_tier:
                yield f"         tier {each.tier}: {each.false_hits:,} of {each.hits:,} hits, {_rate(each)}"
        for identity in truth.false_hit_ids[:10]:
            yield f"         {identity}"
        if truth.false_hits > 10:
            yield f"         and {truth.false_hits - 10:,} more, see --report and --html"
    yield _check("books without Asahi", report.baseline_books.agree, _books(report.baseline_books))
    yield _check("books with Asahi", report.asahi_books.agree, _books(report.asahi_books))
    if not report.saving.compared:
        yield "  BAD  nothing could be compared: no request was answered on both sides at a known price"
    missed = f", {truth.missed_repeats} of {truth.repeats} repeats were not hit" if truth.missed_repeats else ""
    yield f"  result: {'good' if report.good else 'NOT GOOD'}{missed}"


def _false(truth: Truth) -> str:
    told = f"{truth.false_hits:,} in {truth.judged:,} judged requests"
    return f"{told}; of {truth.hits:,} hits {_rate(truth)}" if truth.hits else told


def _rate(found: Truth | TierTruth) -> str:
    if found.rate is None or found.rate_low is None or found.rate_high is None:
        return "none"
    low, high = 100 * found.rate_low, 100 * found.rate_high
    return f"{100 * found.rate:.2f} %   (95 % interval {low:.2f} % to {high:.2f} %)"


def _notes(report: Report) -> Iterator[str]:
    from textwrap import wrap

    yield from _title("Notes")
    for note in report.notes:
        yield from wrap(note, _WIDTH, initial_indent="  - ", subsequent_indent="    ")


def _title(text: str) -> tuple[str, str]:
    return "", text


def _money(name: str, amount: float, remark: str = "") -> str:
    return f"  {name:<44}{_dollars(amount):>14}   {remark}".rstrip()


def _dollars(amount: float) -> str:
    return f"-${-amount:,.6f}" if amount < 0 else f"${amount:,.6f}"


def _quality(side: Side) -> str:
    return "none" if side.quality is None else f"{side.quality:.2f}"


def _errors(side: Side) -> str:
    return ", ".join(f"{count} {code}" for code, count in side.errors.items()) or "0"


def _time(name: str, found: Percentiles) -> str:
    shown = ("none" if value is None else f"{value:,.3f}" for value in (found.p50, found.p90, found.p95, found.p99))
    return f"  {name:<44}{found.count:>10,}" + "".join(f"{value:>10}" for value in shown)


def _check(name: str, good: bool, told: str) -> str:
    return f"  {CHECKED[good]:<3}  {name}: {told}"


def _books(books: Ledger) -> str:
    own = f", and {_dollars(books.own_calls)} for calls of Asahi's own" if books.own_calls else ""
    return (
        f"{books.requests:,} requests, {books.events:,} events; answers cost {_dollars(books.cost)}, "
        f"storage holds {_dollars(books.stored_cost)}{own}"
    )
