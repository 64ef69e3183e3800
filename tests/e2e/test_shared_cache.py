"""T1-7: four workers share one cache, which outlives them."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e.served import Process, gateway, rows, upstream
from tests.plugins.redis.kit import fresh

KEY = "key-of-the-shared-cache-0123456789"


def configuration(base_url: str, prefix: str) -> dict[str, Any]:
    return {
        "api": {"workers": 4},
        "auth": {"type": "static", "keys": [{"key": KEY, "org": "acme", "role": "admin"}]},
        "providers": {"openai": {"api_key": "sk-test", "base_url": f"{base_url}/v1"}},
        "models": [{"name": "model-a", "provider": "openai"}],
        "redis": {"cache_prefix": prefix, "timeout_ms": 1_000},
    }


def ask(server: Process, text: str) -> str:
    """Over a connection of its own, so that any worker may take it; the header that tells of the cache."""
    body = {"model": "model-a", "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(
        f"{server.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "application/json", "connection": "close"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.headers["x-asahi-cache"])


def children(server: Process) -> set[int]:
    """The worker processes."""
    path = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return {int(each) for each in path.read_text().split()}


def test_four_workers_share_hits_and_a_restart_loses_none(tmp_path: Path, redis_url: str) -> None:
    prefix = fresh()
    with upstream(tmp_path) as (vendor, ledger):
        tree = configuration(vendor.url, prefix)
        with gateway(tmp_path, tree, REDIS_URL=redis_url) as server:
            told = [ask(server, f"question {number % 5}") for number in range(60)]
            assert told == ["miss"] * 5 + ["t1"] * 55
            assert len(rows(ledger)) == 5
            assert len(children(server)) >= 4
        with gateway(tmp_path, {**tree, "api": {}}, REDIS_URL=redis_url) as server:
            assert [ask(server, f"question {number}") for number in range(5)] == ["t1"] * 5
        assert len(rows(ledger)) == 5


def test_four_workers_share_the_semantic_tier_in_postgres(tmp_path: Path, fresh_database_url: str) -> None:
    """What one worker kept all four answer from, over a restart too; cleared for one, it is cleared for all."""
    with upstream(tmp_path) as (vendor, ledger):
        tree = configuration(vendor.url, fresh())
        del tree["redis"]
        tree |= {
            "storage": {"type": "postgres", "url": fresh_database_url},
            "encryption": {"key": "0123456789abcdef" * 4},
            "cache": {"tiers": ["semantic"]},
            "cache_tiers": {"semantic": {"vector_store": "pgvector"}},
            "vector_stores": {"pgvector": {"dimension": 256, "url": fresh_database_url, "timeout_ms": 5_000}},
        }
        with gateway(tmp_path, tree) as server:
            assert [ask(server, WAYS[number % 5]) for number in range(5)] == ["miss"] * 5
            assert [ask(server, WAYS[number % 5]) for number in range(40)] == ["t2"] * 40
            assert len(rows(ledger)) == 5
        with gateway(tmp_path, tree) as server:
            assert [ask(server, each) for each in WAYS] == ["t2"] * 5
            clear = urllib.request.Request(
                f"{server.url}/cache/clear", headers={"authorization": f"Bearer {KEY}"}, method="DELETE"
            )
            urllib.request.urlopen(clear, timeout=20).close()
            assert ask(server, WAYS[0]) == "miss"
        assert len(rows(ledger)) == 6


WAYS = (
    "How do I reset my password?",
    "Which is the capital of France?",
    "When does the lease end?",
    "What does a stamp to Japan cost?",
    "Who wrote the novel Emma?",
)
