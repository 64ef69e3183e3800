"""Every way the vendor can fail is one error, rightly marked, and holds no credential."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from asahi_anthropic.failures import AnthropicDialect
from asahi_anthropic.provider import AnthropicProvider
from asahi_kernel import Chunk, Message, Model, ProviderError, Request
from asahi_kernel.testing.fakeup import Upstream

pytestmark = pytest.mark.anyio
MODEL = Model(name="registered", provider="anthropic", api_model="claude-test")


def ask(script: str) -> Request:
    return Request(messages=(Message("user", f"hello [[fakeup: {script}]]"),))


async def fail(provider: AnthropicProvider, script: str, *, stream: bool) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await (listen(provider, script) if stream else provider.complete(MODEL, ask(script)))
    return caught.value


async def listen(provider: AnthropicProvider, script: str, heard: list[Chunk] | None = None) -> None:
    async for chunk in provider.stream(MODEL, ask(script)):
        if heard is not None:
            heard.append(chunk)


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@both
@pytest.mark.parametrize(
    ("status", "retryable", "rejected"),
    [
        (400, False, True),
        (401, False, False),
        (403, False, False),
        (404, False, False),
        (408, True, False),
        (409, True, False),
        (413, False, False),
        (422, False, True),
        (429, True, False),
        (500, True, False),
        (503, True, False),
        (529, True, False),
    ],
)
async def test_a_status_says_whether_another_attempt_makes_sense(
    provider: AnthropicProvider, key: str, status: int, retryable: bool, rejected: bool, stream: bool
) -> None:
    error = await fail(provider, f"status={status}", stream=stream)
    assert (error.status, error.retryable, error.rejected, error.timed_out) == (status, retryable, rejected, False)
    assert key not in str(error) + repr(error)
    assert ("scripted failure" in error.message) is rejected


async def test_the_vendors_text_is_cut_short(provider: AnthropicProvider) -> None:
    request = Request(messages=(Message("user", "[[fakeup: " + "x" * 2_000 + "]]"),))
    with pytest.raises(ProviderError) as caught:
        await provider.complete(MODEL, request)
    assert caught.value.rejected
    assert len(caught.value.message) < 350


async def test_a_wish_in_seconds_is_obeyed(provider: AnthropicProvider) -> None:
    assert (await fail(provider, "status=429 retry_after=2.5", stream=False)).retry_after == 2.5


async def test_a_wish_as_a_date_is_obeyed(provider: AnthropicProvider) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True).replace(" ", "_")
    wish = (await fail(provider, f"status=503 retry_after={date}", stream=True)).retry_after
    assert wish is not None
    assert 95 < wish <= 100


@pytest.mark.parametrize("wish", ["soon", "nan", "-inf", "Fri,_99_Foo"])
async def test_a_wish_without_sense_is_none(provider: AnthropicProvider, wish: str) -> None:
    assert (await fail(provider, f"status=429 retry_after={wish}", stream=False)).retry_after is None


@both
async def test_a_redirect_is_refused_and_not_followed(
    provider: AnthropicProvider, upstream: Upstream, stream: bool
) -> None:
    error = await fail(provider, f"redirect={upstream.url}/v1/messages", stream=stream)
    assert (error.status, error.retryable, len(upstream.ledger)) == (307, False, 1)


@both
async def test_an_error_in_a_good_answer_is_an_error(provider: AnthropicProvider, stream: bool) -> None:
    error = await fail(provider, "body_error", stream=stream)
    assert "scripted" not in error.message


@both
@pytest.mark.parametrize("fault", ["reset_at=0", "eof_at=0", "garbage_at=0", "reset_at_byte=1", "reset_at_byte=400"])
async def test_a_broken_answer_is_not_tried_again_as_it_may_be_billed(
    provider: AnthropicProvider, fault: str, stream: bool
) -> None:
    assert (await fail(provider, f"{fault} tokens=90", stream=stream)).retryable is False


@pytest.mark.parametrize("at", range(9))
@pytest.mark.parametrize("fault", ["reset_at", "eof_at", "garbage_at", "error_event_at", "long_line_at"])
async def test_a_stream_that_dies_at_any_chunk_is_a_failure(provider: AnthropicProvider, fault: str, at: int) -> None:
    chunks: list[Chunk] = []
    with pytest.raises(ProviderError):
        await listen(provider, f"{fault}={at} tokens=8", chunks)
    assert len("".join(chunk.text for chunk in chunks)) <= 4 * at
    assert not any(chunk.usage or chunk.finish_reason for chunk in chunks)


async def test_a_stream_cut_at_any_byte_is_a_failure(provider: AnthropicProvider, upstream: Upstream) -> None:
    await listen(provider, "tokens=3")
    whole = upstream.ledger[0].bytes_sent
    for at in range(1, whole - len("data: [DONE]\n\n") - 40, 7):
        await fail(provider, f"reset_at_byte={at} tokens=3", stream=True)


@both
async def test_no_answer_at_all_is_a_timeout(hasty: AnthropicProvider, stream: bool) -> None:
    started = time.monotonic()
    error = await fail(hasty, "latency_ms=60000", stream=stream)
    assert (error.timed_out, error.retryable) == (True, False)
    assert abs(time.monotonic() - started - (0.3 if stream else 0.5)) < 0.15


@pytest.mark.parametrize(
    ("script", "seconds"),
    [
        ("stall_at=0", 0.3),
        ("stall_at=0 comments=5", 0.3),
        ("stall_at=3", 0.2),
        ("pace_ms=60 tokens=500", 0.8),
    ],
    ids=["first token", "comments are no token", "idle", "whole"],
)
async def test_each_timeout_of_a_stream_strikes_at_its_time(
    hasty: AnthropicProvider, upstream: Upstream, script: str, seconds: float
) -> None:
    started = time.monotonic()
    assert (await fail(hasty, script, stream=True)).timed_out
    assert abs(time.monotonic() - started - seconds) < 0.15
    await upstream.settled()
    assert upstream.ledger[0].closed_by == "client"


async def test_comments_do_not_stand_in_for_the_first_token(open_at: Any, upstream: Upstream) -> None:
    async with open_at(upstream.url, first_token_timeout_s=0.2, idle_timeout_s=5) as provider:
        started = time.monotonic()
        assert (await fail(provider, "stall_at=0 comments=5", stream=True)).timed_out
        assert time.monotonic() - started < 1


async def test_a_reader_who_takes_time_is_no_idle_upstream(hasty: AnthropicProvider) -> None:
    chunks = []
    async for chunk in hasty.stream(MODEL, ask("tokens=3")):
        chunks.append(chunk)
        await asyncio.sleep(0.25 if len(chunks) == 1 else 0)
    assert chunks[-1].usage is not None


async def test_a_host_that_cannot_be_reached_may_be_tried_again(open_at: Any, key: str) -> None:
    async with open_at("http://127.0.0.1:1") as provider:
        error = await fail(provider, "", stream=False)
    assert (error.status, error.retryable, error.timed_out) == (None, True, False)
    assert "127.0.0.1" not in str(error)
    assert key not in repr(error) + repr(provider)


async def test_a_host_that_never_accepts_is_a_timeout(open_at: Any) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, contextlib.ExitStack() as crowd:
        for _ in range(4):
            caller = crowd.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        async with open_at(f"http://127.0.0.1:{deaf.getsockname()[1]}", connect_timeout_s=0.2) as provider:
            started = time.monotonic()
            error = await fail(provider, "", stream=True)
        assert (error.retryable, error.timed_out) == (True, True)
        assert time.monotonic() - started < 1


async def test_an_empty_account_is_no_fault_of_the_request() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}'
    error = AnthropicDialect("").refused(400, {}, body)
    assert (error.retryable, error.rejected) == (False, False)


@pytest.mark.parametrize(
    ("kind", "status", "retryable"),
    [
        ("overloaded_error", 529, True),
        ("rate_limit_error", 429, True),
        ("api_error", 500, True),
        ("timeout_error", 504, True),
        ("invalid_request_error", 400, False),
        ("authentication_error", 401, False),
        ("billing_error", 402, False),
        ("new_error", None, True),
    ],
)
async def test_the_type_of_an_error_stands_for_its_status(kind: str, status: int | None, retryable: bool) -> None:
    error = AnthropicDialect("").reported(b'{"type":"%b","message":"x"}' % kind.encode())
    assert (error.status, error.retryable) == (status, retryable)


async def test_an_error_event_tells_its_status(provider: AnthropicProvider) -> None:
    assert (await fail(provider, "error_event_at=0", stream=True)).status == 529


@pytest.mark.parametrize(
    "told", ["key-0123456789", "0123456789", "sk-proj-abc*****xyz", "Bearer key-0123456789\n\x1b[31m"]
)
async def test_a_credential_in_the_vendors_text_is_masked(told: str) -> None:
    body = b'{"error":{"message":"bad request with %b"}}' % told.encode("unicode_escape").replace(b"\\x", b"\\u00")
    secret = "0123456789" if told == "0123456789" else "key-0123456789"
    message = AnthropicDialect(secret).refused(400, {}, body).message
    assert "0123456789" not in message
    assert "xyz" not in message
    assert message.isprintable()
