"""The fake upstream speaks Cohere's wire: the vendor's own SDK understands it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import cohere
import httpx
import pytest
from cohere.errors import TooManyRequestsError

from asahi_kernel.testing.fakeup import Upstream

pytestmark = pytest.mark.anyio
LOOK: Any = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {}}}


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[cohere.AsyncClientV2]:
    async with httpx.AsyncClient() as http:
        yield cohere.AsyncClientV2(api_key="sk-sdk", base_url=upstream.url, httpx_client=http)


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


async def test_the_sdk_reads_an_answer(client: cohere.AsyncClientV2, upstream: Upstream) -> None:
    answer = await client.chat(model="cohere-test", messages=said("hi [[fakeup: tokens=5 thinking=2]]"))
    (row,) = upstream.ledger
    assert [item.type for item in answer.message.content or ()] == ["thinking", "text"]
    assert answer.finish_reason == "COMPLETE"
    assert answer.usage is not None
    assert answer.usage.billed_units is not None
    assert (answer.usage.billed_units.input_tokens, answer.usage.billed_units.output_tokens) == (row.input_tokens, 7)
    assert row.credential == "sk-sdk"


async def test_the_sdk_reads_a_stream(client: cohere.AsyncClientV2) -> None:
    text, kinds = "", []
    async for event in client.chat_stream(model="cohere-test", messages=said("hi [[fakeup: tokens=5]]")):
        kinds.append(event.type)
        if event.type == "content-delta":
            text += event.delta.message.content.text  # type: ignore[union-attr, operator]
        if event.type == "message-end":
            assert event.delta is not None
            assert event.delta.finish_reason == "COMPLETE"
            assert event.delta.usage is not None
    assert kinds == ["message-start", "content-start", *["content-delta"] * 5, "content-end", "message-end"]
    assert len(text) == 20


async def test_the_sdk_reads_a_tool_call_whole_and_streamed(client: cohere.AsyncClientV2) -> None:
    asked = {"model": "cohere-test", "messages": said("[[fakeup: tool=look tokens=6 thinking=2]]"), "tools": [LOOK]}
    answer = await client.chat(**asked)
    (call,) = answer.message.tool_calls or ()
    assert call.function is not None
    assert (call.function.name, len(answer.message.tool_plan or "")) == ("look", 8)
    arguments = ""
    async for event in client.chat_stream(**asked):
        if event.type == "tool-call-delta":
            arguments += event.delta.message.tool_calls.function.arguments  # type: ignore[union-attr, operator]
    assert arguments == call.function.arguments


async def test_the_sdk_reads_embeddings(client: cohere.AsyncClientV2, upstream: Upstream) -> None:
    answer = await client.embed(
        model="embed-english-v3.0", input_type="search_query", texts=["a", "b"], embedding_types=["float"]
    )
    assert [len(vector) for vector in answer.embeddings.float_ or ()] == [1_024, 1_024]
    assert answer.meta is not None
    assert answer.meta.billed_units is not None
    assert answer.meta.billed_units.input_tokens == upstream.ledger[0].input_tokens


async def test_the_sdk_knows_the_error(client: cohere.AsyncClientV2) -> None:
    with pytest.raises(TooManyRequestsError) as caught:
        await client.chat(
            model="cohere-test",
            messages=said("[[fakeup: status=429]]"),
            request_options={"max_retries": 0},
        )
    assert caught.value.body["message"].startswith("scripted failure")
