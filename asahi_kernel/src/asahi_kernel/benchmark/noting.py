"""Noting: what a reader must know before trusting a figure of the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asahi_kernel.benchmark.report import Report

#: Ratings closer than this count as the same, on the scale of 5.
_SAME_QUALITY = 0.1


def notes(report: Report) -> Iterator[str]:
    """The notes in the order in which they matter."""
    if report.mock:
        yield from _mock(report)
    yield "Answer quality was not judged; the quality figures are only the models' ratings in the catalogue."
    before, after = report.baseline.quality, report.asahi.quality
    if before is not None and after is not None and after < before - _SAME_QUALITY:
        yield (
            f"Asahi answered from models rated {after:.2f} on average, the baseline is rated {before:.2f}. What was "
            "saved by choosing cheaper models is a saving only if they are good enough for these tasks; callers "
            "demand more with `quality_threshold` or `quality_preference`."
        )
    load = report.workload
    if report.saving.compared < load.requests:
        yield (
            f"{load.requests - report.saving.compared} of {load.requests} requests are left out of the comparison: "
            "they failed on one side, or their price is unknown."
        )
    if not report.truth.judged:
        yield "This workload does not say which requests mean the same, so false hits cannot be counted."
    if report.truth.unjudged:
        yield (
            f"{report.truth.unjudged:,} hits gave an answer that no request of this run was given by a model, as an "
            "answer from a recheck is: they are not judged."
        )
    yield from _semantic(report)
    if load.concurrency > 1:
        yield "Times include waiting for the other requests under way; measure them with --concurrency 1."


def _mock(report: Report) -> Iterator[str]:
    yield (
        "MOCK RUN: no provider was called and nothing was paid. Prices are the reference prices of the catalogue "
        "or of your configuration, answers and their token counts are synthetic, and a model's waiting time is a "
        "small share of its reference latency. The pipeline, the caches and the accounting are the real ones."
    )
    if report.truth.judged:
        yield (
            "The mock knows the truth: requests of one meaning get one answer, from every model. Real answers vary, "
            "so a cache that learns by comparing answers learns here under the best of conditions."
        )


def _semantic(report: Report) -> Iterator[str]:
    if "semantic" not in report.caching.tiers:
        return
    if not report.caching.by_tier["2"]:
        yield (
            "The semantic tier served nothing: for each type of task it only learns until it has proven that it stays "
            "under its `max_error_rate`. That takes no fewer than 3 ÷ `max_error_rate` requests that resemble another, "
            "mostly far more."
        )
    yield (
        "Which semantic hits are checked again is drawn by chance, so its figures differ a little from run to run; "
        "what the checks cost is in Asahi's bill."
    )
