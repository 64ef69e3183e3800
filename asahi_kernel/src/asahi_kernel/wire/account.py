"""The `asahi` object that the compatible wires add to an answer."""

from __future__ import annotations

from msgspec import Struct

from asahi_kernel.answer import Answer
from asahi_kernel.money import dollars


class Account(Struct, frozen=True, kw_only=True):
    """What the answer cost, in dollars, and why this model gave it."""

    request_id: str
    cost: float | None
    baseline_cost: float | None
    saved: float | None
    cache: str
    cache_tier: int
    similarity: float | None
    routing_reason: str
    warnings: tuple[str, ...]


def account(answer: Answer) -> Account:
    """The `asahi` object of an answer."""
    bill, hit = answer.bill, answer.hit
    return Account(
        request_id=answer.request_id,
        cost=dollars(bill.cost),
        baseline_cost=dollars(bill.baseline_cost),
        saved=dollars(bill.saved) if bill.price_known else None,
        cache=answer.cache_status,
        cache_tier=answer.tier,
        similarity=None if hit is None else hit.similarity,
        routing_reason=answer.route.reason,
        warnings=answer.warnings,
    )
