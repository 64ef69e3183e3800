"""The forecast of daily totals: an EMA up to a week ahead, a least-squares line beyond, both with weekday factors once
there are four weeks, and an interval from how far off the same forecast was in the past."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

MIN_DATA_POINTS = 3
SHORT = 7
SPAN = 7
STABLE_PCT = 5.0
WEEKDAYS_FROM = 28
ROLLING_FROM = 14
#: Fewer past forecasts than this say nothing of their errors.
LEAST_ERRORS = 7
#: Where past costs came to next to nothing of what was forecast, shares say nothing.
_NOTHING = -0.9
Z = {0.80: 1.282, 0.85: 1.440, 0.90: 1.645, 0.95: 1.960, 0.99: 2.576}


class Day(Struct, frozen=True):
    """One day to come, with its interval."""

    value: float
    low: float
    high: float


class Forecast(Struct, frozen=True, kw_only=True):
    """The sum over the days to come, with its interval. `errors` are those of past forecasts of the same length, as
    shares of what was forecast; empty where the interval rests on the spread of the days instead."""

    total: float = 0.0
    low: float = 0.0
    high: float = 0.0
    days: tuple[Day, ...] = ()
    trend: Literal["stable", "rising", "falling"] = "stable"
    warning: str | None = None
    errors: tuple[float, ...] = ()


def forecast(history: Sequence[float], horizon: int, weekday: int = 0, level: float = 0.95) -> Forecast:
    """From daily totals, oldest first; `weekday` is that of the first, 0 for a Monday."""
    if len(history) < MIN_DATA_POINTS:
        return Forecast(warning=f"only {len(history)} complete days of data: at least {MIN_DATA_POINTS} are needed")
    days = ahead(history, horizon, weekday)
    total = sum(days)
    errors = past_errors(history, horizon, weekday) if len(history) >= ROLLING_FROM else []
    if len(errors) >= LEAST_ERRORS and total > 0 and min(errors) > _NOTHING:
        factor = math.exp(_spread([math.log1p(each) for each in errors], horizon, level))
        low, high = total / factor, total * factor
    else:
        errors = []
        width = Z[level] * _deviation(history, weekday, horizon) * math.sqrt(horizon)
        low, high = max(0.0, total - width), total + width
    trend = trend_of(history)
    warning = "costs are rising" if trend == "rising" and horizon >= 14 else None
    # A day's own interval is wider than its share of the sum's: errors of single days even out in a sum.
    half = (high - low) / 2 * math.sqrt(horizon)
    parts = [half * (each / total if total else 1 / horizon) for each in days]
    return Forecast(
        total=total,
        low=low,
        high=high,
        days=tuple(Day(each, max(0.0, each - part), each + part) for each, part in zip(days, parts, strict=True)),
        trend=trend,
        warning=warning,
        errors=tuple(errors),
    )


def ahead(history: Sequence[float], horizon: int, weekday: int = 0) -> list[float]:
    """The days to come, each at least 0."""
    start, slope, factors = fit(history, weekday)
    count = len(history)
    if horizon <= SHORT:
        level = ema([value / (factors[(weekday + at) % 7] or 1.0) for at, value in enumerate(history)])
        return [max(0.0, level * factors[(weekday + count + each) % 7]) for each in range(horizon)]
    return [
        max(0.0, (start + slope * (count + each)) * factors[(weekday + count + each) % 7]) for each in range(horizon)
    ]


def ema(history: Sequence[float], span: int = SPAN) -> float:
    """The exponential moving average at the end, with alpha = 2 / (span + 1)."""
    alpha, average = 2 / (span + 1), history[0]
    for value in history[1:]:
        average += alpha * (value - average)
    return average


def fit(history: Sequence[float], weekday: int = 0) -> tuple[float, float, Sequence[float]]:
    """A least-squares line through the days, and what each weekday is to it; 1 until there are four weeks of them."""
    start, slope = line(history)
    if len(history) < WEEKDAYS_FROM:
        return start, slope, (1.0,) * 7
    factors = weekday_factors(history, weekday, start, slope)
    # Once more without the weekdays, which bend a line whose ends are different days.
    evened = [value / (factors[(weekday + at) % 7] or 1.0) for at, value in enumerate(history)]
    start, slope = line(evened)
    return start, slope, factors


def line(history: Sequence[float]) -> tuple[float, float]:
    """The least-squares line: its value at the first day, and its slope per day."""
    count = len(history)
    middle, mean = (count - 1) / 2, sum(history) / count
    spread = count * (count * count - 1) / 12
    slope = sum((at - middle) * value for at, value in enumerate(history)) / spread if spread else 0.0
    return mean - slope * middle, slope


def weekday_factors(history: Sequence[float], weekday: int, start: float, slope: float) -> list[float]:
    """What each weekday comes to as a share of the line; their mean is 1."""
    real, fitted = [0.0] * 7, [0.0] * 7
    for at, value in enumerate(history):
        real[(weekday + at) % 7] += value
        fitted[(weekday + at) % 7] += max(start + slope * at, 0.0)
    factors = [have / want if want > 0 else 1.0 for have, want in zip(real, fitted, strict=True)]
    mean = sum(factors) / 7
    return [each / mean for each in factors] if mean > 0 else [1.0] * 7


def past_errors(history: Sequence[float], horizon: int, weekday: int = 0) -> list[float]:
    """How far off each past forecast of this horizon was, as a share of it: from every day on that had a third of
    today's history, and two weeks of it, before it."""
    first = max(ROLLING_FROM, len(history) // 3)
    found = []
    for origin in range(first, len(history) - horizon + 1):
        said = sum(ahead(history[:origin], horizon, weekday))
        if said > 0:
            found.append((sum(history[origin : origin + horizon]) - said) / said)
    return found


def trend_of(history: Sequence[float]) -> Literal["stable", "rising", "falling"]:
    """Slope through the days as a share of their mean, per day."""
    mean = sum(history) / len(history)
    share = 100 * line(history)[1] / mean if mean else 0.0
    if abs(share) < STABLE_PCT:
        return "stable"
    return "rising" if share > 0 else "falling"


def _spread(errors: Sequence[float], horizon: int, level: float) -> float:
    """How far off a forecast may be at this level, as a logarithm: costs are positive, and what drives them multiplies.
    As if errors were normal; where enough past forecasts share no day, no less than the conformal quantile of what they
    were off (Vovk et al. 2005), since spikes are rarer and larger than normal."""
    normal = Z[level] * math.sqrt(sum(each * each for each in errors) / len(errors))
    if len(errors) < LEAST_ERRORS * horizon:
        return normal
    place = min(len(errors), math.ceil((len(errors) + 1) * level))
    return max(normal, sorted(map(abs, errors))[place - 1])


def _deviation(history: Sequence[float], weekday: int, horizon: int) -> float:
    """The standard deviation of the days around what the method says of them."""
    if horizon <= SHORT:
        off, average = [], history[0]
        for value in history[1:]:
            off.append(value - average)
            average += 2 / (SPAN + 1) * (value - average)
    else:
        start, slope, factors = fit(history, weekday)
        off = [value - (start + slope * at) * factors[(weekday + at) % 7] for at, value in enumerate(history)]
    return math.sqrt(sum(each * each for each in off) / max(1, len(off) - 1))
