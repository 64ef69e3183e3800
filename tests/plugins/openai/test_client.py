"""The client leaks nothing, whatever happens, and talks to nobody but its host."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asahi_kernel import Message, Model, ProviderError, Request
from asahi_kernel.http.client import Client, Response
from asahi_kernel.testing import fakeup
from asahi_openai.provider import OpenAIProvider

pytestmark = pytest.mark.anyio
MODEL = Model(name="registered", provider="openai", api_model="gpt-test")
ANSWER = b'{"choices":[{"message":{"content":"mine"},"finish_reason":"stop"}]}'
PEM = Path(__file__).with_name("loopback.pem")


def ask(script: str) -> Request:
    return Request(messages=(Message("user", f"hello [[fakeup: {script}]]"),))


async def listen(provider: OpenAIProvider, script: str) -> str:
    return "".join([chunk.text async for chunk in provider.stream(MODEL, ask(script))])


def descriptors() -> int:
    """Open file descriptors, counted where the system tells them."""
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


async def quiet(upstream: fakeup.Upstream) -> None:
    async with asyncio.timeout(5):
        await upstream.settled()


async def test_churn_of_cancelled_calls_leaks_no_connection_and_mixes_no_answers(
    open_at: Any, upstream: fakeup.Upstream
) -> None:
    cancelled, failures = 0, list[object]()

    async def one(provider: OpenAIProvider) -> None:
        script = f"tokens=8 latency_ms={random.choice((0, 1, 4))} pace_ms={random.choice((0, 1))}"
        if random.random() < 0.5:
            assert await listen(provider, script) == expected[script]
        else:
            assert (await provider.complete(MODEL, ask(script))).text == expected[script]

    async def churn(provider: OpenAIProvider) -> None:
        nonlocal cancelled
        while time.monotonic() < end:
            task = asyncio.create_task(one(provider))
            await asyncio.sleep(random.random() ** 3 * 0.02)
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            if outcome is not None and not isinstance(outcome, asyncio.CancelledError):
                failures.append(outcome)
            cancelled += outcome is not None

    async with open_at(upstream.url, max_connections=10) as provider:
        scripts = [f"tokens=8 latency_ms={late} pace_ms={slow}" for late in (0, 1, 4) for slow in (0, 1)]
        expected = {script: await listen(provider, script) for script in scripts}
        before, end = descriptors(), time.monotonic() + 3
        await asyncio.gather(*(churn(provider) for _ in range(20)))
        await quiet(upstream)
        assert failures == []
        assert cancelled > 500
        async with asyncio.timeout(5):
            served = await asyncio.gather(*(provider.complete(MODEL, ask("")) for _ in range(20)))
        assert (len(served), upstream.active) == (20, 0)
        assert upstream.connections <= 10
        assert descriptors() <= before + 2 * 10


async def test_cancelled_calls_that_wait_their_turn_are_never_sent(open_at: Any, upstream: fakeup.Upstream) -> None:
    async with open_at(upstream.url, max_connections=1) as provider:
        tasks = [asyncio.create_task(provider.complete(MODEL, ask("latency_ms=50"))) for _ in range(10)]
        await asyncio.sleep(0.02)
        for task in tasks[1:9]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert len(upstream.ledger) == 2
    assert tasks[9].result().text


async def test_calls_beyond_the_limit_wait_and_are_served_in_order(open_at: Any, upstream: fakeup.Upstream) -> None:
    async with open_at(upstream.url, max_connections=2) as provider:
        done: list[int] = []

        async def one(number: int) -> None:
            await provider.complete(MODEL, ask("latency_ms=10"))
            done.append(number)

        await asyncio.gather(*(one(number) for number in range(8)))
        assert [number // 2 for number in done] == [0, 0, 1, 1, 2, 2, 3, 3]
        assert upstream.connections == 2


async def test_closing_a_stream_hangs_up_at_once(provider: OpenAIProvider, upstream: fakeup.Upstream) -> None:
    await provider.complete(MODEL, ask(""))
    async with aclosing(provider.stream(MODEL, ask("tokens=5000 pace_ms=5"))) as stream:
        async for chunk in stream:
            if chunk.text:
                break
    started = time.monotonic()
    await quiet(upstream)
    assert time.monotonic() - started < 5  # the rest of the stream would take 25 s
    assert (upstream.ledger[1].closed_by, upstream.connections) == ("client", 0)
    assert 1 <= upstream.ledger[1].output_tokens <= 3


async def test_cancelling_a_stream_hangs_up_at_once(provider: OpenAIProvider, upstream: fakeup.Upstream) -> None:
    task = asyncio.create_task(listen(provider, "tokens=5000 pace_ms=5"))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await quiet(upstream)
    assert upstream.ledger[0].closed_by == "client"


async def test_a_slow_reader_slows_the_upstream_down() -> None:
    written = 0

    async def firehose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    async with serving(firehose) as url, client_at(url) as client:
        until = asyncio.get_running_loop().time() + 10
        response = await client.post("/", b"", until=until, head_until=until)
        assert await response.chunk(until)
        await asyncio.sleep(0.3)
        held = written
        await asyncio.sleep(0.3)
        assert written == held < 16_000_000
        for _ in range(50):
            assert len(await response.chunk(until)) <= 1 << 20
        assert written > held
        response.close()


async def test_a_connection_that_the_host_closed_is_not_used_again(open_at: Any) -> None:
    opened: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
    async with serving(canned(answer, opened=opened)) as url, open_at(url) as provider:
        for _ in range(3):
            assert (await provider.complete(MODEL, ask(""))).text == "mine"
            await asyncio.sleep(0.02)
    assert len(opened) == 3


async def test_a_connection_that_the_host_closes_under_a_request_may_be_tried_again(open_at: Any) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]}")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))
        await reader.readuntil(b"}]}")
        writer.close()

    async with serving(once) as url, open_at(url) as provider:
        assert (await provider.complete(MODEL, ask(""))).text == "mine"
        with pytest.raises(ProviderError) as caught:
            await provider.complete(MODEL, ask(""))
    assert caught.value.retryable


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n\x00\x01",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"choices":[]}',
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"[" * 100_000,
        b"",
    ],
)
async def test_an_answer_that_is_none_is_an_error(open_at: Any, answer: bytes) -> None:
    async with serving(canned(answer)) as url, open_at(url, timeout_s=1) as provider:
        with pytest.raises(ProviderError) as caught:
            await provider.complete(MODEL, ask(""))
        assert not caught.value.timed_out


@pytest.mark.parametrize("head", [b"x: y\r\n" * 20_000, b"x: " + b"y" * 200_000])
async def test_a_head_that_never_ends_is_an_error_before_the_timeout(open_at: Any, head: bytes) -> None:
    async with serving(canned(b"HTTP/1.1 200 OK\r\n" + head, keep=True)) as url, open_at(url, timeout_s=5) as provider:
        with pytest.raises(ProviderError) as caught:
            await provider.complete(MODEL, ask(""))
        assert not caught.value.timed_out


async def test_an_answer_shorter_than_announced_is_an_error_even_if_it_reads_well(open_at: Any) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER) + 1, ANSWER)
    async with serving(canned(answer)) as url, open_at(url) as provider:
        with pytest.raises(ProviderError):
            await provider.complete(MODEL, ask(""))


async def test_an_interim_answer_and_one_that_ends_with_the_connection_are_read(open_at: Any) -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + ANSWER
    async with serving(canned(answer)) as url, open_at(url) as provider:
        assert (await provider.complete(MODEL, ask(""))).text == "mine"


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
async def test_bytes_nobody_asked_for_are_not_taken_for_the_next_answer(open_at: Any, later: bool) -> None:
    mine = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
    evil = mine.replace(b"mine", b"evil")
    opened: list[bytes] = []
    told, then = (mine, evil) if later else (mine + evil, b"")
    answer = canned(told, keep=True, then=then, opened=opened)
    async with serving(answer) as url, open_at(url) as provider:
        for _ in range(3):
            assert (await provider.complete(MODEL, ask(""))).text == "mine"
            await asyncio.sleep(0.05)
    assert len(opened) == 3


async def test_a_terminator_that_is_followed_late_by_the_end_keeps_the_connection(open_at: Any) -> None:
    event = b'data: {"choices":[{"delta":{"content":"mine"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    opened: list[bytes] = []
    answer = canned(head + b"%x\r\n%b\r\n" % (len(event), event), keep=True, then=b"0\r\n\r\n", opened=opened)
    async with serving(answer) as url, open_at(url) as provider:
        for _ in range(3):
            assert await listen(provider, "") == "mine"
            await asyncio.sleep(0.05)
    assert len(opened) == 1


async def test_a_flood_ends_with_the_call() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serving(flood) as url, client_at(url) as client:
        now = asyncio.get_running_loop().time
        until = now() + 0.3
        response = await client.post("/", b"", until=until, head_until=until)
        with pytest.raises(TimeoutError):
            await sip(response, now() + 10)
        assert now() - until < 0.1
        response.close()


async def test_a_proxy_from_the_environment_is_ignored(
    open_at: Any, upstream: fakeup.Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with open_at(upstream.url) as provider:
        assert (await provider.complete(MODEL, ask(""))).text


async def test_a_certificate_nobody_vouches_for_is_refused(open_at: Any) -> None:
    async with fakeup.running(tls=server_tls()) as upstream, open_at(upstream.url) as provider:
        with pytest.raises(ProviderError, match="certificate"):
            await provider.complete(MODEL, ask(""))
        assert upstream.ledger == []


async def test_a_trusted_certificate_is_taken_but_not_for_another_name(
    open_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    async with fakeup.running(tls=server_tls()) as upstream:
        async with open_at(upstream.url) as provider:
            assert await listen(provider, "tokens=3")
            assert (await provider.complete(MODEL, ask(""))).text
            assert upstream.connections == 1
        async with open_at(upstream.url.replace("127.0.0.1", "localhost")) as provider:
            with pytest.raises(ProviderError, match="certificate"):
                await provider.complete(MODEL, ask(""))


async def sip(response: Response, until: float) -> None:
    """Reads so slowly that something has always come already."""
    while await response.chunk(until):
        time.sleep(0.02)
        await asyncio.sleep(0)


@asynccontextmanager
async def client_at(url: str) -> AsyncIterator[Client]:
    client = Client(url, {}, limit=5, connect_timeout_s=1)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def serving(answer: Any) -> AsyncIterator[str]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def canned(answer: bytes, *, keep: bool = False, then: bytes = b"", opened: list[bytes] | None = None) -> Any:
    """Answers every request with the same bytes, and a little later with `then`."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if opened is not None:
            opened.append(b"")
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(answer)
            await writer.drain()
            if then:
                await asyncio.sleep(0.02)
                writer.write(then)
            if not keep:
                writer.close()
                return

    return speak


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context
