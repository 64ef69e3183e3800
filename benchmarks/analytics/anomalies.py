"""Simulated traffic by the minute: weeks without an anomaly, and days with one injected into their last hour."""

from __future__ import annotations

import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from asahi_analytics.anomalies import RULES, Anomaly, Past
from asahi_kernel.records import Event
from asahi_kernel.rollups import Sums, count, floor, merge

START = datetime(2026, 1, 5, tzinfo=UTC)
#: How often a clean week is looked at. The rules' windows overlap, so every minute finds hardly more.
STEP = timedelta(minutes=20)
INJECTED = ("cost_spike", "daily_cost_spike", "latency_spike", "error_rate", "cache_degradation", "quality_drop")


class Traffic(NamedTuple):
    """What requests look like. `busy` is the number an hour at noon; nights have a fifth of it."""

    busy: float = 60.0
    cost: float = 1e6
    latency_ms: float = 300.0
    failing: float = 0.0
    hit_rate: float = 0.4
    quality: float = 4.2


def clean_week(seed: int, traffic: Traffic) -> Counter[str]:
    """The rules that fired in a week without anything to find: on how many looks each."""
    dice = random.Random(seed)
    days = 16
    past = simulate(dice, START, days * 24 * 60, traffic)
    alarms: Counter[str] = Counter()
    at = START + timedelta(days=9)
    while at < START + timedelta(days=days):
        alarms.update(each.anomaly_type for each in seen(past, at))
        at += STEP
    return alarms


def injected(kind: str, seed: int, traffic: Traffic) -> Anomaly | None:
    """What the rule says at the end of an hour, or for a daily spike a day, that is 2.5 to 5 times as bad as before."""
    dice = random.Random(seed)
    factor = dice.uniform(2.5, 5)
    bad = {
        "cost_spike": traffic._replace(cost=traffic.cost * factor),
        "daily_cost_spike": traffic._replace(cost=traffic.cost * factor),
        "latency_spike": traffic._replace(latency_ms=traffic.latency_ms * factor),
        "error_rate": traffic._replace(failing=0.02 * factor),
        "cache_degradation": traffic._replace(hit_rate=traffic.hit_rate / factor / 1.5),
        "quality_drop": traffic._replace(quality=traffic.quality - 0.3 * factor),
    }[kind]
    length = 24 * 60 if kind == "daily_cost_spike" else 7 * 60 if kind == "quality_drop" else 60
    at = START + timedelta(days=9, hours=dice.randrange(24))
    minutes = round((at - START) / timedelta(minutes=1))
    before = simulate(dice, START, minutes - length, traffic)
    after = simulate(dice, at - timedelta(minutes=length), length, bad)
    return RULES[kind](Past([*before.minutes, *after.minutes], joined(before, after)), at)


def seen(past: Past, at: datetime) -> list[Anomaly]:
    """Every rule that fires."""
    return [found for rule in RULES.values() if (found := rule(past, at)) is not None]


def simulate(dice: random.Random, start: datetime, minutes: int, traffic: Traffic) -> Past:
    """Requests by chance: Poisson by the minute, cost and latency lognormal."""
    by_minute: list[tuple[datetime, Sums]] = []
    by_hour: dict[datetime, Sums] = {}
    for minute in range(minutes):
        at = start + timedelta(minutes=minute)
        share = 0.6 - 0.4 * math.cos(2 * math.pi * (at.hour + at.minute / 60) / 24)
        sums = Sums(saved_by={}, sketch={})
        for _ in range(poisson(dice, traffic.busy * share / 60)):
            count(sums, request(dice, at, traffic))
        if sums.requests:
            by_minute.append((at, sums))
            merge(by_hour.setdefault(floor(at, "hour"), Sums(saved_by={}, sketch={})), sums)
    return Past(by_minute, sorted(by_hour.items()))


def request(dice: random.Random, at: datetime, traffic: Traffic) -> Event:
    failed = dice.random() < traffic.failing
    hit = not failed and dice.random() < traffic.hit_rate
    return Event(
        request_id="",
        timestamp=at,
        org_id="here",
        route="/infer",
        status="failed" if failed else "ok",
        cache_hit=hit,
        cache_tier=int(hit),
        cost=0 if hit or failed else round(traffic.cost * dice.lognormvariate(-0.18, 0.6)),
        latency_ms=5.0 if hit else traffic.latency_ms * dice.lognormvariate(-0.08, 0.4),
        quality_score=None if failed else min(5.0, max(0.0, dice.gauss(traffic.quality, 0.3))),
    )


def joined(before: Past, after: Past) -> list[tuple[datetime, Sums]]:
    """The hours of both; the one that they share is one."""
    hours = dict(before.hours)
    for at, sums in after.hours:
        merge(hours.setdefault(at, Sums(saved_by={}, sketch={})), sums)
    return sorted(hours.items())


def poisson(dice: random.Random, mean: float) -> int:
    """Knuth's way, which is quick for small means."""
    limit, number, product = math.exp(-mean), 0, dice.random()
    while product > limit:
        number += 1
        product *= dice.random()
    return number
