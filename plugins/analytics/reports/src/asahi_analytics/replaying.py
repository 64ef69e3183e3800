"""Replays: what past requests would have cost otherwise, at today's prices, from what is recorded of them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from asahi_analytics.sampling import Sampled
from asahi_kernel.types import Usage

if TYPE_CHECKING:
    from asahi_kernel.registry import Registry

BASIS = "the same tokens at the cheapest model that no rule refused and that met the request's quality bound"
#: The quality that is asked for where a request had no bound of its own.
GOOD = 3.5
_FOLLOWS = timedelta(minutes=5)
_LONG = 1_024
#: Rules that refuse every model but the named one, which says nothing of the others.
_NAMING = frozenset({"explicit"})
Saves = list[tuple[Sampled, float]]


def cheaper(sampled: Sequence[Sampled], registry: Registry) -> Saves:
    """What each paid request would have saved at the cheapest adequate model; those alone that would have."""
    found = []
    for each in sampled:
        best = _best(each, registry)
        if best is not None and each.event.cost and best < each.event.cost:
            found.append((each, float(each.event.cost - best)))
    return found


def unasked(sampled: Sequence[Sampled], tier: int) -> Saves | None:
    """What requests that did not ask a tier would have saved at the hit rate of those that did; None where none did."""
    asked, others = [], []
    for each in sampled:
        lookups = each.decision.lookups if each.decision else ()
        earlier = each.event.cache_hit and 0 < each.event.cache_tier < tier
        if any(lookup.tier == tier and lookup.asked for lookup in lookups) or each.event.cache_tier == tier:
            asked.append(each)
        elif not earlier and each.event.cost:
            others.append(each)
    weight = sum(each.weight for each in asked)
    if not weight:
        return None
    rate = sum(each.weight for each in asked if each.event.cache_tier == tier) / weight
    return [(each, rate * (each.event.cost or 0)) for each in others] if rate else []


def shorter(sampled: Sequence[Sampled], registry: Registry, *, share: float) -> Saves:
    """What a share of the input tokens above the task's median cost."""
    sizes: defaultdict[str, list[int]] = defaultdict(list)
    for each in sampled:
        sizes[each.event.task_type].append(each.event.input_tokens)
    medians = {task: statistics.median(found) for task, found in sizes.items()}
    found = []
    for each in sampled:
        model = registry.by_name.get(each.event.model_selected)
        beyond = each.event.input_tokens - medians[each.event.task_type]
        if each.event.cost and model is not None and model.prices is not None and beyond > 0:
            found.append((each, share * model.prices.plain(int(beyond), 0)))
    return found


def uncached_prefixes(sampled: Sequence[Sampled], registry: Registry) -> Saves:
    """What half of a long prompt would have saved as a vendor's cached tokens, where one like it came just before."""
    last: dict[tuple[str | None, str, str], tuple[datetime, int]] = {}
    found = []
    for each in sorted(sampled, key=lambda each: each.event.timestamp):
        event = each.event
        model = registry.by_name.get(event.model_selected)
        if not event.cost or event.input_tokens < _LONG or model is None or model.prices is None:
            continue
        caller = (event.user_id, event.task_type, event.model_selected)
        before, last[caller] = last.get(caller), (event.timestamp, event.input_tokens)
        read = model.prices.cache_read
        if event.cached_tokens or event.cache_write_tokens or read is None or read >= model.prices.input:
            continue
        if before is not None and event.timestamp - before[0] <= _FOLLOWS:
            shared = min(before[1], event.input_tokens) // 2
            found.append((each, shared * (model.prices.input - read) / 1e9))
    return found


def _best(each: Sampled, registry: Registry) -> int | None:
    """What the cheapest adequate model asks for the same tokens."""
    decision, event = each.decision, each.event
    if decision is None or event.cache_hit or event.status != "ok":
        return None
    refused = {name for note in decision.rules if note.rule not in _NAMING for name in note.dropped}
    bound = decision.required.get("quality") or GOOD
    usage = Usage(event.input_tokens, event.output_tokens)
    prices = [
        registry.by_name[candidate.name].prices
        for candidate in decision.candidates
        if candidate.name in registry.by_name and candidate.name not in refused and candidate.quality >= bound
    ]
    return min((each.cost(usage) for each in prices if each is not None), default=None)
