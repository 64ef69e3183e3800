"""Conversations stay where their beginning is warm, unless leaving is cheaper in total."""

from __future__ import annotations

import msgspec
import pytest
from tests.plugins.optimizer.routes import routed, rules

from asahi_kernel.money import Prices, count_input, expect_output, per_million
from asahi_kernel.testing import HERE, MODEL
from asahi_kernel.testing.samples import THERE
from asahi_kernel.types import Completion, Message, Model, Request, Terms, Usage
from asahi_optimizer.estimating import Estimate
from asahi_optimizer.warmth import Warmth

pytestmark = pytest.mark.anyio
TERMS = Terms(quality_threshold=1.0, task_type="general")


def model(name: str, read: float | None, into: float) -> Model:
    prices = Prices(
        input=per_million(into), output=per_million(1), cache_read=None if read is None else per_million(read)
    )
    return msgspec.structs.replace(MODEL, name=name, prices=prices, capabilities=frozenset({"prompt_cache"}))


CACHING, PLAIN = model("caching", 0.3, 3.0), model("plain", None, 1.0)


def turns(count: int, size: int = 60) -> tuple[Message, ...]:
    """So many questions, each but the last one with its answer, after a long system prompt."""
    said = [Message("system", "Rules of the house. " * 400)]
    for number in range(count):
        said += [Message("user", f"question {number} ".ljust(size, "?")), Message("assistant", "an answer " * 10)]
    return tuple(said[:-1])


def answered(rule: Estimate, messages: tuple[Message, ...], name: str) -> None:
    rule.answered(Request(messages=messages), HERE, Completion(model=name))


async def chosen(given: dict[str, object], messages: tuple[Message, ...]) -> str:
    trace = await routed(Request(messages=messages, max_tokens=50, terms=TERMS), (CACHING, PLAIN), given)
    return trace.ranked[0].name


async def test_a_conversation_of_20_turns_is_switched_only_where_that_is_cheaper_in_total() -> None:
    """RT-6: turn 11 brings a text so long that reading everything afresh at the cheaper model costs less."""
    given, warm, names = rules(), ("caching", turns(1)), []
    answered(given["estimate"], turns(1), "caching")
    said = turns(1)
    for turn in range(2, 21):
        news = "word " * 9_000 if turn == 11 else f"question {turn}"
        said += (Message("assistant", "an answer"), Message("user", news))
        name = await chosen(given, said)
        tokens = count_input(Request(messages=said))
        output = expect_output(tokens, 50)
        cached = count_input(Request(messages=warm[1])) if warm[0] == "caching" else 0
        bills = {
            "caching": CACHING.prices.cost(Usage(tokens, output, cached)),
            "plain": PLAIN.prices.cost(Usage(tokens, output)),
        }
        assert name == min(bills, key=bills.__getitem__), turn
        names.append(name)
        answered(given["estimate"], said, name)
        warm = (name, said)
    assert names == ["caching"] * 9 + ["plain"] * 10


async def test_a_first_turn_and_another_conversation_are_cold() -> None:
    given = rules()
    answered(given["estimate"], turns(1), "caching")
    assert await chosen(given, turns(1)) == "plain"
    assert await chosen(given, (Message("system", "Other rules. " * 600), *turns(2)[1:])) == "plain"


async def test_a_model_that_does_not_cache_prompts_is_no_cheaper() -> None:
    given = rules()
    answered(given["estimate"], turns(1), "caching")
    assert await chosen(given, turns(2)) == "caching"
    dull = msgspec.structs.replace(CACHING, capabilities=frozenset())
    trace = await routed(Request(messages=turns(2), max_tokens=50, terms=TERMS), (dull, PLAIN), given)
    assert trace.ranked[0].name == "plain"


async def test_warmth_ends_after_five_minutes_and_at_the_orgs_border() -> None:
    now = [0.0]
    warmth = Warmth(lambda: now[0])
    warmth.remember(HERE.org, Request(messages=turns(1)), "caching")
    request = Request(messages=turns(2))
    found = warmth.of(HERE.org, request)
    assert found is not None
    assert found.tokens == count_input(Request(messages=turns(1)))
    assert warmth.of(THERE.org, request) is None
    now[0] = 300.0
    assert warmth.of(HERE.org, request) is None


async def test_a_short_beginning_is_not_kept_by_vendors() -> None:
    warmth = Warmth()
    warmth.remember(HERE.org, Request(messages=(Message("user", "short"),)), "caching")
    later = (Message("user", "short"), Message("assistant", "yes"), Message("user", "more"))
    assert warmth.of(HERE.org, Request(messages=later)) is None


async def test_memory_is_bounded() -> None:
    warmth = Warmth()
    long = "x" * 5_000
    for number in range(2_100):
        warmth.remember(HERE.org, Request(messages=(Message("user", f"{number}{long}"),)), "caching")
    assert len(warmth._warm) == 2_000
