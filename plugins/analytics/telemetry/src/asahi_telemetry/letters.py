"""Letters: what an org is told by mail, as a subject and a body in plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

from asahi_kernel.logs import clean

if TYPE_CHECKING:
    from asahi_kernel.records import Totals
    from asahi_kernel.repositories.judgements import Alert

_MOST = 20


def alerts_letter(org: str, alerts: Sequence[Alert], dashboard_url: str) -> tuple[str, str]:
    """What was found since the last one."""
    worst = "critical" if any(each.severity == "critical" for each in alerts) else "warning"
    what = alerts[0].anomaly_type if len(alerts) == 1 else f"{len(alerts)} alerts"
    lines = [f"Alerts of the organisation {org}:", ""]
    for each in alerts[:_MOST]:
        lines.append(f"[{each.severity}] {clean(each.anomaly_type)}, {each.detected_at:%Y-%m-%d %H:%M} UTC")
        lines.append(f"    {clean(each.message)}")
    if len(alerts) > _MOST:
        lines.append(f"and {len(alerts) - _MOST} more")
    return clean(f"[Asahi] {worst}: {what} of {org}"), _signed(lines, dashboard_url)


def test_letter(org: str, dashboard_url: str) -> tuple[str, str]:
    """What somebody asked for who wants to know whether mail arrives."""
    lines = [f"This is a test: alerts of the organisation {org} come to this address."]
    return clean(f"[Asahi] test: alerts of {org}"), _signed(lines, dashboard_url)


def weekly_letter(org: str, totals: Totals, day: date, dashboard_url: str) -> tuple[str, str]:
    """What the seven days before came to."""
    return clean(f"[Asahi] {org}: the week to {day}"), _signed([*_week(org, totals)], dashboard_url)


def _week(org: str, totals: Totals) -> Iterator[str]:
    hits = sum(totals.hits_by_tier.values())
    answered = hits + totals.misses
    yield f"The organisation {org}, the last seven days:"
    yield ""
    yield f"requests        {totals.requests:,}, of which {totals.errors:,} failed"
    yield f"cost            {_dollars(totals.cost + totals.overhead_cost)}"
    yield f"without Asahi   {_dollars(totals.baseline_cost)}"
    yield f"saved           {_dollars(totals.saved)}"
    yield f"from caches     {hits / answered:.1%} of the answers" if answered else "from caches     no answers"
    if totals.unpriced:
        yield f"without a price {totals.unpriced:,} requests, which are in no sum"
    if totals.cost_by_model:
        yield ""
        for model, cost in sorted(totals.cost_by_model.items(), key=lambda item: -item[1])[:5]:
            yield f"    {_dollars(cost):>14}  {clean(model)}"


def _dollars(nano: int) -> str:
    cents = (abs(nano) + 5_000_000) // 10_000_000
    return f"{'-' if nano < 0 and cents else ''}${cents // 100:,}.{cents % 100:02d}"


def _signed(lines: Sequence[str], dashboard_url: str) -> str:
    place = [f"See {dashboard_url}", ""] if dashboard_url else []
    why = "You get this because your address is among `alert_emails` in the settings of the organisation."
    return "\n".join([*lines, "", *place, why, ""])
