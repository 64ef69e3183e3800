"""The detector: the family with the most cues, and how sure it is."""

from __future__ import annotations

import pytest
from tests.plugins.optimizer.routes import ask

from asahi_kernel.types import Message, Part, Request
from asahi_optimizer.difficulty import bucket, find
from asahi_optimizer.tasks import detect


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("Summarize the attached policy in three sentences.", "summarization"),
        ("TL;DR please", "summarization"),
        ("WHY do cats purr?", "reasoning"),
        ("Analysing tides", "reasoning"),
        ("How do I reset my password?", "faq"),
        ("Tell me about Rome.", "faq"),
        ("Implement a queue", "coding"),
        ("```\nx\n```", "coding"),
        ("Say hello in French", "translation"),
        ("Categorise these mails", "classification"),
        ("A haiku, please", "creative"),
        ("Is there a statute?", "legal"),
        ("Pull out the names", "extraction"),
        ("List all rivers as JSON", "extraction"),
        ("Hello there", "general"),
        ("Somewhat isolated whyever", "general"),
        ("", "general"),
    ],
)
def test_a_cue_names_the_task(text: str, task: str) -> None:
    assert detect(ask(text)).task == task


def test_each_further_cue_adds_to_the_confidence_and_another_family_takes_from_it() -> None:
    assert detect(ask("translate")).confidence == 0.3
    assert detect(ask("translate, in german")).confidence == 0.5
    assert detect(ask("Translate this contract in German")).confidence == 0.45
    cues = "summarize summary overview recap brief tldr summarise"
    assert detect(ask(cues)).confidence == 0.95


def test_one_cue_each_of_two_families_is_no_evidence() -> None:
    found = detect(ask("translate the contract"))
    assert (found.task, found.confidence, found.matches) == ("general", 0.27, {"translation": 1, "legal": 1})


def test_a_cue_counts_once_however_often_it_comes() -> None:
    assert detect(ask("translate translate translate")).confidence == 0.3


def test_of_two_families_with_as_many_cues_the_first_named_wins() -> None:
    assert detect(ask("translate to, in german, the contract and the statute")).task == "translation"
    assert detect(ask("the contract and the statute, translate in german")).task == "legal"


def test_the_system_prompt_counts_up_to_its_500th_character() -> None:
    def of(system: str) -> str:
        return detect(Request(messages=(Message("system", system), Message("user", "go")))).task

    assert of("You classify mails.") == "classification"
    assert of(" " * 500 + "You classify mails.") == "general"


def test_only_the_last_user_turn_counts() -> None:
    turns = (Message("user", "translate"), Message("assistant", "a poem"), Message("user", "thanks"))
    assert detect(Request(messages=turns)).task == "general"


def test_parts_are_read_and_images_are_not() -> None:
    parts = (Part("text", "translate this"), Part("image_url", raw=b'{"url":"https://poem"}'))
    assert detect(Request(messages=(Message("user", parts),))).task == "translation"


def test_a_document_in_front_of_the_question_is_not_read() -> None:
    assert detect(ask("<document>\nthe contract, the statute\n</document>\n\nTranslate it.")).task == "translation"


def test_a_stated_task_is_certain() -> None:
    found = detect(ask("write code", task_type="legal"))
    assert (found.task, found.confidence, found.matches) == ("legal", 1.0, {"coding": 1})


def test_the_intent_is_the_first_sentence_of_at_most_80_characters() -> None:
    assert detect(ask("Translate this. Then rest.")).intent == "Translate this"
    assert detect(ask("a" * 200)).intent == "a" * 80


def test_words_of_other_scripts_do_not_hide_the_cues() -> None:
    assert detect(ask("Übersetzung: translate «façade» ✓")).task == "translation"


@pytest.mark.parametrize(
    ("text", "tokens", "score"),
    [
        ("hello", 0, 0.20),
        ("why", 0, 0.45),
        ("debug", 0, 0.40),
        ("why debug", 0, 0.65),
        ("hello", 1_500, 0.35),
        ("hello", 90_000, 0.35),
        ("must only exactly without avoid never", 0, 0.30),
        ("a = b + c > d", 0, 0.35),
        ("a = b > d", 0, 0.20),
        ("so? really?", 0, 0.30),
        ("what is it", 10, 0.051),
        ("what is it", 20, 0.202),
        ("why debug a = b + c > d? must? only exactly never avoid", 1_500, 1.0),
    ],
)
def test_difficulty_is_the_sum_of_its_signs(text: str, tokens: int, score: float) -> None:
    assert find(ask(text), tokens).score == pytest.approx(score)


def test_the_buckets_meet_at_035_and_070() -> None:
    assert [bucket(score) for score in (0.0, 0.3499, 0.35, 0.6999, 0.7, 1.0)] == [
        "easy",
        "easy",
        "medium",
        "medium",
        "hard",
        "hard",
    ]
