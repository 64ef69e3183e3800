"""The fake upstream speaks the vendors' batch APIs: their own SDKs understand it."""

from __future__ import annotations

import json

import anthropic
import openai
import pytest
from tests.plugins.vendors import ANTHROPIC, OPENAI, Vendor

from asahi_kernel.testing.fakeup import Upstream

pytestmark = pytest.mark.anyio
TEXTS = {"a": "hello [[fakeup: tokens=5]]", "b": "hello [[fakeup: status=400]]"}


class TestOpenAI:
    @pytest.fixture
    def vendor(self) -> Vendor:
        return OPENAI

    async def test_the_sdk_makes_a_batch_and_reads_it(self, upstream: Upstream) -> None:
        async with openai.AsyncOpenAI(api_key="sk-sdk", base_url=upstream.url + "/v1", max_retries=0) as client:
            lines = [
                {
                    "custom_id": name,
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": {"model": "openai-test", "messages": [{"role": "user", "content": text}]},
                }
                for name, text in TEXTS.items()
            ]
            file = await client.files.create(
                file=("batch.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch"
            )
            batch = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            states = [batch.status, *[(batch := await client.batches.retrieve(batch.id)).status for _ in range(2)]]
            assert states == ["validating", "in_progress", "completed"]
            assert batch.output_file_id is not None
            (line,) = (await client.files.content(batch.output_file_id)).text.splitlines()
            assert json.loads(line)["custom_id"] == "a"
            other = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            assert (await client.batches.cancel(other.id)).status == "cancelling"
        assert [(row.credential, row.service) for row in upstream.ledger] == [("sk-sdk", "batch")]


class TestAnthropic:
    @pytest.fixture
    def vendor(self) -> Vendor:
        return ANTHROPIC

    async def test_the_sdk_makes_a_batch_and_reads_it(self, upstream: Upstream) -> None:
        async with anthropic.AsyncAnthropic(api_key="sk-sdk", base_url=upstream.url, max_retries=0) as client:
            batch = await client.messages.batches.create(
                requests=[
                    {
                        "custom_id": name,
                        "params": {
                            "model": "anthropic-test",
                            "max_tokens": 100,
                            "messages": [{"role": "user", "content": text}],
                        },
                    }
                    for name, text in TEXTS.items()
                ]
            )
            states = [(batch := await client.messages.batches.retrieve(batch.id)).processing_status for _ in range(2)]
            assert states == ["in_progress", "ended"]
            found = {each.custom_id: each.result async for each in await client.messages.batches.results(batch.id)}
            assert found["a"].type == "succeeded"
            assert found["a"].message.usage.output_tokens == 5
            assert found["b"].type == "errored"
            assert found["b"].error.error.type == "invalid_request_error"
        assert [(row.credential, row.service) for row in upstream.ledger] == [("sk-sdk", "batch")]
