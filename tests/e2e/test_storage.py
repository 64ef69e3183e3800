"""D3, ST-2: a served gateway without its database answers all the same, and what it settled is there afterwards."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.served import Process, gateway
from tests.servers.postgres import Postgres

KEY = "key-of-the-storage-test-0123456789"


def configuration(storage: dict[str, Any]) -> dict[str, Any]:
    return {
        "auth": {"type": "static", "keys": [{"key": KEY, "org": "acme"}]},
        "providers": {"mock": {}},
        "storage": storage,
        "encryption": {"key": "0123456789abcdef" * 4},
    }


def ask(server: Process, path: str, body: dict[str, Any] | None = None, key: str = KEY) -> tuple[int, Any, Any]:
    request = urllib.request.Request(
        server.url + path,
        None if body is None else json.dumps(body).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers, json.loads(refusal.read())


def until(server: Process, path: str, wanted: int) -> Any:
    deadline = time.monotonic() + 30
    while True:
        status, _, body = ask(server, path)
        if status == wanted:
            return body
        assert time.monotonic() < deadline, (status, body, server.printed())
        time.sleep(0.1)


def test_a_database_that_is_down_at_boot_is_no_401_and_is_used_once_it_is_there(
    own_postgres: Postgres, tmp_path: Path
) -> None:
    """LiteLLM 38121, 34483, 34929."""
    assert own_postgres.server is not None
    own_postgres.server.stop()
    table = {"type": "postgres", "url": own_postgres.url, "statement_timeout_ms": 500}
    ungoverned = {"governance": {"policies": []}, "routing": {"rules": ["explicit", "health", "bounds", "cheapest"]}}
    with gateway(tmp_path, configuration(table) | ungoverned) as server:
        asked = [ask(server, "/infer", {"prompt": f"question {number}"}) for number in range(20)]
        assert {status for status, _, _ in asked} == {200}
        ids = [headers["x-asahi-request-id"] for _, headers, _ in asked]
        status, headers, refusal = ask(server, f"/explain/{ids[0]}")
        assert (status, refusal["error"]) == (503, "storage_unavailable")
        assert int(headers["retry-after"]) >= 1
        assert ask(server, "/infer", {"prompt": "hello"}, key="another-key-0123456789abcdef")[0] == 401
        assert ask(server, "/health")[2]["components"]["postgres"] == "unreachable"
        own_postgres.server.start()
        for each in ids:
            assert until(server, f"/explain/{each}", 200)["request_id"] == each
        assert until(server, "/metrics", 200)["requests"] == 20


def test_nobody_is_answered_whose_policy_nobody_knows(own_postgres: Postgres, tmp_path: Path) -> None:
    """Policies fail closed: a database that is down at boot is 503 for every org, until it is there."""
    assert own_postgres.server is not None
    own_postgres.server.stop()
    table = {"type": "postgres", "url": own_postgres.url, "statement_timeout_ms": 500}
    with gateway(tmp_path, configuration(table)) as server:
        status, headers, refusal = ask(server, "/infer", {"prompt": "hello"})
        assert (status, refusal["error"]) == (503, "storage_unavailable")
        assert int(headers["retry-after"]) >= 1
        own_postgres.server.start()
        deadline = time.monotonic() + 30
        while ask(server, "/infer", {"prompt": "hello"})[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_what_was_settled_survives_a_restart(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    table: dict[str, Any] = {"type": engine}
    if engine == "postgres":
        table["url"] = request.getfixturevalue("fresh_database_url")
    with gateway(tmp_path, configuration(table)) as server:
        ids = [ask(server, "/infer", {"prompt": f"question {n % 3}"})[1]["x-asahi-request-id"] for n in range(6)]
        before = [until(server, f"/explain/{each}", 200) for each in ids]
        metrics = until(server, "/metrics", 200)
    with gateway(tmp_path, configuration(table)) as server:
        assert [until(server, f"/explain/{each}", 200) for each in ids] == before
        after = until(server, "/metrics", 200)
    own = {"cache_size", "uptime_seconds"}  # of the process, not of the storage
    assert {each: after[each] for each in after.keys() - own} == {each: metrics[each] for each in metrics.keys() - own}
