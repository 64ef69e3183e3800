"""What only OpenAI's hosts tell of their failures."""

from __future__ import annotations

import pytest

from asahi_openai.failures import OpenAIDialect

pytestmark = pytest.mark.anyio


async def test_no_quota_is_not_a_reason_to_try_again() -> None:
    body = b'{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}'
    assert OpenAIDialect("").refused(429, {}, body).retryable is False
    assert OpenAIDialect("").refused(429, {b"retry-after-ms": b"1500"}, b"<html>").retry_after == 1.5
