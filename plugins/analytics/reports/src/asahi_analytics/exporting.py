"""Data out: past requests as JSON lines, CSV, or the columns of FOCUS 1.2 (focus.finops.org), row by row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from asahi_kernel import csvtext
from asahi_kernel.money import plain
from asahi_kernel.records import Event

Row = Mapping[str, Any]
_MONEY = ("cost", "baseline_cost", "overhead_cost", "saved")


async def export(events: AsyncIterator[Event], form: str, write: Callable[[bytes], object]) -> int:
    """Write every event in this form (`jsonl`, `csv`, `focus`); how many. Memory does not grow with their number."""
    count = 0
    if form == "jsonl":
        async for event in events:
            write(msgspec.json.encode(as_row(event)) + b"\n")
            count += 1
        return count
    make = focus if form == "focus" else flat
    names = FOCUS if form == "focus" else FLAT
    write(csvtext.line(names))
    async for event in events:
        row = make(event)
        write(csvtext.line([row[name] for name in names]))
        count += 1
    return count


def as_row(event: Event) -> dict[str, Any]:
    """An event as JSON-ready data; money is in dollars as plain decimals, so that no float rounds it."""
    row: dict[str, Any] = msgspec.to_builtins(event)
    for name in _MONEY:
        row[name] = None if row[name] is None else plain(row[name])
    row["saved_by"] = {name: plain(amount) for name, amount in event.saved_by.items()}
    for attempt in row["attempts"]:
        attempt["cost"] = None if attempt["cost"] is None else plain(attempt["cost"])
    return row


FLAT = tuple(name for name in Event.__struct_fields__ if name != "latency_breakdown")


def flat(event: Event) -> Row:
    """One line of the CSV: lists and maps as JSON, attempts as their number."""
    row = as_row(event) | {"attempts": len(event.attempts)}
    return {name: msgspec.json.encode(row[name]).decode() if _nested(row[name]) else row[name] for name in FLAT}


FOCUS = (
    "BilledCost",
    "BillingAccountId",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SubAccountId",
    "Tags",
    "x_RequestId",
    "x_BaselineCost",
    "x_Saved",
)


def focus(event: Event) -> Row:
    """One charge. What the request would have cost without Asahi is the list cost; a cost nobody knows is empty."""
    cost = "" if event.cost is None else plain(event.cost)
    start = event.timestamp.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (start + timedelta(days=32)).replace(day=1)
    tags = {**event.tags, "asahi_user": event.user_id or "", "asahi_task": event.task_type}
    return {
        "BilledCost": cost,
        "BillingAccountId": event.org_id,
        "BillingCurrency": "USD",
        "BillingPeriodEnd": _time(end),
        "BillingPeriodStart": _time(start),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{event.route} {event.status}" + (" from cache" if event.cache_hit else ""),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": _time(event.timestamp + timedelta(milliseconds=event.latency_ms)),
        "ChargePeriodStart": _time(event.timestamp),
        "ConsumedQuantity": event.billed_tokens,
        "ConsumedUnit": "Tokens",
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "InvoiceIssuerName": event.provider,
        "ListCost": plain(event.baseline_cost),
        "PricingQuantity": event.billed_tokens,
        "PricingUnit": "Tokens",
        "ProviderName": event.provider,
        "PublisherName": event.provider,
        "ResourceId": event.model_selected,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "LLM inference",
        "SkuId": event.model_selected,
        "SubAccountId": event.key_id or "",
        "Tags": msgspec.json.encode(tags).decode(),
        "x_RequestId": event.request_id,
        "x_BaselineCost": plain(event.baseline_cost),
        "x_Saved": plain(event.saved),
    }


def _nested(value: Any) -> bool:
    return isinstance(value, dict | list | tuple)


def _time(moment: Any) -> str:
    return str(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
