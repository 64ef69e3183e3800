"""What only OpenAI's hosts tell of their failures."""

from __future__ import annotations

import pytest

from asahi_openai.failures import OpenAIDialect

pytestmark = pytest.mark.anyio


async def test_no_quota_is_not_a_reason_to_try_again() -> None:
    body = b'{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}'
    assert OpenAIDialect("").refused(429, {}, body).retryable is False
    assert OpenAIDialect("").refused(429, {b"retry-after-ms": b"1500"}, b"<html>").retry_after == 1.5


async def test_a_wrong_key_at_googles_is_no_fault_of_the_request() -> None:
    body = b'[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID"}}]'
    error = OpenAIDialect("").refused(400, {}, body)
    assert (error.status, error.retryable, error.rejected) == (401, False, False)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error":{"message":"one"}}', "one"),
        (b'{"error":"two"}', "two"),
        (b'{"message":"three","request_id":"x"}', "three"),
        (b'[{"error":{"message":"four"}}]', "four"),
        (b'{"object":"error","message":{"detail":[{"msg":"five"}]},"code":null}', "five"),
        (b'{"detail":[{"loc":["body"],"msg":"six"}]}', "six"),
        (b'{"error":{"message":["seven"]}}', "seven"),
        (b"[]", "no reason given"),
        (b"<html>", "no reason given"),
        (b'{"error":5}', "no reason given"),
    ],
)
async def test_a_reason_is_found_wherever_it_stands(body: bytes, told: str) -> None:
    assert told in OpenAIDialect("").refused(422, {}, body).message
