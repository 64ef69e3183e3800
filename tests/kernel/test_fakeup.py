"""The outside witness tells the truth, and fails exactly as its script says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from asahi_kernel.testing import fakeup
from asahi_kernel.testing.fakeup.script import Director

pytestmark = pytest.mark.anyio
PRICES = dict([fakeup.read_price("gpt=0.15,0.60,0.075"), fakeup.read_price("claude=3,15")])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def upstream() -> AsyncIterator[fakeup.Upstream]:
    async with fakeup.running(prices=PRICES) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        headers={"authorization": "Bearer sk-test"}, timeout=aiohttp.ClientTimeout(5)
    ) as session:
        yield session


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt", "messages": [{"role": "user", "content": text}], **fields}


async def ask(client: aiohttp.ClientSession, upstream: fakeup.Upstream, text: str, **fields: Any) -> Any:
    async with client.post(upstream.url + "/v1/chat/completions", json=chat(text, **fields)) as response:
        return await response.json()


async def listen(client: aiohttp.ClientSession, upstream: fakeup.Upstream, text: str, **fields: Any) -> list[str]:
    async with client.post(upstream.url + "/v1/chat/completions", json=chat(text, stream=True, **fields)) as response:
        return [line[6:].strip() async for raw in response.content if (line := raw.decode()).startswith("data: ")]


def said(events: list[str]) -> str:
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def test_every_token_is_four_bytes(client: aiohttp.ClientSession, upstream: fakeup.Upstream) -> None:
    reply = await ask(client, upstream, "hello [[fakeup: tokens=20]]")
    assert len(reply["choices"][0]["message"]["content"]) == 4 * reply["usage"]["completion_tokens"] == 80


async def test_the_same_question_gets_the_same_answer_streamed_or_not(
    client: aiohttp.ClientSession, upstream: fakeup.Upstream
) -> None:
    whole = (await ask(client, upstream, "hello"))["choices"][0]["message"]["content"]
    assert said(await listen(client, upstream, "hello")) == whole
    assert (await ask(client, upstream, "other"))["choices"][0]["message"]["content"] != whole


async def test_the_bill_is_exact_and_rounded_up_once(client: aiohttp.ClientSession, upstream: fakeup.Upstream) -> None:
    await ask(client, upstream, "x" * 100 + "[[fakeup: tokens=7 cached=5]]")
    (row,) = upstream.ledger
    assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (33, 5, 7)
    assert row.cost == (28 * 150 + 5 * 75 + 7 * 600)
    assert (row.credential, row.model, row.status, row.closed_by) == ("sk-test", "gpt", 200, "server")


async def test_a_fraction_of_a_nano_dollar_is_rounded_up(client: aiohttp.ClientSession) -> None:
    async with fakeup.running(prices={"gpt": fakeup.Price(Fraction(0), Fraction("0.0001"))}) as upstream:
        await ask(client, upstream, "[[fakeup: tokens=11]]")
        assert upstream.ledger[0].cost == 2


async def test_the_callers_bound_ends_the_answer_with_length(
    client: aiohttp.ClientSession, upstream: fakeup.Upstream
) -> None:
    reply = await ask(client, upstream, "[[fakeup: tokens=50]]", max_tokens=3)
    assert (reply["choices"][0]["finish_reason"], reply["usage"]["completion_tokens"]) == ("length", 3)


async def test_usage_is_streamed_only_when_asked_for(client: aiohttp.ClientSession, upstream: fakeup.Upstream) -> None:
    assert not any('"usage"' in event for event in await listen(client, upstream, "x"))
    events = await listen(client, upstream, "x", stream_options={"include_usage": True})
    assert json.loads(events[-2])["usage"]["completion_tokens"] == upstream.ledger[1].output_tokens
    assert (json.loads(events[-2])["choices"], events[-1]) == ([], "[DONE]")


async def test_a_tool_is_called_only_when_offered_and_allowed(
    client: aiohttp.ClientSession, upstream: fakeup.Upstream
) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    called = await ask(client, upstream, "[[fakeup: tool=look]]", tools=tools)
    assert called["choices"][0]["finish_reason"] == "tool_calls"
    assert json.loads(called["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]).keys() == {"a"}
    for refused in ({}, {"tools": tools, "tool_choice": "none"}):
        assert (await ask(client, upstream, "[[fakeup: tool=look]]", **refused))["choices"][0]["message"]["content"]


async def test_n_choices_are_all_billed(client: aiohttp.ClientSession, upstream: fakeup.Upstream) -> None:
    events = await listen(client, upstream, "[[fakeup: tokens=5]]", n=3)
    assert {choice["index"] for event in events[:-1] for choice in json.loads(event)["choices"]} == {0, 1, 2}
    assert upstream.ledger[0].output_tokens == 15


async def test_a_client_that_hangs_up_is_billed_what_was_written(upstream: fakeup.Upstream) -> None:
    async with aiohttp.ClientSession() as client:
        body = chat("[[fakeup: tokens=500 pace_ms=5]]", stream=True)
        async with client.post(upstream.url + "/v1/chat/completions", json=body) as response:
            seen = b""
            while seen.count(b"content") < 6:
                seen += await response.content.readany()
            assert upstream.active == 1
    await upstream.settled()
    (row,) = upstream.ledger
    assert row.closed_by == "client"
    assert 5 <= row.output_tokens <= 10
    assert row.cost == row.input_tokens * 150 + row.output_tokens * 600


async def test_a_refused_call_costs_nothing(client: aiohttp.ClientSession, upstream: fakeup.Upstream) -> None:
    async with client.post(
        upstream.url + "/v1/chat/completions", json=chat("[[fakeup: status=429 retry_after=2]]")
    ) as response:
        assert (response.status, response.headers["retry-after"]) == (429, "2")
        assert "message" in (await response.json())["error"]
    assert (upstream.ledger[0].cost, upstream.ledger[0].output_tokens) == (0, 0)


async def test_first_applies_the_fault_to_the_first_calls_of_that_text_only(
    client: aiohttp.ClientSession, upstream: fakeup.Upstream
) -> None:
    text = "[[fakeup: status=503 first=2 tokens=9]]"
    replies = [await ask(client, upstream, text) for _ in range(3)]
    assert ["error" in reply for reply in replies] == [True, True, False]
    assert replies[2]["usage"]["completion_tokens"] == 9
    assert "error" in await ask(client, upstream, text + " other")


async def test_a_default_fault_holds_until_it_is_taken_back(
    client: aiohttp.ClientSession, upstream: fakeup.Upstream
) -> None:
    upstream.fault = "status=500"
    assert "error" in await ask(client, upstream, "x")
    upstream.fault = ""
    assert "choices" in await ask(client, upstream, "x")


async def test_a_misspelt_directive_is_refused(client: aiohttp.ClientSession, upstream: fakeup.Upstream) -> None:
    assert "stal_at" in (await ask(client, upstream, "[[fakeup: stal_at=1]]"))["error"]["message"]
    with pytest.raises(ValueError, match="Expected"):
        Director().script("[[fakeup: status=many]]")


@pytest.mark.parametrize(("fault", "error"), [("reset_at=3", aiohttp.ClientError), ("stall_at=3", TimeoutError)])
async def test_a_broken_stream_stops_after_that_many_tokens(
    upstream: fakeup.Upstream, fault: str, error: type[Exception]
) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=0.2)) as client:
        with pytest.raises(error):
            await listen(client, upstream, f"[[fakeup: {fault} tokens=20]]")
    await upstream.settled()
    assert upstream.ledger[0].output_tokens == 3


@pytest.mark.parametrize("at", [0, 1, 5, 8])
async def test_eof_leaves_out_the_terminator(client: aiohttp.ClientSession, upstream: fakeup.Upstream, at: int) -> None:
    events = await listen(client, upstream, f"[[fakeup: eof_at={at} tokens=8]]")
    assert len(said(events)) == 4 * at
    assert "[DONE]" not in events
    assert not any('"finish_reason":"stop"' in event for event in events)


async def test_a_reset_comes_at_the_very_byte(upstream: fakeup.Upstream) -> None:
    for stream in (True, False):
        body = json.dumps(chat("[[fakeup: reset_at_byte=300 tokens=90]]", stream=stream)).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(upstream.url.rpartition(":")[2]))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        seen = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := await reader.read(7):
                seen += piece
        assert len(seen) == 300
        writer.close()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("usage=absurd", 2**63),
        ("usage=negative", -6),
        ("usage=float", 6.5),
        ("usage=below", 1),
    ],
)
async def test_absurd_usage_is_told_while_the_truth_is_booked(
    client: aiohttp.ClientSession, upstream: fakeup.Upstream, fault: str, told: float
) -> None:
    reply = await ask(client, upstream, f"[[fakeup: {fault} tokens=6]]")
    assert reply["usage"]["completion_tokens"] == told
    assert upstream.ledger[0].output_tokens == 6
    assert upstream.ledger[0].usage is not None


async def test_a_repeated_completion_id_still_gets_its_own_attempt(
    client: aiohttp.ClientSession, upstream: fakeup.Upstream
) -> None:
    ids = {(await ask(client, upstream, "[[fakeup: repeat_id]]"))["id"] for _ in range(3)}
    assert len(ids) == 1
    assert len({row.attempt for row in upstream.ledger}) == 3


async def test_the_messages_wire_streams_and_answers_alike(
    client: aiohttp.ClientSession, upstream: fakeup.Upstream
) -> None:
    body = {**chat("hello"), "model": "claude", "max_tokens": 100}
    async with client.post(upstream.url + "/v1/messages", json=body) as response:
        whole = await response.json()
    async with client.post(upstream.url + "/v1/messages", json=body | {"stream": True}) as response:
        events = [json.loads(raw[6:]) async for raw in response.content if raw.startswith(b"data: ")]
    assert "".join(e["delta"].get("text", "") for e in events if "delta" in e) == whole["content"][0]["text"]
    assert events[-2]["usage"] == whole["usage"]
    assert (whole["stop_reason"], events[-1]) == ("end_turn", {"type": "message_stop"})
    assert upstream.ledger[0].cost == whole["usage"]["input_tokens"] * 3000 + whole["usage"]["output_tokens"] * 15000


async def test_the_messages_wire_calls_a_tool(client: aiohttp.ClientSession, upstream: fakeup.Upstream) -> None:
    fields = {"model": "claude", "max_tokens": 100, "tools": [{"name": "look", "input_schema": {}}]}
    body = {**chat("x"), **fields, "tool_choice": {"type": "tool", "name": "look"}}
    async with client.post(upstream.url + "/v1/messages", json=body) as response:
        whole = await response.json()
    assert (whole["content"][0]["name"], whole["stop_reason"]) == ("look", "tool_use")


async def test_a_process_keeps_a_ledger_file_that_outlives_it(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    command = (sys.executable, "-m", "asahi_kernel.testing.fakeup", "--ledger", str(path), "--price", "gpt=1,2")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    url = line.removeprefix("listening on ").strip()
    async with client.post(url + "/v1/chat/completions", json=chat("x")) as response:
        told = (await response.json())["usage"]
    async with client.get(url + "/v1/models"):
        pass
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    (row,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert row["cost"] == told["prompt_tokens"] * 1000 + told["completion_tokens"] * 2000
