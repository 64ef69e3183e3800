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
