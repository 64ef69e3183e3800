"""The savings report: sums over an org's events, read in one pass."""

from __future__ import annotations

from typing import Any

import msgspec

from asahi_analytics.causal import Arm, Causal, estimate, take
from asahi_kernel.ledger import GENESIS, Head
from asahi_kernel.money import plain
from asahi_kernel.records import Event
from asahi_kernel.rollups import Sums, count


class Report:
    """Add events, then ask what they come to."""

    def __init__(self, org: str) -> None:
        self._org = org
        self._sums = Sums()
        self._arms = (Arm(), Arm())

    def add(self, event: Event) -> None:
        """Count one request."""
        count(self._sums, event)
        take(*self._arms, event)

    def told(self, head: Head | None) -> dict[str, Any]:
        """Everything as JSON-ready data, money in dollars as plain decimals."""
        sums = self._sums
        return {
            "org": self._org,
            "requests": sums.requests,
            "unpriced": sums.unpriced,
            "cost": plain(sums.cost),
            "baseline_cost": plain(sums.baseline_cost),
            "overhead_cost": plain(sums.overhead_cost),
            "saved": plain(sums.saved),
            "savings_percent": 100 * sums.saved / sums.baseline_cost if sums.baseline_cost else 0.0,
            "saved_by": {name: plain(sums.saved_by[name]) for name in sorted(sums.saved_by)},
            "causal": _causal(estimate(*self._arms)),
            "ledger": {"size": head.seq if head else 0, "head": head.entry_hash if head else GENESIS},
        }


def _causal(found: Causal | None) -> dict[str, Any] | None:
    if found is None:
        return None
    money = {name: plain(getattr(found, name)) for name in ("saved", "low", "high")}
    return msgspec.to_builtins(found) | money  # type: ignore[no-any-return]
