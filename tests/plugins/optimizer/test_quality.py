"""Estimates: the prior, what observations do to it, and how far one person can move it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from asahi_kernel.records import Observation
from asahi_kernel.testing import MODEL
from asahi_optimizer.config import EstimateConfig
from asahi_optimizer.quality import Qualities

TODAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
FOUR = msgspec.structs.replace(MODEL, quality_score=4.0)


class Clock:
    def __init__(self) -> None:
        self.now = TODAY

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def observation(number: int = 0, **fields: Any) -> Observation:
    values: dict[str, Any] = {
        "request_id": f"r{number}",
        "org": "here",
        "user": f"u{number}",
        "model": FOUR.name,
        "task": "faq",
        "difficulty": "medium",
        "quality": 5.0,
        "timestamp": TODAY,
    }
    return Observation(**(values | fields))


def quality(qualities: Qualities, org: str = "here", difficulty: str = "medium", task: str = "faq") -> float:
    qualities.refresh()
    return qualities.expect(org, FOUR, task, difficulty).quality


@pytest.mark.parametrize(("difficulty", "prior"), [("easy", 4.3), ("medium", 4.0), ("hard", 3.5)])
def test_the_prior_moves_with_the_difficulty(difficulty: str, prior: float) -> None:
    assert quality(Qualities(EstimateConfig()), difficulty=difficulty) == prior


def test_a_models_own_number_for_the_task_comes_first() -> None:
    able = msgspec.structs.replace(FOUR, task_quality={"faq": 4.8})
    assert Qualities(EstimateConfig()).expect("here", able, "faq", "medium").quality == 4.8


def test_without_observations_the_interval_is_that_of_the_prior() -> None:
    haiku = msgspec.structs.replace(FOUR, quality_score=3.8)
    low, high = Qualities(EstimateConfig()).expect("here", haiku, "faq", "medium").interval
    assert (round(low, 1), round(high, 1)) == (3.5, 4.1)


def test_twenty_observations_weigh_as_much_as_the_prior(clock: Clock) -> None:
    qualities = Qualities(EstimateConfig(), clock)
    for number in range(20):
        qualities.observe(observation(number))
    assert quality(qualities) == 4.5
    low, high = qualities.expect("here", FOUR, "faq", "medium").interval
    assert high - low < 2 * 0.286


def test_orgs_tasks_and_difficulties_learn_apart(clock: Clock) -> None:
    qualities = Qualities(EstimateConfig(), clock)
    qualities.observe(observation(quality=0.0))
    assert quality(qualities) < 4.0
    assert quality(qualities, org="there") == quality(qualities, task="coding") == 4.0
    assert quality(qualities, difficulty="easy") == 4.3


def test_a_sign_weighs_a_quarter(clock: Clock) -> None:
    qualities = Qualities(EstimateConfig(), clock)
    qualities.observe(observation(weight=0.25))
    assert quality(qualities) == pytest.approx((20 * 4 + 0.25 * 5) / 20.25, abs=1e-4)


def test_weights_halve_every_30_days(clock: Clock) -> None:
    qualities = Qualities(EstimateConfig(), clock)
    for number in range(20):
        qualities.observe(observation(number))
    clock.now = TODAY + timedelta(days=30)
    assert quality(qualities) == pytest.approx((20 * 4 + 10 * 5) / 30, abs=1e-4)


def test_a_later_judgement_replaces_the_earlier_one_even_the_day_after(clock: Clock) -> None:
    qualities = Qualities(EstimateConfig(), clock)
    qualities.observe(observation(quality=0.0))
    clock.now = TODAY + timedelta(days=1)
    qualities.observe(observation(quality=5.0, timestamp=clock.now))
    assert quality(qualities) == pytest.approx((20 * 4 + 5) / 21, abs=1e-4)


def test_a_user_counts_five_times_a_day_for_a_model_and_task(clock: Clock) -> None:
    qualities = Qualities(EstimateConfig(), clock)
    counted = [qualities.observe(observation(number, user="ann", quality=0.0)) for number in range(50)]
    assert counted == [True] * 5 + [False] * 45
    assert quality(qualities) == pytest.approx(20 * 4 / 25)
    assert qualities.observe(observation(60, user="bob"))
    assert qualities.observe(observation(61, user="ann", task="coding"))
    assert qualities.observe(observation(0, user="ann", quality=5.0)), "a replacement is no further say"
    clock.now = TODAY + timedelta(days=1)
    assert qualities.observe(observation(62, user="ann", timestamp=clock.now))


def test_other_orgs_count_only_where_both_share_and_at_most_50(clock: Clock) -> None:
    qualities = Qualities(EstimateConfig(share_quality=("here", "there")), clock)
    for number in range(400):
        qualities.observe(observation(number))
    assert quality(qualities, org="there") == pytest.approx((20 * 4 + 50 * 5) / 70, abs=1e-4)
    assert quality(qualities, org="elsewhere") == 4.0
    assert quality(qualities) == pytest.approx((20 * 4 + 400 * 5) / 420, abs=1e-4)


def test_sharing_is_off_by_default(clock: Clock) -> None:
    qualities = Qualities(EstimateConfig(), clock)
    qualities.observe(observation())
    assert quality(qualities, org="there") == 4.0


def test_a_request_that_was_never_routed_teaches_nothing(clock: Clock) -> None:
    assert not Qualities(EstimateConfig(), clock).observe(observation(difficulty=None))


def test_another_model_under_the_same_name_is_not_given_its_estimate() -> None:
    qualities = Qualities(EstimateConfig())
    assert quality(qualities) == 4.0
    better = msgspec.structs.replace(FOUR, quality_score=4.5)
    assert qualities.expect("here", better, "faq", "medium").quality == 4.5
