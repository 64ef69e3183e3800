"""Simulated daily costs, and how the forecast and a naive one do on what came after."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from asahi_analytics.forecasting import forecast

WEEK = (1.2, 1.25, 1.2, 1.15, 1.0, 0.5, 0.45)
KINDS = ("flat", "weekly", "weekly growth", "weekly spikes", "weekly growth spikes")
DAYS = 90


class Outcome(NamedTuple):
    """Over many series: the share whose sum lay within the interval of 95 %, how wide that was as a share of the
    forecast, and the mean error; the same of the naive forecast."""

    kind: str
    horizon: int
    covered: float
    width: float
    error: float
    naive_covered: float
    naive_width: float
    naive_error: float


def run(kind: str, horizon: int, count: int, seed: int) -> Outcome:
    """Forecast from 90 days, and look at the days that came."""
    dice = random.Random(f"{kind} {horizon} {seed}")
    rows = []
    for _ in range(count):
        weekday = dice.randrange(7)
        series = simulate(kind, DAYS + horizon, dice, weekday)
        history, came = series[:DAYS], sum(series[DAYS:])
        told = forecast(history, horizon, weekday)
        said, width = naive(history, horizon)
        rows.append(
            (
                told.low <= came <= told.high,
                (told.high - told.total) / told.total,
                abs(came - told.total) / came,
                abs(came - said) <= width,
                width / said,
                abs(came - said) / came,
            )
        )
    return Outcome(kind, horizon, *(sum(column) / count for column in zip(*rows, strict=True)))


def simulate(kind: str, days: int, dice: random.Random, weekday: int = 0) -> list[float]:
    """Lognormal noise of 10 to 35 %, from any weekday on. Growth is up to 1 % of the first day, a day; spikes double to
    quadruple one day in twenty-five."""
    level, noise, growth = dice.uniform(5, 50), dice.uniform(0.10, 0.35), dice.uniform(0, 0.01)
    series = []
    for day in range(days):
        value = level * math.exp(dice.gauss(0, noise) - noise * noise / 2)
        if "weekly" in kind:
            value *= WEEK[(weekday + day) % 7]
        if "growth" in kind:
            value *= 1 + growth * day
        if "spikes" in kind and dice.random() < 0.04:
            value *= dice.uniform(2, 4)
        series.append(value)
    return series


def naive(history: Sequence[float], horizon: int) -> tuple[float, float]:
    """The last week again and again, and 1.96 standard deviations of a day times the root of the horizon."""
    week = history[-7:]
    mean = sum(history) / len(history)
    deviation = math.sqrt(sum((each - mean) ** 2 for each in history) / max(1, len(history) - 1))
    return sum(week[day % 7] for day in range(horizon)), 1.96 * deviation * math.sqrt(horizon)
