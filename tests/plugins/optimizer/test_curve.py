"""The measures of the routing benchmark, on answers simple enough to count by hand."""

from __future__ import annotations

import pytest
from benchmarks.routing.answers import Graded, held_out
from benchmarks.routing.curve import curve


def rows(*grades: tuple[bool, bool]) -> list[Graded]:
    return [Graded("mmlu", None, str(place), weak, strong) for place, (weak, strong) in enumerate(grades)]


HELPS, SAME = (False, True), (True, True)


def test_the_order_decides() -> None:
    graded = rows(HELPS, HELPS, SAME, SAME)
    best, worst = curve(graded, [4, 3, 2, 1]), curve(graded, [1, 2, 3, 4])
    assert (best.area(), worst.area()) == (0.75, 0.25)
    assert (best.threshold(50), worst.threshold(50)) == (0.25, 0.75)
    assert best.keeping(1.0) == 0.5


def test_equal_scores_are_chance() -> None:
    chance = curve(rows(HELPS, SAME, SAME, HELPS), [0, 0, 0, 0])
    assert (chance.area(), chance.threshold(50), chance.threshold(80)) == (0.5, 0.5, pytest.approx(0.8))


def test_half_of_the_rows_is_left_alone() -> None:
    judged = sum(len(each) for each in held_out().values())
    assert 0.45 < judged / 5_701 < 0.6
