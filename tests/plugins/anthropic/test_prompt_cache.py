"""Prompt caching through the gateway: the vendor's ledger and ours agree, and the saving is what it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.kernel.kit import ask, chunks_of, events_of, gateway_of

from asahi_anthropic.encode import encode
from asahi_anthropic.marking import least_tokens, mark
from asahi_kernel import Message, Part, Request, Tool, ToolCall
from asahi_kernel.testing import HERE, THERE, fakeup
from asahi_kernel.types import Place

pytestmark = pytest.mark.anyio
RULES = "Rules of the house: answer with care and at length. " * 120
PRICE = "claude-x=3,15,0.3,3.75"
PROFILE = {
    "name": "claude-x",
    "provider": "anthropic",
    "cost_per_1k_input_tokens": 0.003,
    "cost_per_1k_output_tokens": 0.015,
    "cost_per_1k_cache_read_tokens": 0.0003,
    "cost_per_1k_cache_write_tokens": 0.00375,
}


@asynccontextmanager
async def gateway_at(upstream: fakeup.Upstream, **more: Any) -> AsyncIterator[Any]:
    tree = {
        "providers": {"anthropic": {"api_key": "sk-test", "base_url": upstream.url}},
        "models": [PROFILE],
        "cache": {"tiers": []},
        **more,
    }
    async with gateway_of(tree) as gateway:
        yield gateway


@pytest.fixture
async def upstream() -> AsyncIterator[fakeup.Upstream]:
    async with fakeup.running(prices=dict([fakeup.read_price(PRICE)])) as running:
        yield running


def said(*texts: str, **fields: Any) -> Request:
    roles = ("user", "assistant")
    turns = tuple(Message(roles[at % 2], text) for at, text in enumerate(texts))
    return Request(messages=(Message("system", RULES), *turns), **fields)


def markers(body: bytes) -> int:
    return body.count(b'"cache_control"')


async def test_a_system_prompt_is_written_once_and_read_then(upstream: fakeup.Upstream) -> None:
    async with gateway_at(upstream) as gateway:
        answers = [await ask(gateway, said(f"question {number}")) for number in range(5)]
        events = await events_of(gateway)
    rows = upstream.ledger
    assert [markers(body) for body in upstream.bodies] == [0, 1, 1, 1, 1]
    assert [(row.cache_write_tokens > 0, row.cached_tokens > 0) for row in rows] == [
        (False, False),
        (True, False),
        (False, True),
        (False, True),
        (False, True),
    ]
    assert [answer.bill.cost for answer in answers] == [row.cost for row in rows]
    assert sum(event.cost for event in events) == sum(row.cost or 0 for row in rows)
    saved = [answer.bill.saved_by.get("prompt_caching", 0) for answer in answers]
    assert saved[0] == 0
    assert saved[1] == -rows[1].cache_write_tokens * 750
    assert saved[2] == rows[2].cached_tokens * 2_700
    assert sum(saved) > 0
    for answer in answers:
        assert sum(answer.bill.saved_by.values()) == answer.bill.saved


async def test_a_growing_conversation_is_read_up_to_its_last_question(upstream: fakeup.Upstream) -> None:
    turns = ["question 0 " * 50]
    async with gateway_at(upstream) as gateway:
        for number in range(1, 6):
            answer = await ask(gateway, said(*turns))
            assert answer.bill.cost == upstream.ledger[-1].cost
            turns += [answer.completion.text, f"question {number} " * 50]
    read = [row.cached_tokens for row in upstream.ledger]
    assert read[:2] == [0, 0]
    assert read[2] < read[3] < read[4]


async def test_streams_are_marked_too(upstream: fakeup.Upstream) -> None:
    async with gateway_at(upstream) as gateway:
        for number in range(3):
            await chunks_of(gateway, said(f"question {number}"))
        events = await events_of(gateway)
    assert [row.cached_tokens > 0 for row in upstream.ledger] == [False, False, True]
    assert sorted(event.cost for event in events) == sorted(row.cost or 0 for row in upstream.ledger)


async def test_tenants_do_not_mark_for_each_other(upstream: fakeup.Upstream) -> None:
    async with gateway_at(upstream) as gateway:
        await ask(gateway, said("one"), HERE)
        await ask(gateway, said("one"), THERE)
    assert [markers(body) for body in upstream.bodies] == [0, 0]


async def test_a_callers_own_markers_go_through_and_are_its_own_saving(upstream: fakeup.Upstream) -> None:
    raw = json.dumps({"type": "text", "text": RULES, "cache_control": {"type": "ephemeral"}}).encode()
    request = Request(
        messages=(Message("system", (Part("text", RULES, raw),)), Message("user", "one")), wire="anthropic"
    )
    async with gateway_at(upstream) as gateway:
        answers = [await ask(gateway, request) for _ in range(3)]
    assert [markers(body) for body in upstream.bodies] == [1, 1, 1]
    assert [row.cached_tokens > 0 for row in upstream.ledger] == [False, True, True]
    assert [answer.bill.cost for answer in answers] == [row.cost for row in upstream.ledger]
    assert [answer.bill.saved_by for answer in answers] == [{}, {}, {}]
    assert [answer.bill.baseline_cost for answer in answers] == [row.cost for row in upstream.ledger]


async def test_it_can_be_turned_off(upstream: fakeup.Upstream) -> None:
    async with gateway_at(upstream, prompt_cache={"auto": False}) as gateway:
        for _ in range(3):
            await ask(gateway, said("one"))
    assert [markers(body) for body in upstream.bodies] == [0, 0, 0]


async def test_a_retried_call_is_seen_once(upstream: fakeup.Upstream) -> None:
    providers = {"anthropic": {"api_key": "sk-test", "base_url": upstream.url, "backoff_base_s": 0.001}}
    async with gateway_at(upstream, providers=providers) as gateway:
        await ask(gateway, said("one [[fakeup: status=503 first=2]]"))
        assert len(upstream.ledger) == 3
    assert [markers(body) for body in upstream.bodies] == [0, 0, 0]


async def test_a_provider_that_cannot_mark_fails_open(
    upstream: fakeup.Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Request:
        raise RuntimeError("secret prompt")

    monkeypatch.setattr("asahi_anthropic.marking.mark", broken)
    async with gateway_at(upstream) as gateway:
        for _ in range(2):
            assert (await ask(gateway, said("one"))).completion.text
        assert gateway.faults["prompt_cache.anthropic"] == 1
    assert [markers(body) for body in upstream.bodies] == [0, 0]


def body(request: Request, *places: Place) -> Any:
    return json.loads(encode(mark(request, places), "m", stream=False, default_max_tokens=9))


MARK = {"type": "ephemeral"}
LOOK = Tool(name="look", parameters=b'{"type":"object"}')
CALL = ToolCall(id="t1", name="look", arguments="{}")


def test_a_marker_stands_on_the_last_block_of_its_place() -> None:
    request = Request(
        messages=(
            Message("system", "Be brief."),
            Message("user", (Part("text", "a"), Part("text", "b"))),
            Message("assistant", "hm", tool_calls=(CALL,)),
            Message("tool", "seen", tool_call_id="t1"),
            Message("user", "<document>\nd\n</document>\n\nWhy?"),
        ),
        tools=(LOOK, LOOK),
    )
    plain = body(request)
    told = body(request, Place(0), Place(1), Place(2), Place(3), Place(4), Place(4, 27))
    assert [tool.get("cache_control") for tool in told["tools"]] == [None, MARK]
    assert told["system"] == [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
    blocks = [block for turn in told["messages"] for block in turn["content"]]
    assert [(block["type"], block.get("cache_control")) for block in blocks] == [
        ("text", None),
        ("text", MARK),
        ("text", None),
        ("tool_use", MARK),
        ("tool_result", MARK),
        ("text", MARK),
        ("text", None),
    ]
    assert blocks[-2]["text"] + blocks[-1]["text"] == request.messages[-1].text
    assert plain["messages"][0] == {"role": "user", "content": [{"type": "text", "text": x} for x in "ab"]}


def test_what_cannot_bear_a_marker_is_left_alone() -> None:
    thought = Part("thinking", raw=b'{"type":"thinking","thinking":"hm","signature":"s"}')
    for message in (Message("assistant", (thought,)), Message("user", ""), Message("assistant", ())):
        request = Request(messages=(message, Message("user", "x")), wire="anthropic")
        assert mark(request, [Place(1), Place(0)]) == request
    image = Part("image_url", raw=b'{"type":"image_url","image_url":{"url":"https://x/y"}}')
    request = Request(messages=(Message("user", (image,)), Message("user", "x")))
    assert mark(request, [Place(1)]) == request


def test_a_block_of_the_vendors_own_bears_one() -> None:
    document = Part("document", raw=b'{"type":"document","source":{"type":"text","data":"x"}}')
    request = Request(messages=(Message("user", (document,)), Message("user", "x")), wire="anthropic")
    assert body(request, Place(1))["messages"][0]["content"][0]["cache_control"] == MARK


@pytest.mark.parametrize(
    ("model", "least"),
    [
        ("claude-sonnet-4-5-20250929", 1_024),
        ("claude-opus-4-6", 4_096),
        ("claude-haiku-4-5-20251001", 4_096),
        ("claude-sonnet-4-6", 2_048),
        ("claude-3-5-haiku-latest", 2_048),
    ],
)
def test_each_model_has_its_least(model: str, least: int) -> None:
    assert least_tokens(model) == least


async def test_the_double_takes_no_more_markers_than_the_vendor(upstream: fakeup.Upstream) -> None:
    parts = tuple(
        Part("text", "x", b'{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}') for _ in "12345"
    )
    request = Request(messages=(Message("user", parts),), wire="anthropic")
    async with gateway_at(upstream) as gateway:
        with pytest.raises(Exception, match="maximum of 4 blocks"):
            await ask(gateway, request)
