"""Anomalies that sums do not show: broken chains, resting providers, a cache that is wrong, tokens beyond estimates.

What is looked at here is of this process, or read step by step; a chain once found broken stays so until a restart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import mean, stdev
from typing import TYPE_CHECKING

from asahi_analytics.anomalies import Anomaly
from asahi_analytics.sampling import decisions_of
from asahi_kernel import clock, ledger
from asahi_kernel.ledger import Book, Head
from asahi_kernel.records import EventQuery
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories import audit as audit_log
from asahi_kernel.tiers import MeasuredTier

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Storage

#: Entries of the ledger that are looked at again after a start; `asahi savings verify` looks at all.
BACK = 1_000
#: Answers of the last hour whose estimate is held against what they came to.
SAMPLE = 30
#: Answers without which an hour says nothing of estimates, and the standard errors by which they must be beyond: an
#: estimate is a middle, and a few long answers are above any.
ENOUGH_ANSWERS, SURE = 10, 3.0


class Occurrences:
    """Remembers how far each chain was verified."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._ledger: dict[str, Head] = {}
        self._audit: dict[str, Head] = {}
        self._books: dict[str, Book] = {}
        self._broken: dict[tuple[str, str], str] = {}

    async def of_org(self, org: str, at: datetime) -> list[Anomaly]:
        """What is wrong now."""
        storage = self._gateway.storage
        found = [await overrun(storage, org, at), *self._false_hits(org)]
        if told := await self._ledger_fault(org):
            found.append(_broken("ledger_mismatch", "savings_ledger", f"the savings ledger does not verify: {told}"))
        if isinstance(storage, Governing) and (told := await self._audit_fault(storage, org)):
            found.append(_broken("audit_gap", "audit_log", f"the audit log does not verify: {told}"))
        if org == self._gateway.settings.governance.operator_org:
            found += self._resting()
        return [each for each in found if each is not None]

    def _false_hits(self, org: str) -> list[Anomaly]:
        found = []
        for name, tier in self._gateway.tiers.items():
            for each in tier.precision(org) if isinstance(tier, MeasuredTier) else ():
                if each.state == "breached":
                    rate = each.false_hits / each.labelled_hits if each.labelled_hits else 0.0
                    said = (
                        f"the tier {name} was wrong on {100 * rate:.1f} % of its answers to {each.task}, more than "
                        f"{100 * each.max_error_rate:.1f} %: it serves none there now"
                    )
                    found.append(_anomaly("false_hits", f"false_hits:{each.task}", rate, each.max_error_rate, said))
        return found

    def _resting(self) -> list[Anomaly]:
        return [
            _anomaly("provider_down", f"provider:{name}", 1.0, 0.0, f"the provider {name} rests after failures")
            for name, upstream in self._gateway.upstreams.items()
            if upstream.health() == "resting"
        ]

    async def _ledger_fault(self, org: str) -> str:
        if told := self._broken.get(("ledger", org)):
            return told
        storage = self._gateway.storage
        end = (await storage.ledger.heads()).get(org, Head())
        head = self._ledger.get(org)
        if head is not None and end.seq < head.seq:
            return self._broke("ledger", org, f"it ends at entry {end.seq}, and went on to {head.seq} before")
        after = head.seq if head else max(0, end.seq - BACK)
        async for entry in storage.ledger.entries(org, after):
            head = head or Head(entry.seq - 1, entry.prev_hash)
            if told := ledger.fault(head, entry, await self._book(storage, entry.price_version)):
                return self._broke("ledger", org, told)
            head = Head(entry.seq, entry.entry_hash)
        if head is not None:
            self._ledger[org] = head
        self._gateway.shared.setdefault("analytics.verified", {})[org] = clock.now()
        return ""

    async def _audit_fault(self, storage: Governing, org: str) -> str:
        if told := self._broken.get(("audit", org)):
            return told
        audit, head = storage.repositories.audit, self._audit.get(org, Head())
        if (end := await audit.head(org)).seq < head.seq:
            return self._broke("audit", org, f"it ends at entry {end.seq}, and went on to {head.seq} before")
        async for entry in audit.entries(org, head.seq):
            if told := audit_log.fault(head, entry):
                return self._broke("audit", org, told)
            head = Head(entry.seq, entry.entry_hash)
        self._audit[org] = head
        return ""

    async def _book(self, storage: Storage, version: str | None) -> Book | None:
        if version is not None and version not in self._books:
            book = await storage.prices.find(version)
            if book is not None:
                self._books[version] = book
        return self._books.get(version or "")

    def _broke(self, log: str, org: str, told: str) -> str:
        self._broken[log, org] = told
        return told


async def overrun(storage: Storage, org: str, at: datetime) -> Anomaly | None:
    """What the newest answers of the last hour came to, against what was estimated before the call. Both are tokens at
    the same model's prices, since that is what an estimate is kept as."""
    query = EventQuery(start=at - timedelta(hours=1), end=at, tier=0, status="ok", limit=SAMPLE)
    real, estimated = [], []
    events = await storage.events.newest(org, query)
    decisions = await decisions_of(storage, org, [event.request_id for event in events])
    for event in events:
        decision = decisions.get(event.request_id)
        chosen = [each for each in decision.candidates if each.name == event.model_selected] if decision else []
        if event.cost and chosen and chosen[0].cost:
            real.append(event.cost)
            estimated.append(chosen[0].cost)
    if len(real) < ENOUGH_ANSWERS or sum(real) <= 1.2 * sum(estimated) or not _surely_beyond(real, estimated):
        return None
    ratio = sum(real) / sum(estimated)
    said = f"the last {len(real)} answers used {ratio:.1f} times the tokens that were estimated"
    return Anomaly(
        anomaly_type="token_overrun",
        metric_name="tokens_against_estimate",
        critical=ratio > 2,
        current=ratio,
        expected=1.0,
        message=said,
    )


def _surely_beyond(real: Sequence[int], estimated: Sequence[int]) -> bool:
    """Whether the mean lies so far above 1.2 times the estimate that a few long answers do not explain it."""
    beyond = [cost - 1.2 * expected for cost, expected in zip(real, estimated, strict=True)]
    return mean(beyond) > SURE * stdev(beyond) / math.sqrt(len(beyond))


def _broken(kind: str, metric: str, said: str) -> Anomaly:
    return _anomaly(kind, metric, 1.0, 0.0, said)


def _anomaly(kind: str, metric: str, current: float, expected: float, said: str) -> Anomaly:
    return Anomaly(
        anomaly_type=kind,
        metric_name=metric,
        critical=kind in {"false_hits", "audit_gap", "ledger_mismatch"},
        current=current,
        expected=expected,
        message=said,
    )
