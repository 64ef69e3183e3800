"""The forecast is the formula's, and its interval covers what it says."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from benchmarks.analytics.forecasts import KINDS, naive, run

from asahi_analytics.forecast import Ahead, risk
from asahi_analytics.forecasting import Forecast, Z, ahead, forecast, past_errors, trend_of


@pytest.mark.parametrize(("slope", "days", "horizon"), [(2, 10, 30), (0.5, 20, 8), (-0.1, 20, 90), (3, 90, 365)])
def test_a_linear_series_sums_to_the_closed_form(slope, days, horizon):
    """AN-3: the sum over the horizon of start + slope * day."""
    start = 100
    series = [start + slope * day for day in range(days)]
    told = forecast(series, horizon)
    wanted = horizon * start + slope * sum(range(days, days + horizon))
    assert told.total == pytest.approx(wanted, rel=1e-9)
    assert [day.value for day in told.days] == pytest.approx([start + slope * (days + each) for each in range(horizon)])


def test_up_to_a_week_it_is_the_moving_average_each_day():
    series = [10.0, 20.0, 40.0, 0.0]
    average = 10.0
    for value in series[1:]:
        average = 0.25 * value + 0.75 * average
    assert forecast(series, 7).total == pytest.approx(7 * average)
    assert [day.value for day in forecast(series, 3).days] == [pytest.approx(average)] * 3


def test_each_day_is_floored_at_zero_before_the_sum():
    told = forecast([100.0, 80.0, 60.0, 40.0, 20.0], 30)
    assert (told.total, told.low) == (pytest.approx(0.0), 0.0)


def test_weekdays_count_from_four_weeks_on():
    week = [10, 10, 10, 10, 10, 2, 1]
    assert ahead(week * 8, 14) == pytest.approx(week * 2, rel=0.02)
    straight = ahead(week * 3, 14)
    assert [later - sooner for sooner, later in pairwise(straight)] == pytest.approx([straight[1] - straight[0]] * 13)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_below_three_days_it_says_so_and_nothing_else(count):
    told = forecast([5.0] * count, 30)
    assert (told.total, told.low, told.high, told.days) == (0, 0, 0, ())
    assert "3" in told.warning


@pytest.mark.parametrize("level", Z)
def test_below_two_weeks_the_interval_is_z_times_s_times_the_root_of_the_horizon(level):
    series = [10.0, 12.0, 9.0, 13.0, 11.0, 10.0]
    told = forecast(series, 16, level=level)
    count, middle, mean = len(series), 2.5, sum(series) / 6
    slope = sum((at - middle) * value for at, value in enumerate(series)) / 17.5
    off = [value - (mean + slope * (at - middle)) for at, value in enumerate(series)]
    s = (sum(each * each for each in off) / (count - 1)) ** 0.5
    assert told.high - told.total == pytest.approx(Z[level] * s * 4)
    assert told.errors == ()


@pytest.mark.parametrize(("slope", "trend"), [(0.0, "stable"), (0.4, "stable"), (0.9, "rising"), (-0.9, "falling")])
def test_the_trend_is_the_slope_by_the_mean(slope, trend):
    series = [10 + slope * (day - 4.5) for day in range(10)]
    assert trend_of(series) == trend
    assert (forecast(series, 14).warning is not None) == (trend == "rising")
    assert forecast(series, 13).warning is None


def test_the_interval_comes_from_past_forecasts_of_the_same_horizon():
    dice = random.Random(2)
    series = [100 + dice.gauss(0, 10) for _ in range(90)]
    told = forecast(series, 30)
    by_hand = []
    for origin in range(30, 61):
        said = sum(ahead(series[:origin], 30, 0))
        by_hand.append((sum(series[origin : origin + 30]) - said) / said)
    assert told.errors == pytest.approx(by_hand)
    spread = (sum(math.log(1 + each) ** 2 for each in by_hand) / len(by_hand)) ** 0.5
    assert told.high == pytest.approx(told.total * math.exp(1.96 * spread))
    assert told.low == pytest.approx(told.total * math.exp(-1.96 * spread))


def test_a_rare_spike_widens_a_week_s_interval_to_the_conformal_quantile():
    """Of 56 errors the 55th: ceil(57 * 0.95). With fewer that share no day it is the normal distribution's."""
    dice = random.Random(3)
    series = [100 * math.exp(dice.gauss(0, 0.02)) * (4 if day == 88 else 1) for day in range(92)]
    told = forecast(series, 7)
    off = sorted(abs(math.log(1 + each)) for each in told.errors)
    normal = 1.96 * (sum(each * each for each in off) / len(off)) ** 0.5
    assert (len(off), off[54] > 1.1 * normal) == (56, True)
    assert told.high == pytest.approx(told.total * math.exp(off[54]))
    short = forecast(series[30:], 7)
    off = [math.log(1 + each) for each in short.errors]
    assert 0 < len(off) < 49
    assert short.high == pytest.approx(
        short.total * math.exp(1.96 * (sum(each * each for each in off) / len(off)) ** 0.5)
    )


def test_days_that_cost_nothing_leave_an_interval_of_plain_differences():
    series = [100.0] * 30 + [0.0] * 20 + [100.0] * 40
    assert min(past_errors(series, 7)) == -1
    told = forecast(series, 7)
    assert told.errors == ()
    assert 0 <= told.low < told.total < told.high < 10 * told.total


def test_the_budget_is_told_at_three_grades():
    told = Forecast(total=100.0, high=140.0, days=forecast([1.0] * 9, 7).days)
    over, near, well = (risk(told, Ahead(monthly_budget=each)) for each in (80, 120, 200))
    assert "by $20.00" in over
    assert "probably" in near
    assert (well, risk(told, Ahead())) == (None, None)


def test_the_interval_of_95_percent_covers_93_to_97_on_simulated_series():
    """A smaller run, of one seed, of `python -m benchmarks.analytics`; coverage is over all kinds together."""
    found = [run(kind, horizon, 60, seed=5) for kind in KINDS for horizon in (7, 30)]
    covered = sum(each.covered for each in found) / len(found)
    assert 0.93 <= covered <= 0.97
    assert all(each.covered > 0.85 for each in found)
    mine = sum(each.error for each in found if each.horizon == 30)
    theirs = sum(each.naive_error for each in found if each.horizon == 30)
    assert mine < theirs
    assert naive([1.0] * 7, 14)[0] == 14
