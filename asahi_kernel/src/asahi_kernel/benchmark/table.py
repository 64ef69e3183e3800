"""The report as plain text, for someone who pays the bill."""

from __future__ import annotations

from collections.abc import Iterator

from asahi_kernel.benchmark.report import Ledger, Percentiles, Report, Side

_TIERS = {"1": "exact", "2": "semantic", "3": "intermediate"}
_KINDS = {
    "original": "first time asked",
    "repeat": "exact repeats",
    "paraphrase": "paraphrases",
    "near_miss": "near-misses",
    "trace": "from the trace",
}
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
    yield _money("  of which by choosing cheaper models", saving.by_routing)
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
        name = _TIERS[tier]
        absent = "" if hits or name in caching.tiers else f"   no {name} tier is installed or configured"
        yield f"  {f'  tier {tier}, {name}':<44}{hits:>12,}{absent}"
    if caching.shared:
        yield f"  {'  of these, shared a call under way':<44}{caching.shared:>12,}"
    for kind, hits in caching.by_kind.items():
        yield f"  {_KINDS[kind]:<44}{hits:>12,} of {kinds[kind]:,}{_remark(report, kind, hits)}"


def _remark(report: Report, kind: str, hits: int) -> str:
    if kind == "paraphrase" and not hits and "semantic" not in report.caching.tiers:
        return "   no semantic tier is installed"
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
    yield f"  {'':<44}{'requests':>10}{'p50':>12}{'p95':>12}{'p99':>12}"
    yield _time("without Asahi, the whole request", report.baseline.latency_ms)
    yield _time("with Asahi, answered from the cache", report.hit_latency_ms)
    yield _time("with Asahi, a provider was asked", report.miss_latency_ms)
    yield _time("Asahi's own work per request", report.overhead_ms)


def _checks(report: Report) -> Iterator[str]:
    truth = report.truth
    yield from _title("Checks")
    if truth.judged:
        yield _check("false hits", not truth.false_hits, f"{truth.false_hits} in {truth.judged:,} judged requests")
        for identity in truth.false_hit_ids[:10]:
            yield f"         {identity}"
    yield _check("books without Asahi", report.baseline_books.agree, _books(report.baseline_books))
    yield _check("books with Asahi", report.asahi_books.agree, _books(report.asahi_books))
    if not report.saving.compared:
        yield "  BAD  nothing could be compared: no request was answered on both sides at a known price"
    missed = f", {truth.missed_repeats} of {truth.repeats} repeats were not hit" if truth.missed_repeats else ""
    yield f"  result: {'good' if report.good else 'NOT GOOD'}{missed}"


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
    shown = ("none" if value is None else f"{value:,.3f}" for value in (found.p50, found.p95, found.p99))
    return f"  {name:<44}{found.count:>10,}" + "".join(f"{value:>12}" for value in shown)


def _check(name: str, good: bool, told: str) -> str:
    return f"  {'ok ' if good else 'BAD'}  {name}: {told}"


def _books(books: Ledger) -> str:
    return (
        f"{books.requests:,} requests, {books.events:,} events; answers cost {_dollars(books.cost)}, "
        f"storage holds {_dollars(books.stored_cost)}"
    )
