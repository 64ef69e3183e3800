"""The verifier learns, the controller holds the bound: simulated traffic with known truth and drift (T2-4)."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from asahi_semantic.controller import ENOUGH, Controller, wilson
from asahi_semantic.facts import find
from asahi_semantic.verifier import NAMES, Pair, Prior, Verifier, features, prior


def logistic(score: float) -> float:
    return 1 / (1 + math.exp(-score))


class Traffic:
    """Look-ups with known truth: how right candidates are depends on the features, and that changes by and by."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)

    def next(self, drifted: float) -> tuple[np.ndarray, bool]:
        cosine = self._draw.uniform(0.5, 1.0)
        margin = self._draw.uniform(-0.3, 0.3)
        lexical = self._draw.random()
        row = np.zeros(len(NAMES))
        row[:7] = (1.0, (cosine - 0.8) * 5, 0.0, margin * 5, 0.7, lexical, lexical)
        row[2] = row[1] * abs(row[1])
        before = -1.0 + 5 * row[1] + 1.5 * row[3] + 2 * lexical
        after = -3.0 + 3 * row[1] + 3 * row[3] + 1 * lexical
        truth = before + (after - before) * drifted
        return row, self._draw.random() < logistic(truth)


def drive(bound: float, seed: int, lookups: int = 20_000) -> tuple[int, int]:
    """Served and wrong. Rechecks come at the rate that the tier has at first."""
    traffic, verifier, controller = Traffic(seed), Verifier(prior()), Controller(bound)
    draw = random.Random(seed + 100)
    served = wrong = 0
    for step in range(lookups):
        row, right = traffic.next(drifted=min(max(step - 7_000, 0) / 8_000, 1.0))
        controller.asked()
        chance = verifier.probability(row)
        if controller.allows(chance):
            served += 1
            wrong += not right
            controller.hit(chance, 0.1)
            if draw.random() < 0.1:
                controller.audited(chance, right, 0.1)
                verifier.learn(row, right)
        else:
            controller.missed(chance, right)
            verifier.learn(row, right)
    return served, wrong


@pytest.mark.parametrize(("bound", "least"), [(0.01, 5), (0.02, 200), (0.05, 1_500)])
def test_served_false_hits_stay_under_the_bound_while_traffic_drifts(bound: float, least: int) -> None:
    """T2-4: three runs of 20,000 look-ups. Together they keep the bound, but for one wrong answer where it allows less
    than one; and no run breaks it beyond chance."""
    runs = [drive(bound, seed) for seed in (1, 2, 3)]
    assert sum(served for served, _ in runs) > least
    assert sum(wrong for _, wrong in runs) <= max(1.0, bound * sum(served for served, _ in runs))
    assert all(wilson(wrong, served)[0] <= bound for served, wrong in runs)


def test_without_a_controller_the_same_traffic_breaks_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above can fail."""
    monkeypatch.setattr(Controller, "allows", lambda controller, chance: chance > 0.8)
    served, wrong = drive(0.01, 1, 5_000)
    assert wrong > 0.01 * served


def test_too_few_labels_prove_nothing() -> None:
    controller = Controller(0.05)
    for _ in range(ENOUGH - 1):
        controller.missed(0.9999, True)
        assert not controller.allows(0.9999)
    assert controller.state == "uncalibrated"


def test_a_stricter_bound_needs_more_proof() -> None:
    needed = {}
    for bound in (0.05, 0.02, 0.01, 0.005):
        controller = Controller(bound)
        count = 0
        while not controller.allows(0.9999):
            controller.missed(0.9999, True)
            count += 1
        needed[bound] = count
    assert list(needed.values()) == sorted(needed.values())
    assert [round(count * bound) for bound, count in needed.items()] == [3, 3, 3, 3], "the rule of three"


def test_what_is_less_certain_is_judged_apart() -> None:
    controller = Controller(0.02)
    for number in range(1_000):
        controller.missed(0.999, True)
        controller.missed(0.9, number % 5 > 0)
    assert controller.allows(0.999)
    assert not controller.allows(0.9)


def test_much_that_is_right_does_not_buy_what_is_more_certain_and_wrong() -> None:
    """Bars are tried from the most certain down, and the first that is wrong too often ends the search."""
    controller = Controller(0.02)
    for number in range(6_000):
        controller.missed(0.97, True)
        if number % 10 == 0:
            controller.missed(0.999, number % 100 > 0)
    assert not controller.allows(0.999)
    assert not controller.allows(0.97)


def test_an_audit_counts_for_all_that_were_not_audited() -> None:
    controller = Controller(0.02)
    for _ in range(500):
        controller.missed(0.999, True)
    assert controller.allows(0.999)
    for _ in range(200):
        controller.hit(0.999, 0.1)
    controller.audited(0.999, False, 0.1)
    controller.audited(0.999, False, 0.1)
    assert not controller.allows(0.999)


def test_a_breach_stops_serving_until_what_would_be_served_is_right_again() -> None:
    controller = Controller(0.05)
    for _ in range(2_000):
        controller.missed(0.999, True)
    for number in range(60):
        controller.hit(0.999, 1.0)
        controller.audited(0.999, number % 4 > 0, 1.0)
    assert controller.state == "breached"
    assert not controller.allows(0.999)
    for _ in range(2_000):
        controller.missed(0.999, True)
    assert controller.state == "within"
    assert controller.allows(0.999)


def test_wilson_is_wilson() -> None:
    low, high = wilson(1, 100)
    assert (round(low, 4), round(high, 4)) == (0.0018, 0.0545)
    assert wilson(0, 0) == (0.0, 1.0)


def test_by_requests_the_bound_leaves_more_room_than_by_hits() -> None:
    strict, roomy = Controller(0.02), Controller(0.02, basis="requests")
    for number in range(4_000):
        for controller in (strict, roomy):
            controller.asked()
            if number % 4 == 0:
                controller.missed(0.97, number % 100 > 0)
    assert not strict.allows(0.97)
    assert roomy.allows(0.97)


def test_the_verifier_learns_what_its_prior_did_not_know() -> None:
    start = Prior((0.0,) * len(NAMES), tuple(tuple(row) for row in np.eye(len(NAMES)).tolist()))
    verifier, traffic = Verifier(start), Traffic(9)
    for _ in range(3_000):
        row, right = traffic.next(drifted=0.0)
        verifier.learn(row, right)
    gaps = []
    for _ in range(500):
        row, right = traffic.next(drifted=0.0)
        gaps.append((verifier.probability(row) - right) ** 2)
    assert sum(gaps) / len(gaps) < 0.12


def test_the_prior_prefers_what_is_near_and_alone_in_being_near() -> None:
    one, other = find("How do I reset my password?"), find("How can I reset my password please?")
    verifier = Verifier(prior())

    def chance(cosine: float, margin: float) -> float:
        return verifier.probability(features(Pair(cosine, margin, 1, 0), one, other))

    assert chance(0.95, 0.3) > chance(0.95, 0.0)
    assert chance(0.95, 0.3) > chance(0.7, 0.3)
    assert chance(0.95, 0.3) > 0.9
