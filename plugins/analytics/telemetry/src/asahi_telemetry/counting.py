"""Counting: what one settled request adds to a tally. The rules are those of the totals in storage."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from asahi_kernel.records import OWN, Event
from asahi_telemetry.families import BY_NAME, MICRO
from asahi_telemetry.tally import MOST, Labels, Tally

#: Not metrics themselves: the mean quality is told from them.
QUALITY, QUALITY_COUNT = "_quality_milli", "_quality_count"
_TIERS = (1, 2, 3)
_LATENCY = BY_NAME["asahi_latency_ms"].bounds
_NAMES = ("0", "1", "2", "3")
#: What a vendor takes is not Asahi's own time.
_VENDORS = "inference"


class Counting:
    """Counts events. With `org_label` the metrics that may be told apart by org are."""

    def __init__(self, tally: Tally, *, org_label: bool = False) -> None:
        self._tally = tally
        self._org_label = org_label
        self._known: dict[tuple[object, ...], tuple[list[int], list[int]]] = {}

    def count(self, event: Event) -> None:
        """What Asahi asks of its own accord is no request: it only costs."""
        org: Labels = (event.org_id,) if self._org_label else ()
        model = event.model_selected or "none"
        self._money(event, model, org)
        self._attempts(event)
        if event.route == OWN:
            return
        tally = self._tally
        requests, latency = self._often(event, model, org)
        requests[0] += 1
        latency[bisect_left(_LATENCY, event.latency_ms)] += 1
        latency[-1] += round(event.latency_ms * MICRO)
        for stage, spent in event.latency_breakdown.items():
            if stage != _VENDORS:
                tally.observe("asahi_overhead_ms", (stage,), spent)
        if event.status == "failed":
            tally.add("asahi_errors_total", (event.error or "unknown", "request"), 1)
        if event.status == "ok":
            self._answer(event, model, org)
        if event.quality_score is not None:
            tally.add(QUALITY, (model,), round(event.quality_score * 1e3))
            tally.add(QUALITY_COUNT, (model,), 1)

    def _often(self, event: Event, model: str, org: Labels) -> tuple[list[int], list[int]]:
        key = (model, event.task_type, event.cache_tier, event.status, org)
        held = self._known.get(key)
        if held is None:
            if len(self._known) >= MOST:
                self._known.clear()
            tier = str(event.cache_tier)
            requests = self._tally.held("asahi_requests_total", (model, event.task_type, tier, event.status, *org))
            held = self._known[key] = requests, self._tally.held("asahi_latency_ms", (model, tier))
        return held

    def _money(self, event: Event, model: str, org: Labels) -> None:
        tally, labels = self._tally, (model, *org)
        if event.cost is None:
            tally.add("asahi_unpriced_requests_total", org, 1)
        else:
            tally.add("asahi_cost_dollars_total", labels, event.cost)
        if event.route != OWN:
            tally.add("asahi_baseline_dollars_total", labels, event.baseline_cost)
        if event.overhead_cost:
            tally.add("asahi_overhead_dollars_total", labels, event.overhead_cost)
        for technique, amount in event.saved_by.items():
            tally.add("asahi_savings_dollars", (technique, *org), amount)
            if amount > 0:
                tally.add("asahi_savings_dollars_total", (technique, *org), amount)

    def _attempts(self, event: Event) -> None:
        for attempt in event.attempts:
            self._tally.add("asahi_provider_attempts_total", (attempt.provider, attempt.outcome), 1)

    def _answer(self, event: Event, model: str, org: Labels) -> None:
        tally = self._tally
        tally.observe("asahi_token_count", ("input",), event.input_tokens)
        tally.observe("asahi_token_count", ("output",), event.output_tokens)
        if event.ttft_ms is not None and not event.cache_hit:
            tally.observe("asahi_ttft_ms", (model,), event.ttft_ms)
        if event.cache_hit:
            tally.add("asahi_cache_hits_total", (_NAMES[event.cache_tier], *org), 1)
        for tier in _TIERS:
            if not event.cache_hit or tier < event.cache_tier:
                tally.add("asahi_cache_misses_total", (_NAMES[tier], *org), 1)


def count_faults(tally: Tally, faults: Mapping[str, int], seen: dict[str, int]) -> None:
    """Count what the gateway's own counts of faults have grown by; `seen` is what was counted before."""
    for name, total in faults.items():
        grown = total - seen.get(name, 0)
        if grown > 0:
            seen[name] = total
            tally.add(*_fault(name), grown)


_KNOWN = {
    "budget.refused.": "asahi_budget_refusals_total",
    "rate.limited.": "asahi_rate_limited_total",
    "budget.overshoot_nano.": "asahi_budget_overshoot_dollars_total",
}


def _fault(name: str) -> tuple[str, Labels]:
    for prefix, metric in _KNOWN.items():
        if name.startswith(prefix):
            return metric, (name.removeprefix(prefix),)
    kind, _, rest = name.partition(".")
    if kind == "alerts" and "." in rest:
        state, _, anomaly = rest.partition(".")
        return "asahi_alerts_total", (state, anomaly)
    return "asahi_errors_total", ("fault", name)
