"""Targets: the product's goals that a run can speak to, each beside what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asahi_kernel.benchmark.report import Target

if TYPE_CHECKING:
    from asahi_kernel.benchmark.report import Percentiles, Report

_SAVING = 60.0
_FALSE = 0.01
_EXACT_MS = 1.0
_SEMANTIC_MS = 10.0
_UNKNOWN = "not measured in this run"


def targets(report: Report) -> list[Target]:
    """Those for this workload; a goal for the built-in workload says nothing of another."""
    found = [_false(report), _time("1", "exact hit", _EXACT_MS, report.tier_latency_ms)]
    if "semantic" in report.caching.tiers:
        found.append(_time("2", "semantic hit, local embedder", _SEMANTIC_MS, report.tier_latency_ms))
    if report.workload.built_in:
        found = [_saving(report), *found, _near_misses(report)]
    return found


def _saving(report: Report) -> Target:
    saving = report.saving
    measured, met = _UNKNOWN, None
    if saving.percent_low is not None:
        measured = f"{saving.percent:.1f} % ({saving.percent_low:.1f} to {saving.percent_high:.1f} %)"
        met = saving.percent_low >= _SAVING
    return Target(
        name="saving on the built-in workload", target=f"at least {_SAVING:.0f} %", measured=measured, met=met
    )


def _false(report: Report) -> Target:
    semantic = next((each for each in report.truth.by_tier if each.tier == 2), None)
    measured, met = _UNKNOWN, None
    if semantic is not None:
        measured = f"{100 * semantic.rate:.3f} % of {semantic.hits:,} hits"
        measured += f" ({100 * semantic.rate_low:.2f} to {100 * semantic.rate_high:.2f} %)"
        if semantic.rate_high <= _FALSE or semantic.rate_low > _FALSE:
            met = semantic.rate_high <= _FALSE
        else:
            measured += ", too few hits to tell"
    return Target(
        name="false hits of the semantic tier", target=f"at most {100 * _FALSE:g} %", measured=measured, met=met
    )


def _near_misses(report: Report) -> Target:
    asked = report.workload.kinds.get("near_miss", 0)
    hits = report.caching.by_kind.get("near_miss", 0)
    measured = f"{hits:,} of {asked:,}" if asked else _UNKNOWN
    return Target(name="near-misses that were hit", target="0", measured=measured, met=not hits if asked else None)


def _time(tier: str, name: str, most: float, found: dict[str, Percentiles]) -> Target:
    own = found.get(tier)
    if own is None or own.p99 is None:
        return Target(name=f"{name}, p99", target=f"under {most:g} ms", measured=_UNKNOWN, met=None)
    return Target(name=f"{name}, p99", target=f"under {most:g} ms", measured=f"{own.p99:.3f} ms", met=own.p99 < most)
