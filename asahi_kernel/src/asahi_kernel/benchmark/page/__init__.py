"""The report as a page: one file that needs no network, no script and no other file."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from asahi_kernel.benchmark.page import caching, circumstances, judgement, money, times
from asahi_kernel.benchmark.page.wording import day, dollars, percent, share, text

if TYPE_CHECKING:
    from asahi_kernel.benchmark.report import Report

#: Even if a text slipped through unescaped, nothing would be loaded or run.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(report: Report) -> str:
    """The whole document. Whatever came from a workload stands in it as text."""
    style = (files(__package__) / "style.css").read_text("utf-8")
    load = report.workload
    title = f"Asahi benchmark: {load.source}"
    sections = (money, caching, judgement, times, circumstances)
    body = "\n".join(section.render(report) for section in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{_head(report)}
{_tiles(report)}
{body}
</main>
</body>
</html>
"""


def _head(report: Report) -> str:
    load = report.workload
    told = (
        "Mock run: reference prices and synthetic answers, nothing was paid."
        if report.mock
        else "Real providers answered and were paid."
    )
    verdict = (
        '<span class="badge good">✓ all checks passed</span>'
        if report.good
        else '<span class="badge bad">✗ a check failed</span>'
    )
    return f"""<header>
<p class="eyebrow">Asahi benchmark {text(report.version)}</p>
<h1>The same {load.requests:,} requests, billed twice</h1>
<p class="lead">Workload: <strong>{text(load.source)}</strong>, seed {load.seed}, replayed without Asahi on
<strong>{text(report.baseline_model)}</strong> and through Asahi, {day(report.circumstances.started)}.</p>
<p><span class="badge {"mock" if report.mock else "paid"}">{told}</span> {verdict}</p>
</header>"""


def _tiles(report: Report) -> str:
    saving, truth, cache = report.saving, report.truth, report.caching
    between = (
        f"95 % interval {percent(saving.percent_low)} to {percent(saving.percent_high)}"
        if saving.percent_low is not None
        else "too few requests for an interval"
    )
    false = f"{truth.false_hits:,} of {truth.hits:,}" if truth.judged else "unknown"
    interval = (
        f"judged hits; 95 % interval {share(truth.rate_low, 2)} to {share(truth.rate_high, 2)}"
        if truth.hits
        else ("no hit could be judged" if truth.judged else "the workload does not tell what is true")
    )
    tiles = (
        ("Saved", percent(saving.percent), between, "strong"),
        ("Saved in this run", dollars(saving.dollars), f"of {dollars(saving.baseline_cost)} without Asahi", ""),
        (
            "Answered from a cache",
            share(cache.hit_rate),
            f"{cache.hits:,} of {report.workload.requests:,} requests",
            "",
        ),
        ("False hits", false, interval, "" if truth.proper else "bad"),
    )
    shown = "\n".join(
        f'<div class="tile {kind}"><dt>{name}</dt><dd>{text(value)}</dd><dd class="small">{text(remark)}</dd></div>'
        for name, value, remark, kind in tiles
    )
    return f'<dl class="tiles">\n{shown}\n</dl>'
