"""`Idempotency-Key`: paid once, answered as often as asked."""

import asyncio
import json

import pytest
from tests.e2e.served import gateway, rows, upstream

pytestmark = pytest.mark.anyio
KEYS = {org: f"key-of-{org}-0123456789abcdefgh" for org in ("acme", "other")}


@pytest.fixture
def servers(tmp_path):
    with upstream(tmp_path, "--price=m=1,2") as (vendor, ledger):
        model = {
            "name": "m",
            "provider": "openai",
            "cost_per_1k_input_tokens": 0.001,
            "cost_per_1k_output_tokens": 0.002,
        }
        configuration = {
            "auth": {"type": "static", "keys": [{"key": key, "org": org} for org, key in KEYS.items()]},
            "providers": {"openai": {"api_key": "sk", "base_url": f"{vendor.url}/v1", "max_retries": 0}},
            "models": [model],
        }
        with gateway(tmp_path, configuration) as served:
            yield int(served.url.rsplit(":", 1)[1]), ledger


async def post(port, text, key, org="acme", path="/v1/chat/completions", stream=False, leave_after=None):
    """Status, headers and body of one answer; with `leave_after` the client is gone after so many bytes."""
    fields = {"messages": [{"role": "user", "content": text}], "model": "m"} if "v1" in path else {"prompt": text}
    body = json.dumps({**fields, "cache": "off", "stream": stream}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEYS[org]}\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\nidempotency-key: {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    received = await (reader.read() if leave_after is None else reader.readexactly(leave_after))
    writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    lines = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    return int(head.split()[1]), {name.decode().lower(): value.decode() for name, value in lines}, body


async def test_the_same_key_and_body_are_paid_for_once(servers):
    port, ledger = servers
    first = await post(port, "hello", "k1")
    second = await post(port, "hello", "k1")
    assert (first[0], second[0]) == (200, 200)
    assert second[2] == first[2]
    assert second[1]["idempotency-replayed"] == "true"
    assert second[1]["x-asahi-request-id"] == first[1]["x-asahi-request-id"]
    assert len(rows(ledger)) == 1


async def test_200_at_once_are_one_call(servers):
    """A10."""
    port, ledger = servers
    answers = await asyncio.gather(*(post(port, "slow [[fakeup: latency_ms=300]]", "k2") for _ in range(200)))
    assert {status for status, _, _ in answers} <= {200, 409}
    assert all(headers["retry-after"] for status, headers, _ in answers if status == 409)
    await asyncio.sleep(0.1)
    assert len(rows(ledger)) == 1
    assert (await post(port, "slow [[fakeup: latency_ms=300]]", "k2"))[0] == 200


async def test_another_body_under_the_same_key_is_422(servers):
    port, _ = servers
    await post(port, "one", "k3")
    status, _, body = await post(port, "two", "k3")
    assert (status, json.loads(body)["error"]["code"]) == (422, "idempotency_mismatch")


async def test_orgs_and_routes_have_keys_of_their_own(servers):
    port, ledger = servers
    for arguments in ({}, {"org": "other"}, {"path": "/infer"}):
        assert (await post(port, "same", "k4", **arguments))[0] == 200
    await asyncio.sleep(0.1)
    assert len(rows(ledger)) == 3


async def test_a_failure_is_not_kept_so_that_the_key_may_try_again(servers):
    port, ledger = servers
    text = "flaky [[fakeup: status=503 first=1]]"
    assert (await post(port, text, "k5"))[0] == 503
    assert (await post(port, text, "k5"))[0] == 200
    assert sum(row["status"] == 200 for row in rows(ledger)) == 1


async def test_a_refusal_is_kept(servers):
    port, ledger = servers
    text = "bad [[fakeup: status=400 first=1]]"
    first, second = await post(port, text, "k6"), await post(port, text, "k6")
    assert (first[0], second[0], second[2]) == (400, 400, first[2])
    assert len(rows(ledger)) == 1


async def test_a_client_that_left_its_stream_gets_the_whole_of_it_when_it_comes_back(servers):
    port, ledger = servers
    text = "long [[fakeup: tokens=40 pace_ms=10]]"
    await post(port, text, "k7", stream=True, leave_after=400)
    status = 409
    async with asyncio.timeout(5):
        while status == 409:
            await asyncio.sleep(0.1)
            status, headers, body = await post(port, text, "k7", stream=True)
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert body.count(b'"content":"') >= 40
    assert b"data: [DONE]" in body
    (row,) = rows(ledger)
    assert (row["output_tokens"], row["closed_by"]) == (40, "server")
