"""The money: both bills, what was saved and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asahi_kernel.benchmark.page.charts import Bar, bars
from asahi_kernel.benchmark.page.wording import TIERS, dollars, percent, section, table, text

if TYPE_CHECKING:
    from asahi_kernel.benchmark.report import Report

#: The product's goal for the built-in workload, see `targets`.
_GOAL = (60.0, "target for the built-in workload: at least 60 %, not a measurement")


def render(report: Report) -> str:
    """The sections on money."""
    return "\n".join((_bills(report), _techniques(report), _types(report)))


def _bills(report: Report) -> str:
    saving = report.saving
    if not saving.compared:
        return section("The two bills", "<p>Nothing could be compared: see the checks.</p>")
    both = [
        Bar(name="without Asahi", value=saving.baseline_cost, shown=dollars(saving.baseline_cost), kind="baseline"),
        Bar(name="with Asahi", value=saving.cost, shown=dollars(saving.cost)),
    ]
    interval = Bar(
        name="saved",
        value=saving.percent,
        shown=percent(saving.percent),
        low=saving.percent_low,
        high=saving.percent_high,
    )
    told = "Too few requests for an interval."
    if saving.dollars_low is not None and saving.dollars_high is not None:
        told = (
            f"95 % interval: {percent(saving.percent_low)} to {percent(saving.percent_high)}, or "
            f"{dollars(saving.dollars_low)} to {dollars(saving.dollars_high)}; a bootstrap over requests with "
            f"{saving.resamples:,} resamples."
        )
    own = " Asahi's bill includes the calls that it made of its own accord." if saving.overhead else ""
    return section(
        "The two bills",
        f"<p>{saving.compared:,} requests were answered on both sides at a known price.{own}</p>",
        bars(both, max(saving.baseline_cost, saving.cost)),
        "<h3>Saving</h3>",
        bars([interval], 100.0, _GOAL if report.workload.built_in else None),
        f'<p class="small">{text(told)}</p>',
    )


def _techniques(report: Report) -> str:
    saving = report.saving
    found = {f"{TIERS[tier]} cache": amount for tier, amount in saving.by_tier.items() if amount or tier == "1"}
    found["cheaper models"] = saving.by_routing
    if saving.overhead:
        found["Asahi's own calls"] = -saving.overhead
    top = max(map(abs, found.values()))
    rows = [Bar(name=name, value=amount, shown=dollars(amount)) for name, amount in found.items()]
    false = ""
    if saving.by_false_hits:
        amount = dollars(saving.by_false_hits)
        false = f"<p><strong>{amount} of this was saved by false hits, which is no saving.</strong></p>"
    claimed = table(
        ("technique", "saved"),
        [(text(name.replace("_", " ")), dollars(amount)) for name, amount in saving.claimed_by.items()],
    )
    return section(
        "What saved it",
        bars(rows, top),
        false,
        '<p class="small">Both bills compared request by request: what a hit did not cost is the cache\'s, the rest is '
        "due to the choice of the model. Whether answers of cheaper models are good enough was not judged.</p>",
        "<details><summary>The same in Asahi's own books</summary>"
        f"<p>Asahi's events claim {dollars(saving.claimed)}. They price the answer that was given at the baseline "
        "model, where the figures above are two runs.</p>"
        f"{claimed}</details>",
    )


def _types(report: Report) -> str:
    if not report.types:
        return ""
    rows = [
        Bar(name=each.type, value=each.percent, shown=percent(each.percent))
        for each in sorted(report.types, key=lambda each: -(each.percent or 0.0))
    ]
    figures = table(
        ("task", "requests", "without Asahi", "with Asahi", "saved"),
        [
            (
                text(each.type),
                f"{each.requests:,}",
                dollars(each.baseline_cost),
                dollars(each.cost),
                percent(each.percent),
            )
            for each in report.types
        ],
    )
    return section("By type of task", bars(rows, 100.0), figures)
