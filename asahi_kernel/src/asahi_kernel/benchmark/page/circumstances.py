"""The circumstances: who answered, the checks, the targets, and how to do the run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asahi_kernel.benchmark.page.wording import day, dollars, prose, section, table, text
from asahi_kernel.benchmark.table import CHECKED

if TYPE_CHECKING:
    from asahi_kernel.benchmark.report import Ledger, Report

_MET = {True: '<span class="badge good">met</span>', False: '<span class="badge bad">missed</span>', None: ""}


def render(report: Report) -> str:
    """The sections that let a reader judge the others."""
    return "\n".join((_models(report), _targets(report), _checks(report), _again(report), _notes(report)))


def _models(report: Report) -> str:
    before, after = report.baseline, report.asahi
    rows = [
        (text(model), f"{before.models.get(model, 0):,}", f"{after.models.get(model, 0):,}")
        for model in {**before.models, **after.models}
    ]
    rows += [
        ("tokens read", f"{before.input_tokens:,}", f"{after.input_tokens:,}"),
        ("tokens written", f"{before.output_tokens:,}", f"{after.output_tokens:,}"),
        ("quality by the catalogue, of 5, not judged", _rating(before.quality), _rating(after.quality)),
        ("errors", _errors(before.errors), _errors(after.errors)),
    ]
    return section(
        "Who answered",
        table(("", "without Asahi", "with Asahi"), rows),
        '<p class="small">A hit counts for the model that gave the stored answer.</p>',
    )


def _targets(report: Report) -> str:
    rows = [(text(each.name), text(each.target), text(each.measured), _MET[each.met]) for each in report.targets]
    return section(
        "Targets",
        "<p>Goals of the product, beside what this run measured. A goal is not a measurement.</p>",
        table(("goal", "target", "measured in this run", ""), rows, texts=4),
    )


def _checks(report: Report) -> str:
    truth = report.truth
    rows = [
        ("books without Asahi", report.baseline_books.agree, _books(report.baseline_books)),
        ("books with Asahi", report.asahi_books.agree, _books(report.asahi_books)),
        ("something to compare", bool(report.saving.compared), f"{report.saving.compared:,} requests"),
    ]
    if truth.judged:
        rows.insert(0, ("false hits", truth.proper, f"{truth.false_hits:,} of {truth.hits:,} judged hits"))
    shown = [
        (text(name), f'<span class="badge {"good" if good else "bad"}">{CHECKED[good]}</span>', text(told))
        for name, good, told in rows
    ]
    missed = f"<p>{truth.missed_repeats:,} of {truth.repeats:,} exact repeats were not hit.</p>"
    return section("Checks", table(("check", "", "found"), shown, texts=3), missed if truth.missed_repeats else "")


def _again(report: Report) -> str:
    around, load = report.circumstances, report.workload
    found, machine = around.configuration, around.machine
    rows = [
        ("began", f"{day(around.started)}, took {around.duration_s:g} s"),
        ("version", report.version),
        ("workload", f"{load.source}, {load.requests:,} requests, seed {load.seed}, {load.concurrency} at a time"),
        ("machine", f"{machine.processor}, {machine.cores} cores, {machine.system}, {machine.python}"),
        ("configuration", f"{found.source}, profile {found.profile}, {found.models} models"),
        ("providers", ", ".join(found.providers)),
        ("caches", ", ".join(found.tiers) or "none"),
        ("rules", ", ".join(found.rules) or "none"),
        ("transforms", ", ".join(found.transforms) or "none"),
        ("policies", ", ".join(found.policies) or "none"),
    ]
    command = (
        f'<pre tabindex="0"><code>{text(around.command)}</code></pre>'
        if around.command
        else "<p>The run was started from code, not from the command line.</p>"
    )
    return section(
        "Do it again",
        command,
        f"<p>{_repeatable(report)}</p>",
        table(("", ""), [(name, text(value)) for name, value in rows], texts=2),
    )


def _repeatable(report: Report) -> str:
    if report.caching.by_tier["2"] or report.caching.by_tier["3"]:
        return "What a learning cache serves depends on chance too: the bills will be close, not equal."
    if report.workload.concurrency > 1:
        return "With several requests at a time Asahi learns in another order: the bills will be close, not equal."
    if not report.mock:
        return "Models answer differently each time: the bills will be close, not equal."
    return "With the same version, configuration and seed the bills are the same; the times are the machine's."


def _notes(report: Report) -> str:
    return section("Notes", "<ul>" + "\n".join(f"<li>{prose(note)}</li>" for note in report.notes) + "</ul>")


def _books(books: Ledger) -> str:
    own = f", and {dollars(books.own_calls)} for calls of Asahi's own" if books.own_calls else ""
    return (
        f"{books.requests:,} requests, {books.events:,} events; answers cost {dollars(books.cost)}, storage holds "
        f"{dollars(books.stored_cost)}{own}"
    )


def _rating(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _errors(found: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {text(code)}" for code, count in found.items()) or "0"
