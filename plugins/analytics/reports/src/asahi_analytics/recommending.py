"""`recommendations`: what would lower the bill, each with what it would have saved in the org's own last seven days.

A condition looks at a sample of the week. Its estimate is the sum over the sampled requests of what each would have
cost less; the interval is that of the seven days' sums, so it holds both the sampling and how days differ.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import Struct

from asahi_analytics import replaying
from asahi_analytics.intervals import of_mean
from asahi_analytics.sampling import WEEK, Sampled, sample
from asahi_kernel.money import dollars
from asahi_kernel.reports import Scope, Told

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.registry import Registry

#: Requests without which nothing is recommended.
LEAST = 10
_FRESH_S = 60.0
_ORDER = ("high", "medium", "low")
_SHOWN = 10


class Recommended(Struct, frozen=True, kw_only=True):
    """No parameters."""


class Advice(Struct, frozen=True, kw_only=True):
    """A condition that holds. `saves` is what each request behind it would have saved, in nUSD, None where nothing can
    be replayed; `basis` says how it was replayed."""

    name: str
    category: Literal["cache", "routing", "token", "model"]
    priority: Literal["high", "medium", "low"]
    title: str
    description: str
    action: str
    basis: str
    saves: Sequence[tuple[Sampled, float]] | None


Condition: TypeAlias = Callable[[Sequence[Sampled], "Registry"], Iterator[Advice]]


async def recommendations(gateway: Gateway, scope: Scope, asked: Recommended) -> Told:
    """What would lower the bill, high, medium and low: each with an estimate in dollars for 30 days, replayed on the
    org's own last seven days, its 95 % interval, and the request ids behind it."""
    now = datetime.now(UTC)
    kept: dict[str, tuple[float, list[dict[str, Any]]]] = gateway.shared.setdefault("analytics.recommendations", {})
    if scope.org not in kept or time.monotonic() - kept[scope.org][0] > _FRESH_S:
        sampled = await sample(gateway.storage, scope.org, now)
        kept[scope.org] = time.monotonic(), advise(sampled, gateway.registry)
    rows = kept[scope.org][1]
    table = [row | {"evidence": None, "interval": None} for row in rows]
    return Told(data=rows, start=now - WEEK, end=now, table=table)


def advise(sampled: Sequence[Sampled], registry: Registry) -> list[dict[str, Any]]:
    """Every condition that holds."""
    if sum(each.weight for each in sampled) < LEAST:
        return []
    found = [advice for condition in CONDITIONS for advice in condition(sampled, registry)]
    return [told(each) for each in sorted(found, key=lambda each: _ORDER.index(each.priority))]


def told(advice: Advice) -> dict[str, Any]:
    """As JSON-ready data. Money in dollars for 30 days."""
    estimate, interval, behind = None, None, advice.saves or ()
    if advice.saves is not None:
        days = [0.0] * 7
        for each, saved in advice.saves:
            days[min(each.day, 6)] += saved * each.weight
        bounds = of_mean(days)
        estimate = dollars(round(sum(days) / 7 * 30))
        interval = tuple(dollars(round(max(0.0, each) * 30)) for each in bounds) if bounds else None
    best = sorted(behind, key=lambda each: -each[1])[:_SHOWN]
    return {
        "id": advice.name,
        "category": advice.category,
        "title": advice.title,
        "description": advice.description,
        "estimated_savings": estimate,
        "interval": interval,
        "evidence": {
            "request_ids": [each.event.request_id for each, _ in best],
            "requests": len(behind),
            "basis": advice.basis,
        },
        "priority": advice.priority,
        "action": advice.action,
    }


def hit_rates(sampled: Sequence[Sampled], registry: Registry) -> Iterator[Advice]:
    """Overall hit rate below 50 %, and that of the semantic tier below 20 %."""
    asked = [each for each in sampled if each.event.status == "ok"]
    total = sum(each.weight for each in asked) or 1.0
    rate = sum(each.weight for each in asked if each.event.cache_hit) / total
    if rate < 0.5:
        yield Advice(
            name="cache-hit-rate",
            category="cache",
            priority="high",
            title=f"the caches answer {100 * rate:.0f} % of requests",
            description="requests that bypass the cache would be answered as often as those that ask it",
            action="leave `cache` on where callers switch it off, and prompts that repeat without dates or ids in them",
            basis="the cost of paid requests that asked no tier, times the hit rate of those that did",
            saves=replaying.unasked(asked, 1),
        )
    near = sum(each.weight for each in asked if each.event.cache_tier == 2) / total
    if near < 0.2:
        yield Advice(
            name="semantic-hit-rate",
            category="cache",
            priority="medium",
            title=f"the semantic cache answers {100 * near:.0f} % of requests",
            description="requests that did not ask the semantic tier would be answered as often as those that did",
            action="configure `cache_tiers.semantic`; its controller serves only where its error bound holds",
            basis="the cost of paid requests that did not ask tier 2, times the hit rate of those that did",
            saves=replaying.unasked(asked, 2),
        )


def dear_groups(sampled: Sequence[Sampled], registry: Registry) -> Iterator[Advice]:
    """A task whose requests cost more than a cent each and are more than 30 % of traffic."""
    total = sum(each.weight for each in sampled)
    for task, _ in Counter(each.event.task_type for each in sampled).most_common():
        group = [each for each in sampled if each.event.task_type == task]
        size = sum(each.weight for each in group)
        mean = sum((each.event.cost or 0) * each.weight for each in group) / size
        if mean > 10_000_000 and size > 0.3 * total:
            yield Advice(
                name=f"dear-{task}",
                category="routing",
                priority="high",
                title=f"{task} costs ${mean / 1e9:.4f} a request and is {100 * size / total:.0f} % of traffic",
                description="the cheapest model that was adequate would have answered for less",
                action="let Asahi route this task (mode autopilot), or name a cheaper model for it",
                basis=replaying.BASIS,
                saves=replaying.cheaper(group, registry),
            )


def uneven_prompts(sampled: Sequence[Sampled], registry: Registry) -> Iterator[Advice]:
    """The input tokens vary by more than half of their mean."""
    sizes = [each.event.input_tokens for each in sampled if each.event.input_tokens]
    if len(sizes) < LEAST:
        return
    mean = sum(sizes) / len(sizes)
    spread = (sum((each - mean) ** 2 for each in sizes) / len(sizes)) ** 0.5 / mean
    if spread > 0.5:
        yield Advice(
            name="uneven-prompts",
            category="token",
            priority="medium",
            title=f"prompts differ much in length (coefficient of variation {spread:.2f})",
            description="prompts above the task's median hold context that most questions do without",
            action="set `optimize_tokens`, or cut history and documents of the longest prompts",
            basis="a quarter of the input tokens above the task's median, at the price paid",
            saves=replaying.shorter(sampled, registry, share=0.25),
        )


def one_model(sampled: Sequence[Sampled], registry: Registry) -> Iterator[Advice]:
    """One model answers more than 80 % of traffic."""
    total = sum(each.weight for each in sampled)
    for model in {each.event.model_selected for each in sampled} - {""}:
        group = [each for each in sampled if each.event.model_selected == model]
        share = sum(each.weight for each in group) / total
        if share > 0.8:
            yield Advice(
                name="one-model",
                category="model",
                priority="low",
                title=f"{model} answers {100 * share:.0f} % of requests",
                description="easy requests would do with a cheaper adequate model",
                action="register cheaper models and let Asahi choose",
                basis=replaying.BASIS,
                saves=replaying.cheaper(group, registry),
            )


def named_models(sampled: Sequence[Sampled], registry: Registry) -> Iterator[Advice]:
    """Explicit requests that a cheaper model was adequate for."""
    found = replaying.cheaper([each for each in sampled if each.event.routing_mode == "explicit"], registry)
    if found:
        yield Advice(
            name="named-models",
            category="routing",
            priority="high",
            title=f"{len(found)} looked-at requests name a model although a cheaper one is adequate",
            description="the cheapest model that is adequate would have answered for less",
            action='send `model: "auto"`, or an alias that Asahi may resolve',
            basis=replaying.BASIS,
            saves=found,
        )


def repeated_prefixes(sampled: Sequence[Sampled], registry: Registry) -> Iterator[Advice]:
    """Long prompts of one caller and task that follow within minutes, and no token of them was read from a vendor's
    cache."""
    found = replaying.uncached_prefixes(sampled, registry)
    if found:
        yield Advice(
            name="repeated-prefixes",
            category="token",
            priority="medium",
            title=f"{len(found)} looked-at long prompts follow one another without prompt caching",
            description="the part that such prompts share would be read from the vendor's cache",
            action="set `prompt_cache.auto`, and put what is the same in all prompts first",
            basis="half of the shorter of two prompts that follow within five minutes, at the cache's price",
            saves=found,
        )


def changed_prices(sampled: Sequence[Sampled], registry: Registry) -> Iterator[Advice]:
    """Requests that were priced by other prices than today's, and for which another model is the cheapest now."""
    current = {model.price_version for model in registry.models}
    old = [each for each in sampled if each.event.price_version and each.event.price_version not in current]
    found = replaying.cheaper(old, registry)
    if found:
        yield Advice(
            name="changed-prices",
            category="model",
            priority="medium",
            title="prices have changed, and another model is the cheapest adequate one now",
            description=f"{len(found)} looked-at requests would be answered by another model today",
            action="look at `asahi prices diff`, and let Asahi choose again",
            basis=replaying.BASIS,
            saves=found,
        )


CONDITIONS: tuple[Condition, ...] = (
    hit_rates,
    dear_groups,
    named_models,
    uneven_prompts,
    repeated_prefixes,
    changed_prices,
    one_model,
)
