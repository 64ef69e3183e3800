"""The acceptance table: the expected choice for each task or preference and each difficulty, cell by cell."""

from __future__ import annotations

import pytest
from tests.plugins.optimizer.routes import routed, sized

from asahi_kernel.errors import NoRoute

pytestmark = pytest.mark.anyio

MISTRAL, HAIKU, SONNET, GPT = "mistral-7b", "claude-3-5-haiku", "claude-3-5-sonnet", "gpt-4-turbo"
DIFFICULTIES = ("easy", "medium", "hard")

AUTOPILOT = {
    ("faq", "summarization", "translation", "creative", "general", "extraction"): (MISTRAL, HAIKU, SONNET),
    ("classification",): (MISTRAL, MISTRAL, HAIKU),
    ("reasoning", "coding"): (HAIKU, SONNET, GPT),
    ("legal",): (SONNET, GPT, GPT),
    ("recommendation", "support"): (MISTRAL, HAIKU, SONNET),
}
ANY = ("slow", "normal", "fast", "instant")
UNHURRIED = ANY[:3]
GUIDED = [
    ("low", ANY, (MISTRAL, MISTRAL, HAIKU), ("", "", "")),
    ("medium", ANY, (MISTRAL, HAIKU, SONNET), ("", "", "")),
    ("high", UNHURRIED, (HAIKU, SONNET, GPT), ("", "", "")),
    ("high", ("instant",), (HAIKU, SONNET, GPT), ("", "", "latency")),
    ("max", UNHURRIED, (GPT, GPT, GPT), ("", "", "quality")),
    ("max", ("instant",), (GPT, GPT, GPT), ("latency", "latency", "quality")),
]


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("task", [task for tasks in AUTOPILOT for task in tasks])
async def test_autopilot(task: str, difficulty: str) -> None:
    trace = await routed(sized(difficulty, task_type=task))
    (expected,) = [row for tasks, row in AUTOPILOT.items() if task in tasks]
    assert trace.findings is not None
    assert (trace.findings.difficulty, trace.candidates[0].input_tokens) == (difficulty, 1_000)
    assert trace.ranked[0].name == expected[DIFFICULTIES.index(difficulty)]
    assert trace.relaxed == ()


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize(
    ("quality", "latency", "expected", "relaxed"),
    [(quality, each, expected, relaxed) for quality, latencies, expected, relaxed in GUIDED for each in latencies],
)
async def test_guided(
    quality: str, latency: str, expected: tuple[str, ...], relaxed: tuple[str, ...], difficulty: str
) -> None:
    place = DIFFICULTIES.index(difficulty)
    terms = {"mode": "guided", "quality_preference": quality, "latency_preference": latency}
    trace = await routed(sized(difficulty, task_type="general", **terms))
    assert trace.ranked[0].name == expected[place]
    assert bool(trace.relaxed) is bool(relaxed[place])
    assert not relaxed[place] or relaxed[place] in trace.relaxed


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("mode", ["autopilot", "guided"])
async def test_a_stated_quality_that_nobody_has(mode: str, difficulty: str) -> None:
    with pytest.raises(NoRoute) as refused:
        await routed(sized(difficulty, mode=mode, quality_threshold=4.9))
    assert (refused.value.status, refused.value.code) == (422, "no_route")
    assert refused.value.details["nearest"]["quality_threshold"]["model"] == GPT
