"""Every way any vendor can fail is one error, rightly marked, and holds no credential."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from tests.plugins.vendors import Vendor, ask

from asahi_kernel import Chunk, ProviderError
from asahi_kernel.testing.fakeup import Upstream

pytestmark = pytest.mark.anyio
#: Beyond it a timeout that should have struck at once did not strike.
PATIENCE_S = 10


async def fail(vendor: Vendor, provider: Any, script: str, *, stream: bool) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        if stream:
            await listen(vendor, provider, script)
        else:
            await provider.complete(vendor.model, ask(f"hello [[fakeup: {script}]]"))
    return caught.value


async def listen(vendor: Vendor, provider: Any, script: str, heard: list[Chunk] | None = None) -> None:
    async for chunk in provider.stream(vendor.model, ask(f"hello [[fakeup: {script}]]")):
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
    vendor: Vendor, provider: Any, key: str, status: int, retryable: bool, rejected: bool, stream: bool
) -> None:
    error = await fail(vendor, provider, f"status={status}", stream=stream)
    assert (error.status, error.retryable, error.rejected, error.timed_out) == (status, retryable, rejected, False)
    assert key not in str(error) + repr(error)
    assert ("scripted failure" in error.message) is rejected


async def test_the_vendors_text_is_cut_short(vendor: Vendor, provider: Any) -> None:
    request = ask("[[fakeup: " + "x" * 2_000 + "]]")
    with pytest.raises(ProviderError) as caught:
        await provider.complete(vendor.model, request)
    assert caught.value.rejected
    assert len(caught.value.message) < 350


async def test_a_wish_in_seconds_is_obeyed(vendor: Vendor, provider: Any) -> None:
    assert (await fail(vendor, provider, "status=429 retry_after=2.5", stream=False)).retry_after == 2.5


async def test_a_wish_as_a_date_is_obeyed(vendor: Vendor, provider: Any) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True).replace(" ", "_")
    wish = (await fail(vendor, provider, f"status=503 retry_after={date}", stream=True)).retry_after
    assert wish is not None
    assert 95 < wish <= 100


@pytest.mark.parametrize("wish", ["soon", "nan", "-inf", "Fri,_99_Foo"])
async def test_a_wish_without_sense_is_none(vendor: Vendor, provider: Any, wish: str) -> None:
    assert (await fail(vendor, provider, f"status=429 retry_after={wish}", stream=False)).retry_after is None


@both
async def test_a_redirect_is_refused_and_not_followed(
    vendor: Vendor, provider: Any, upstream: Upstream, stream: bool
) -> None:
    error = await fail(vendor, provider, f"redirect={upstream.url}{vendor.path}", stream=stream)
    assert (error.status, error.retryable, len(upstream.ledger)) == (307, False, 1)


@both
async def test_an_error_in_a_good_answer_is_an_error(vendor: Vendor, provider: Any, stream: bool) -> None:
    error = await fail(vendor, provider, "body_error", stream=stream)
    assert "scripted" not in error.message


@both
@pytest.mark.parametrize("fault", ["reset_at=0", "eof_at=0", "garbage_at=0", "reset_at_byte=1", "reset_at_byte=400"])
async def test_a_broken_answer_is_not_tried_again_as_it_may_be_billed(
    vendor: Vendor, provider: Any, fault: str, stream: bool
) -> None:
    assert (await fail(vendor, provider, f"{fault} tokens=90", stream=stream)).retryable is False


@pytest.mark.parametrize("at", range(9))
@pytest.mark.parametrize("fault", ["reset_at", "eof_at", "garbage_at", "error_event_at", "long_line_at"])
async def test_a_stream_that_dies_at_any_chunk_is_a_failure(vendor: Vendor, provider: Any, fault: str, at: int) -> None:
    chunks: list[Chunk] = []
    with pytest.raises(ProviderError):
        await listen(vendor, provider, f"{fault}={at} tokens=8", chunks)
    assert len("".join(chunk.text for chunk in chunks)) <= 4 * at
    assert not any(chunk.usage or chunk.finish_reason for chunk in chunks)


async def test_a_stream_cut_at_any_byte_is_a_failure(vendor: Vendor, provider: Any, upstream: Upstream) -> None:
    await listen(vendor, provider, "tokens=3")
    whole = upstream.ledger[0].bytes_sent
    for at in range(1, whole - len("data: [DONE]\n\n") - 40, 7):
        await fail(vendor, provider, f"reset_at_byte={at} tokens=3", stream=True)


@pytest.mark.parametrize(
    ("script", "short", "stream"),
    [
        ("latency_ms=60000", "timeout_s", False),
        ("latency_ms=60000", "first_token_timeout_s", True),
        ("stall_at=0", "first_token_timeout_s", True),
        ("stall_at=0 comments=5", "first_token_timeout_s", True),
        ("stall_at=3", "idle_timeout_s", True),
        ("pace_ms=60 tokens=5000", "stream_timeout_s", True),
    ],
)
async def test_each_timeout_strikes_by_itself(
    vendor: Vendor, upstream: Upstream, script: str, short: str, stream: bool
) -> None:
    patient = dict.fromkeys(("timeout_s", "first_token_timeout_s", "idle_timeout_s", "stream_timeout_s"), 60.0)
    async with vendor.open(upstream.url, **{**patient, short: 0.3}) as provider:
        started = time.monotonic()
        error = await fail(vendor, provider, script, stream=stream)
    assert (error.timed_out, error.retryable) == (True, False)
    assert 0.25 < time.monotonic() - started < PATIENCE_S
    await upstream.settled()
    assert upstream.ledger[0].closed_by == "client"


async def test_a_reader_who_takes_time_is_no_idle_upstream(vendor: Vendor, upstream: Upstream) -> None:
    chunks = []
    async with vendor.open(upstream.url, idle_timeout_s=0.2) as provider:
        async for chunk in provider.stream(vendor.model, ask("[[fakeup: tokens=3]]")):
            chunks.append(chunk)
            await asyncio.sleep(0.25 if len(chunks) == 1 else 0)
    assert chunks[-1].usage is not None


async def test_a_host_that_cannot_be_reached_may_be_tried_again(vendor: Vendor, key: str) -> None:
    async with vendor.open("http://127.0.0.1:1") as provider:
        error = await fail(vendor, provider, "", stream=False)
    assert (error.status, error.retryable, error.timed_out) == (None, True, False)
    assert "127.0.0.1" not in str(error)
    assert key not in repr(error) + repr(provider)


async def test_a_host_that_never_accepts_is_a_timeout(vendor: Vendor) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, contextlib.ExitStack() as crowd:
        for _ in range(4):
            caller = crowd.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        async with vendor.open(f"http://127.0.0.1:{deaf.getsockname()[1]}", connect_timeout_s=0.2) as provider:
            started = time.monotonic()
            error = await fail(vendor, provider, "", stream=True)
        assert (error.retryable, error.timed_out) == (True, True)
        assert time.monotonic() - started < PATIENCE_S


@pytest.mark.parametrize(
    "told", ["key-0123456789", "0123456789", "sk-proj-abc*****xyz", "Bearer key-0123456789\n\x1b[31m"]
)
async def test_a_credential_in_the_vendors_text_is_masked(vendor: Vendor, told: str) -> None:
    said = b"bad request with " + told.encode("unicode_escape").replace(b"\\x", b"\\u00")
    body = b'{"error":{"message":"%b"}}' % said if vendor.factory.name != "cohere" else b'{"message":"%b"}' % said
    secret = "0123456789" if told == "0123456789" else "key-0123456789"
    message = vendor.dialect(secret).refused(400, {}, body).message
    assert "0123456789" not in message
    assert "xyz" not in message
    assert message.isprintable()
