"""Beginnings are marked where that repays: never across tenants, never over the caller's own, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from asahi_kernel.money import Prices, per_million
from asahi_kernel.prefixes import Recent, digests
from asahi_kernel.prompt_cache import PromptCache, marked, repays
from asahi_kernel.routing import consider, worst_case
from asahi_kernel.settings import PromptCache as Settings
from asahi_kernel.testing import MODEL
from asahi_kernel.types import Message, Model, Part, Place, Request, Tool, ToolCall

replace = msgspec.structs.replace
PRICES = Prices(
    input=per_million(3), output=per_million(15), cache_read=per_million("0.3"), cache_write=per_million("3.75")
)
CLAUDE = replace(MODEL, name="claude", api_model="claude-x", prices=PRICES)
RULES = "Rules of the house. " * 300
TOOL = Tool(name="look", description="x" * 6_000)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Marker:
    most_markers = 4
    kept_s = 300.0

    def __init__(self) -> None:
        self.places: Sequence[Place] = ()

    def least_tokens(self, model: Model) -> int:
        return 1_024

    def mark(self, request: Request, places: Sequence[Place]) -> Request:
        self.places = tuple(places)
        return replace(request, seed=1)


def request(*texts: str, system: str = RULES, **fields: object) -> Request:
    roles = ("user", "assistant")
    turns = tuple(Message(roles[at % 2], text) for at, text in enumerate(texts))
    return Request(messages=(Message("system", system), *turns), **fields)  # type: ignore[arg-type]


class Cached:
    """A prompt cache, the provider it marks for, and the time."""

    def __init__(self, **settings: object) -> None:
        self.clock = Clock()
        self.provider = Marker()
        self.cache = PromptCache(Settings(**settings), self.clock)  # type: ignore[arg-type]

    def places(self, asked: Request, org: str = "here", model: Model = CLAUDE) -> Sequence[Place]:
        self.provider.places = ()
        prepared = self.cache.prepare(org, self.provider, model, asked)
        assert (prepared is asked) is (not self.provider.places)
        return self.provider.places


def test_a_beginning_is_marked_when_it_comes_the_second_time() -> None:
    cached = Cached()
    assert cached.places(request("one")) == ()
    assert cached.places(request("two")) == (Place(1),)
    assert cached.places(request("three")) == (Place(1),)


def test_what_comes_again_too_late_is_new() -> None:
    cached = Cached()
    cached.places(request("one"))
    cached.clock.now = 300.0
    assert cached.places(request("two")) == ()
    cached.clock.now = 599.0
    assert cached.places(request("three")) == (Place(1),)


def test_tenants_and_models_are_apart() -> None:
    cached = Cached()
    cached.places(request("one"))
    assert cached.places(request("one"), org="there") == ()
    assert cached.places(request("one"), model=replace(CLAUDE, api_model="claude-y")) == ()
    assert cached.places(request("one")) == (Place(1),)


def test_what_is_too_short_is_not_marked() -> None:
    cached = Cached()
    for _ in range(3):
        assert cached.places(request("one", system="Be brief.")) == ()
        assert cached.places(request("x" * 9_000, system="Be brief.")) == ()


def test_a_conversation_is_marked_up_to_what_was_said_before() -> None:
    cached = Cached()
    cached.places(request("one"))
    assert cached.places(request("one", "answer", "two")) == (Place(1), Place(2))
    assert cached.places(request("one", "answer", "two", "answer", "three")) == (Place(1), Place(4))
    assert cached.places(request("one", "answer", "other")) == (Place(1), Place(3))


def test_the_last_turn_is_never_marked() -> None:
    cached = Cached()
    for _ in range(3):
        places = cached.places(request("the same question"))
    assert places == (Place(1),)


def test_tools_the_system_prompt_and_a_document_have_places_of_their_own() -> None:
    cached = Cached()
    document = "<document>\n" + "Once upon a time. " * 300 + "\n</document>\n\n"
    for question in ("What?", "Who?"):
        places = cached.places(request(document + question, tools=(TOOL,)))
    assert places == (Place(0), Place(1), Place(1, len(document)))
    assert cached.places(request("other", system=RULES + "!", tools=(TOOL,))) == (Place(0),)


@pytest.mark.parametrize(("most", "places"), [(1, 1), (2, 2), (3, 3), (16, 4)])
def test_there_are_never_more_markers_than_allowed(most: int, places: int) -> None:
    cached = Cached(max_markers=most)
    document = "<document>\n" + "Once upon a time. " * 300 + "\n</document>\n\n"
    for _ in range(3):
        found = cached.places(request("one", "answer", document + "What?", tools=(TOOL,)))
    assert len(found) == places


def test_it_can_be_turned_off() -> None:
    cached = Cached(auto=False)
    for _ in range(3):
        assert cached.places(request("one")) == ()


MARK = b'{"cache_control":{"type":"ephemeral"}}'
OWN = {
    "a tool": request("one", tools=(replace(TOOL, extra=MARK),)),
    "a part": Request(messages=(Message("user", (Part("text", RULES, raw=MARK),)), Message("user", "one"))),
    "a message": Request(messages=(Message("user", RULES, extra=MARK), Message("user", "one"))),
    "a call": Request(
        messages=(Message("user", RULES), Message("assistant", tool_calls=(ToolCall(id="1", name="x", extra=MARK),)))
    ),
    "the whole": request("one", options=(("cache_control", b'{"type":"ephemeral"}'),)),
}


@pytest.mark.parametrize("asked", OWN.values(), ids=OWN)
def test_nothing_is_added_where_the_caller_set_a_marker(asked: Request) -> None:
    cached = Cached()
    assert marked(asked)
    for _ in range(3):
        assert cached.places(asked) == ()


@pytest.mark.parametrize(
    ("read", "write", "reuse", "worth"),
    [
        ("0.3", "3.75", 1, True),
        ("0.3", "6", 1, False),
        ("0.3", "6", 2, True),
        ("2.9", "3.75", 7, False),
        ("2.9", "3.75", 8, True),
        ("3", "3", 100, False),
        (None, "3.75", 100, False),
        ("0.3", None, 1, True),
    ],
)
def test_writing_must_repay(read: str | None, write: str | None, reuse: int, worth: bool) -> None:
    prices = Prices(
        input=per_million(3),
        output=per_million(15),
        cache_read=None if read is None else per_million(read),
        cache_write=None if write is None else per_million(write),
    )
    model = replace(CLAUDE, prices=prices)
    assert repays(model, reuse) is worth
    cached = Cached()
    for _ in range(reuse):
        cached.places(request("one"), model=model)
    assert bool(cached.places(request("one"), model=model)) is worth


def test_an_unknown_price_is_no_reason_to_pay_more() -> None:
    assert not repays(replace(CLAUDE, prices=None), 100)


def test_memory_is_bounded_and_a_busy_org_costs_no_other_its_memory() -> None:
    cached = Cached()
    cached.places(request("one"), org="quiet")
    for number in range(2_000):
        cached.places(request(f"{number}", system=f"{number}{RULES}"), org="busy")
    assert cached.places(request("two"), org="quiet") == (Place(1),)
    (seen,) = cached.cache._seen.values()
    assert len(seen) <= 2 * 512
    for number in range(400):
        cached.places(request("one"), org=f"org-{number}")
    assert len(seen._shelves) == 256


def test_a_digest_is_of_all_that_comes_before() -> None:
    one, two = digests(request("a", "b", "c")), digests(request("a", "x", "c"))
    assert one[:3] == two[:3]
    assert not set(one[3:]) & set(two[3:])
    assert digests(request("a", tools=(TOOL,)))[0] != one[0]


def test_recent_forgets_what_is_old() -> None:
    clock = Clock()
    recent: Recent[str] = Recent(10, most=2, orgs=2, clock=clock)
    recent.put("here", b"a", "one")
    clock.now = 9.9
    assert (recent.get("here", b"a"), recent.get("there", b"a")) == ("one", None)
    clock.now = 10.0
    assert recent.get("here", b"a") is None


def test_a_budget_holds_the_surcharge_too() -> None:
    """What is written to the cache costs a quarter more, which a lease must cover."""
    long, short = request("one"), request("one", system="Be brief.")
    (dear,), (cheap,) = consider((CLAUDE,), long), consider((CLAUDE,), short)
    tokens = -(-dear.input_tokens * 11 // 10)
    assert worst_case(long)(dear) >= tokens * 3_750 + CLAUDE.max_output_tokens * 15_000
    assert worst_case(short)(cheap) < 2_000 * 3_000 + CLAUDE.max_output_tokens * 15_000
