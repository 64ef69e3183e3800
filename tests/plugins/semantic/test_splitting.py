"""What is split, and above all what is not."""

import time

import pytest

from asahi_semantic.splitting import Comparison, Questions, comparison, joined, questions


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Compare Redis and Memcached.", Comparison("Redis", "Memcached", "")),
        ("compare Redis with Memcached for sessions", Comparison("Redis", "Memcached", "for sessions")),
        ("What is the difference between TCP and UDP?", Comparison("TCP", "UDP", "")),
        ("What are the key differences between a 401(k) and an IRA in terms of tax?", None),
        ("Postgres vs MySQL", Comparison("Postgres", "MySQL", "")),
        ("Which is better, tea or coffee?", Comparison("tea", "coffee", "")),
    ],
)
def test_a_comparison_of_two_subjects_is_told(text, found):
    if found is None:
        found = Comparison("a 401(k)", "an IRA", "in terms of tax")
    assert comparison(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "Compare it and them.",
        "Compare A, B and C.",
        "Compare this text and the former one.",
        "What is the capital of France?",
        "Compare Redis and Redis.",
        "Write a poem about tea vs coffee, then translate it.",
        "Compare Redis and Memcached.\nAnswer in French.",
        "Compare " + "very " * 20 + "long things and short things",
    ],
)
def test_anything_else_is_not(text):
    assert comparison(text) is None


def test_a_numbered_list_of_questions_is_split():
    text = "Please answer in one sentence each:\n1. Who wrote Faust?\n2. Where is Lake Constance?\n"
    found = questions(text, 10)
    assert found == Questions(
        ("Who wrote Faust?", "Where is Lake Constance?"), "Please answer in one sentence each:", (1, 2)
    )
    assert joined(found, ["Goethe.", "In the Alps."]) == "1. Goethe.\n\n2. In the Alps."


def test_several_questions_in_a_row_are_split():
    found = questions("Who wrote Faust? Where is Lake Constance?", 10)
    assert found == Questions(("Who wrote Faust?", "Where is Lake Constance?"))
    assert joined(found, ["Goethe.", "In the Alps."]) == "Goethe.\n\nIn the Alps."


@pytest.mark.parametrize(
    "text",
    [
        "Who wrote Faust?",
        "Who wrote Faust? When did he die?",
        "Sort these:\n1. pear\n2. apple",
        "Which of these is harder?\n1. Who wrote Faust?\n2. Where is Lake Constance?",
        "Translate into French:\n1. Who wrote Faust?\n2. Where is Lake Constance?",
        "1. Who wrote Faust?\n2. Where is Lake Constance?\n\nAnswer in French.",
        "1. Who wrote Faust?\n3. Where is Lake Constance?",
        "My name is Ann. Who wrote Faust? Where is Lake Constance?",
        "Who wrote Faust? Who wrote Faust?",
        'Why did he say "Who are you?" and what is the meaning of life?',
        "Really? Are you sure?",
        " ".join(f"What is number {number} plus one?" for number in range(11)),
    ],
)
def test_any_doubt_is_one_question(text):
    assert questions(text, 10) is None


def test_long_texts_are_looked_at_in_linear_time():
    began = time.perf_counter()
    for text in (
        "compare a" + " and b" * 20_000,
        "?" * 100_000,
        "1. a?\n" * 20_000,
        "what is the difference between " * 4_000,
    ):
        comparison(text)
        questions(text, 10)
    assert time.perf_counter() - began < 5
