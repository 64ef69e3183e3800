"""`forecast`: what the days to come will cost, and whether the month's budget holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from asahi_analytics.forecasting import MIN_DATA_POINTS, Forecast, forecast
from asahi_analytics.periods import midnight, zone_of
from asahi_analytics.trends import daily, settled
from asahi_analytics.windows import series
from asahi_kernel.money import NANO
from asahi_kernel.reports import Scope, Told

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

#: The complete days that a forecast rests on.
HISTORY = 90
Confidence = Literal["0.80", "0.85", "0.90", "0.95", "0.99"]


class Ahead(Struct, frozen=True, kw_only=True):
    """`monthly_budget` is in dollars, 0 for none."""

    horizon_days: Annotated[int, Meta(ge=1, le=365)] = 30
    monthly_budget: Annotated[float, Meta(ge=0, le=1e12)] = 0.0
    confidence: Confidence = "0.95"
    tz: str = "UTC"


async def cost_forecast(gateway: Gateway, scope: Scope, asked: Ahead) -> Told:
    """The cost of the next days from the last 90 complete ones, with an interval from past forecasts' errors, and
    whether `monthly_budget` dollars hold. Below three days of data all is zero, with a warning."""
    now = datetime.now(UTC)
    zone = zone_of(asked.tz)
    edges = settled([midnight(now, zone, each - HISTORY) for each in range(HISTORY + 1)], now)
    days = daily(edges, await series(gateway.storage, scope, edges, now))
    while days and not days[0][1].requests:
        days.pop(0)
    history = [sums.cost / NANO for _, sums in days]
    weekday = days[0][0].astimezone(zone).weekday() if days else 0
    found = forecast(history, asked.horizon_days, weekday, float(asked.confidence))
    start = edges[-1].astimezone(zone).date()
    future = [
        {"date": (start + timedelta(days=at)).isoformat(), "value": each.value, "low": each.low, "high": each.high}
        for at, each in enumerate(found.days)
    ]
    past = [{"date": at.astimezone(zone).date().isoformat(), "value": sums.cost / NANO} for at, sums in days]
    told = {
        "period": f"{asked.horizon_days}d",
        "predicted_cost": found.total,
        "confidence_low": found.low,
        "confidence_high": found.high,
        "trend": found.trend,
        "warning": found.warning,
        "daily": future,
    }
    data = {"forecast": told, "budget_risk": risk(found, asked), "history": past, "backtest": backtest(found)}
    return Told(data=data, start=edges[0], end=edges[-1], table=[*past, *future])


def risk(found: Forecast, asked: Ahead) -> str | None:
    """In words, for the part of the month's budget that falls to the horizon."""
    budget = asked.monthly_budget * asked.horizon_days / 30
    if not budget or not found.days:
        return None
    if found.total > budget:
        return (
            f"the forecast of ${found.total:,.2f} exceeds the budget of ${budget:,.2f} by ${found.total - budget:,.2f}"
        )
    if found.high > budget:
        return f"the budget of ${budget:,.2f} will probably hold, but costs of up to ${found.high:,.2f} are possible"
    return None


def backtest(found: Forecast) -> dict[str, Any] | None:
    """How far off past forecasts of this length were; None where the interval rests on the spread of the days."""
    if not found.errors:
        return None
    off = [abs(each) for each in found.errors]
    return {"forecasts": len(off), "mean_error_percent": 100 * sum(off) / len(off), "worst_percent": 100 * max(off)}


__all__ = ("MIN_DATA_POINTS", "Ahead", "cost_forecast")
