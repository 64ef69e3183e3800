"""The judgement: hits that were false, and which they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asahi_kernel.benchmark.page.charts import Bar, bars
from asahi_kernel.benchmark.page.wording import NONE, TIERS, section, share, table, text

if TYPE_CHECKING:
    from asahi_kernel.benchmark.report import FalseHit, Report, Truth

#: What a rate is drawn against: small ones must be told apart.
_SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
#: A tier with fewer hits has so wide an interval that the others would vanish beside it.
_ENOUGH = 100
#: So many false hits are shown at once.
_OPEN = 25


def render(report: Report) -> str:
    """The section on false hits."""
    truth = report.truth
    if not truth.judged:
        return section(
            "False hits", "<p>This workload does not say which requests mean the same, so nothing can be judged.</p>"
        )
    intro = (
        f"<p>{truth.judged:,} requests have a known truth, and {truth.hits:,} of them were hits. A hit is false when "
        "it gave an answer that no request of the same meaning had been given by a model.</p>"
    )
    return section("False hits", intro, _rates(truth), _list(truth))


def _rates(truth: Truth) -> str:
    if not truth.hits:
        return ""
    most = max(each.hits for each in truth.by_tier)
    top = max(each.rate_high for each in truth.by_tier if each.hits >= min(most, _ENOUGH))
    scale = next(each for each in _SCALES if each >= top)
    rows = [
        Bar(
            name=f"tier {each.tier}, {TIERS[str(each.tier)]}",
            value=each.rate,
            shown=f"{each.false_hits:,} of {each.hits:,} · {share(each.rate, 2)}",
            kind="loss",
            low=each.rate_low,
            high=each.rate_high,
        )
        for each in truth.by_tier
    ]
    intervals = "; ".join(
        f"tier {each.tier}: {share(each.rate_low, 2)} to {share(each.rate_high, 2)}" for each in truth.by_tier
    )
    bound = f" Allowed for a learning tier in this run: {share(truth.bound, 2)}." if truth.bound else ""
    beyond = "; one that ends at the edge goes on" if any(each.rate_high > scale for each in truth.by_tier) else ""
    note = f"Scale 0 to {share(scale, 0)}{beyond}. 95 % intervals after Wilson: {intervals}.{bound}"
    return f'{bars(rows, scale)}<p class="small">{text(note)}</p>'


def _list(truth: Truth) -> str:
    if not truth.false_hits:
        return "<p><strong>No false hit was seen.</strong></p>" if truth.hits else ""
    answers = any(each.answer for each in truth.told)
    head = ("request", "tier", "asked", "was given the answer to", *(("that answer",) if answers else ()))
    listed = table(head, [_false(each, answers) for each in truth.told], texts=len(head))
    more = truth.false_hits - len(truth.told)
    rest = f"<p>{more:,} more are in the JSON report by their ids.</p>" if more else ""
    opened = " open" if len(truth.told) <= _OPEN else ""
    return f'<details class="list"{opened}><summary>The false hits</summary>{listed}{rest}</details>'


def _false(found: FalseHit, answers: bool) -> tuple[str, ...]:
    asked = _question(found.prompt, found.meaning)
    source = NONE if found.answers is None else _question(found.answers, found.answers_meaning or "")
    return text(found.id), str(found.tier), asked, source, *((text(found.answer),) if answers else ())


def _question(prompt: str, meaning: str) -> str:
    return f'{text(prompt)}<br><span class="small">{text(meaning)}</span>'
