"""What is learned from traffic: lengths and starts, by nearest rank, of the newest calls only."""

import random

from asahi_kernel.learned import LEAST_STARTS, Learned, Recent


def test_nothing_is_known_of_too_few():
    learned = Learned(least=30)
    for _ in range(29):
        learned.note("m", "faq", 100, 5.0, streamed=True)
    assert learned.output_tokens("m", "faq") is None
    learned.note("m", "faq", 100, 5.0, streamed=True)
    assert learned.output_tokens("m", "faq") == 100
    assert learned.output_tokens("m", "coding") is None
    assert learned.output_tokens("other", "faq") is None


def test_starts_are_known_by_model_whatever_the_task():
    learned = Learned()
    for number in range(LEAST_STARTS):
        learned.note("m", random.choice(["faq", "coding"]), 1, float(number), streamed=True)
    assert learned.start_ms("m", 0.95, streamed=True) == 18.0
    assert learned.start_ms("m", 0.5, streamed=True) == 9.0
    assert learned.start_ms("other", 0.5, streamed=True) is None


def test_quantiles_are_those_of_the_newest_calls():
    recent, dice = Recent(), random.Random(1)
    for _ in range(1_000):
        recent.add(dice.uniform(0, 10))
    for _ in range(208):
        recent.add(1_000.0)
    assert recent.at(0.05, 1) == 1_000.0


def test_an_unknown_start_teaches_the_length_alone():
    learned = Learned(least=1)
    learned.note("m", "faq", 7, None, streamed=False)
    assert learned.output_tokens("m", "faq") == 7
    assert learned.start_ms("m", 0.5, streamed=False) is None
