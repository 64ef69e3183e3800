"""What the reports' tests share: synthetic traffic of two orgs, the storages it lies in, and sums by hand."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from tests.plugins.piccolo import kit

from asahi_analytics.catalogue import REPORTS
from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway
from asahi_kernel.identity import first_id
from asahi_kernel.records import Event, Settled
from asahi_kernel.registry import build
from asahi_kernel.reports import Scope, ask
from asahi_kernel.settings import Settings
from asahi_kernel.testing.samples import decision
from asahi_kernel.vault import Vault, ephemeral
from asahi_piccolo.storage import open_storage

BY_NAME = {report.name: report for report in REPORTS}
MODELS = ("gpt-4-turbo", "claude-opus-4", "claude-3-5-haiku", "mistral-7b")
TASKS = ("faq", "coding", "general")


def gateway_of(storage, **tree) -> Gateway:
    """A gateway with the models and a storage, as reports are given one."""
    settings = decode({"profile": "development", "storage": "memory", **tree}, Settings, "test")
    gateway = Gateway(settings)
    gateway.vault = ephemeral()
    gateway.registry = build(settings, {"mock"}, mock=True)
    gateway.storage = storage
    return gateway


@asynccontextmanager
async def stored(engine: str, folder, url=None) -> AsyncIterator:
    """A storage of an engine."""
    if engine == "memory":
        yield MemoryStorage(100_000)
        return
    config = kit.sqlite(folder) if engine == "sqlite" else kit.postgres(url)
    async with open_storage(config, Vault({"test": bytes(32)})) as storage:
        yield storage


async def run(gateway, name, org="here", *, money=True, **query):
    """A report's whole answer."""
    return await ask(
        gateway, BY_NAME[name], Scope(org, money), {key.rstrip("_"): str(each) for key, each in query.items()}
    )


def traffic(count: int, seed: int = 1, days: float = 40.0, now: datetime | None = None) -> list[Event]:
    """Requests of `here` and `there` over the last days, every kind of them: hits of three tiers, failures, denials,
    unknown prices, rechecks, users and keys or none."""
    dice, now = random.Random(seed), now or datetime.now(UTC)
    return [_event(dice, now, days) for _ in range(count)]


def _event(dice: random.Random, now: datetime, days: float) -> Event:
    status = dice.choices(("ok", "failed", "denied"), (90, 6, 4))[0]
    tier = dice.choices((0, 1, 2, 3), (60, 25, 10, 5))[0] if status == "ok" else 0
    own = status == "ok" and not tier and dice.random() < 0.05
    known = dice.random() > 0.03
    age = dice.random() ** 2 * days * 86_400
    cost = None if not known and not tier else 0 if tier or status != "ok" else dice.randint(1, 9_000_000)
    overhead = dice.choice((0, 0, 1_000))
    baseline = 0 if cost is None or status != "ok" or own else dice.randint(1_000, 20_000_000)
    if own:
        cost, overhead = 0, dice.randint(1, 90_000)
    saved = baseline - (cost or 0) - overhead
    technique = {0: "routing", 1: "exact_cache", 2: "semantic_cache", 3: "intermediate_cache"}[tier]
    timestamp = now - timedelta(seconds=age)
    return Event(
        request_id=id_at(timestamp, dice),
        timestamp=timestamp,
        org_id=dice.choices(("here", "there"), (3, 1))[0],
        route="recheck" if own else "/infer",
        status=status,
        user_id=dice.choice((None, "ann", "bob", "cy")),
        key_id=dice.choice((None, "k1", "k2")),
        task_type=dice.choice(TASKS),
        agent_type=dice.choice((None, "planner")),
        model_selected=dice.choice(MODELS) if status == "ok" else "",
        provider="mock",
        cache_hit=tier > 0,
        cache_tier=tier,
        input_tokens=dice.randint(1, 4_000),
        output_tokens=dice.randint(0, 900),
        latency_ms=dice.lognormvariate(5, 0.8),
        cost=cost,
        baseline_cost=baseline,
        overhead_cost=overhead,
        saved=saved,
        saved_by={technique: saved} if saved else {},
        quality_score=round(dice.uniform(2, 5), 2) if dice.random() < 0.8 else None,
        price_version="reference-1",
    )


def id_at(moment: datetime, dice: random.Random) -> str:
    """An id as the gateway would have made it at that time."""
    return first_id(moment)[:10] + "".join(dice.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=16))


def batches(events: list[Event], size: int = 2_000) -> Iterator[list[Settled]]:
    for start in range(0, len(events), size):
        yield [Settled(event, decision(event)) for event in events[start : start + size]]


class Hand:
    """The sums of some events, added up one by one, without rollups."""

    def __init__(self, events: list[Event]) -> None:
        self.events = [event for event in events if event.route != "recheck"]
        self.everything = events

    def cost(self) -> int:
        return sum(event.cost or 0 for event in self.everything)

    def total(self, field: str) -> int:
        return sum(getattr(event, field) for event in self.everything)

    @property
    def requests(self) -> int:
        return len(self.events)

    @property
    def hits(self) -> int:
        return sum(event.cache_hit for event in self.events)

    @property
    def misses(self) -> int:
        return sum(event.status == "ok" and not event.cache_hit for event in self.events)

    @property
    def errors(self) -> int:
        return sum(event.status == "failed" for event in self.events)

    def hit_rate(self) -> float | None:
        asked = self.hits + self.misses
        return self.hits / asked if asked else None

    def latency(self) -> float | None:
        return sum(event.latency_ms for event in self.events) / len(self.events) if self.events else None

    def quality(self) -> float | None:
        rated = [event.quality_score for event in self.events if event.quality_score is not None]
        return sum(rated) / len(rated) if rated else None

    def percentile(self, share: float) -> float | None:
        ordered = sorted(event.latency_ms for event in self.events)
        return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)] if ordered else None


class Events:
    """All events in the order of time, so that a window of them is found at once."""

    def __init__(self, events: list[Event]) -> None:
        self._by_org: dict[str, tuple[list[datetime], list[Event]]] = {}
        for org in {event.org_id for event in events}:
            ordered = sorted((each for each in events if each.org_id == org), key=lambda each: each.timestamp)
            self._by_org[org] = [each.timestamp for each in ordered], ordered

    def of(self, told, org: str = "here", **fields) -> Hand:
        """Those of an org within an answer's window that have these fields."""
        times, events = self._by_org[org]
        window = events[bisect_left(times, told.start) : bisect_left(times, told.end)]
        return Hand([each for each in window if all(getattr(each, name) == fields[name] for name in fields)])
