"""The main job on real input: real prompts by the official SDK through the gateway, against a vendor with a ledger."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest
from openai import AsyncOpenAI
from tests.e2e.served import gateway, rows, upstream

pytestmark = pytest.mark.anyio

PROMPTS = Path(__file__).parent.parent / "data" / "prompts.jsonl.gz"
CONCURRENCY = 32
REPEATED = 100
MODELS = [
    ("cheap", "vendor-cheap", 0.15, 0.6),
    ("fair", "vendor-fair", 1.1, 4.4),
    ("dear", "vendor-dear", 10, 30.000001),
]


def prompts() -> list[str]:
    with gzip.open(PROMPTS, "rt") as lines:
        return [json.loads(line)["prompt"] for line in lines]


def configuration(url: str) -> dict:
    models = [
        {
            "name": name,
            "provider": "openai",
            "api_model": api_model,
            "cost_per_1k_input_tokens": price_in / 1000,
            "cost_per_1k_output_tokens": price_out / 1000,
            "quality_score": 3.0 + number / 2,
            "max_output_tokens": 16_000,
        }
        for number, (name, api_model, price_in, price_out) in enumerate(MODELS)
    ]
    return {
        "auth": "open",
        "providers": {"openai": {"api_key": "sk-vendor", "base_url": f"{url}/v1"}},
        "models": models,
    }


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    prices = [f"--price={api_model}={price_in},{price_out}" for _, api_model, price_in, price_out in MODELS]
    with upstream(folder, *prices) as (vendor, ledger), gateway(folder, configuration(vendor.url)) as served:
        yield served.url, ledger


async def test_500_real_prompts_are_answered_and_billed_to_the_nano_dollar(servers):
    url, ledger = servers
    texts = prompts()
    jobs = [(text, number) for number, text in enumerate(texts)] + [(texts[n], n) for n in range(REPEATED)]
    turn = asyncio.Semaphore(CONCURRENCY)
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=60) as client:

        async def ask(text: str, number: int) -> dict:
            async with turn:
                model = ("auto", "cheap", "fair", "dear")[number % 4]
                messages = [{"role": "user", "content": text}]
                if number % 3:
                    answer = await client.chat.completions.create(model=model, messages=messages)
                    assert answer.choices[0].message.content
                    return answer.model_extra["asahi"]
                stream = await client.chat.completions.create(model=model, messages=messages, stream=True)
                last = [chunk async for chunk in stream][-1]
                return last.model_extra["asahi"]

        accounts = await asyncio.gather(*(ask(*job) for job in jobs))
        billed = [row for row in rows(ledger) if row["status"] == 200]
        totals = await client.with_options(base_url=url).get("/metrics?period=all", cast_to=object)
        whys = [
            await client.with_options(base_url=url).get(f"/explain/{each['request_id']}", cast_to=object)
            for each in accounts[::50]
        ]

    assert len(accounts) == len(texts) + REPEATED
    assert len(set(texts)) == len(billed) == 500
    ours = sum(round(account["cost"] * 1e9) for account in accounts)
    theirs = sum(row["cost"] for row in billed)
    assert ours == theirs == round(totals["total_cost"] * 1e9) > 0
    hits = [account for account in accounts if account["cache_tier"] == 1]
    assert len(hits) == totals["tier1_hits"] == REPEATED
    assert all(account["cost"] == 0 for account in hits)
    assert all(why["candidates"] or why["cache"][0]["hit"] for why in whys)
    assert totals["absolute_savings"] > 0
