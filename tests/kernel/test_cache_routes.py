"""`/cache/…` and `asahi cache`: an org manages its own entries, in memory and in Redis, and never another's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest
from litestar.testing import AsyncTestClient
from tests.plugins.redis.kit import fresh

from asahi_kernel.api.cache import written
from asahi_kernel.app import create_app
from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway
from asahi_kernel.identity import new_id
from asahi_kernel.listing import View
from asahi_kernel.plugins import load_plugins
from asahi_kernel.repositories.rules import ComplianceProfile
from asahi_kernel.settings import Cache, Settings
from asahi_kernel.tiers import CacheRow
from asahi_kernel.types import Completion

pytestmark = pytest.mark.anyio
ROLES = {"acme": "admin", "globex": "admin", "dev": "developer", "view": "viewer"}
KEYS = {name: f"{name}-0123456789abcdef0123456789" for name in ROLES}
PLACES = ["memory", "redis"]


class Org:
    """A caller over HTTP."""

    def __init__(self, client: AsyncTestClient, name: str) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {KEYS[name]}"}

    async def infer(self, prompt: str, **fields):
        answer = await self._client.post("/infer", json={"prompt": prompt, **fields}, headers=self._headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ask(self, method: str, path: str, **params):
        return await self._client.request(method, path, params=params, headers=self._headers)

    async def get(self, path: str, **params):
        answer = await self.ask("GET", path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def delete(self, path: str, **params):
        answer = await self.ask("DELETE", path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()["cleared"]


def tree(place: str, url: str, prefix: str) -> dict:
    owner = {"acme": "acme", "globex": "globex"}
    keys = [
        {"key": KEYS[name], "org": owner.get(name, "acme"), "user": name, "role": role} for name, role in ROLES.items()
    ]
    tiers = {"exact": {"type": "redis", "url": url, "cache_prefix": prefix, "timeout_ms": 2_000}}
    return {
        "auth": {"type": "static", "keys": keys},
        "storage": "memory",
        "providers": {"mock": {"latency_share": 0}},
        "cache_tiers": tiers if place == "redis" else {},
        "encryption": {"key": "0123456789abcdef" * 4},
    }


@pytest.fixture(params=PLACES)
def place(request):
    return request.param


@pytest.fixture
async def served(place, redis_url):
    @asynccontextmanager
    async def opened():
        settings = decode(tree(place, redis_url, fresh()), Settings, "test")
        gateway = Gateway(settings)
        async with AsyncTestClient(create_app(settings, load_plugins(), gateway)) as client:
            yield gateway, *(Org(client, name) for name in ROLES)

    async with opened() as everything:
        yield everything


async def test_clear_takes_every_entry_of_the_org_and_none_of_others(served):
    """CM-1."""
    _, acme, globex, dev, _ = served
    for org in (acme, globex):
        for number in range(3):
            await org.infer(f"question {number}")
    await dev.infer("a question of the developer")
    assert await acme.delete("/cache/clear", user_id="dev") == {"t1": 1, "t2": 0, "t3": 0, "total": 1}
    assert await acme.delete("/cache/clear", tier="2") == {"t1": 0, "t2": 0, "t3": 0, "total": 0}
    assert await acme.delete("/cache/clear") == {"t1": 3, "t2": 0, "t3": 0, "total": 3}
    assert not (await acme.infer("question 0"))["cache_hit"]
    assert (await globex.infer("question 0"))["cache_hit"]


async def test_a_documents_entries_can_be_cleared_alone(served):
    _, acme, *_ = served
    await acme.infer("What does it say?", document="a long text", document_id="doc-1")
    await acme.infer("What does it say?", document="another text", document_id="doc-2")
    assert (await acme.delete("/cache/clear", document_id="doc-1"))["total"] == 1
    assert (await acme.infer("What does it say?", document="another text", document_id="doc-2"))["cache_hit"]


async def test_what_lives_is_not_expired(served):
    _, acme, *_ = served
    await acme.infer("hello")
    assert (await acme.delete("/cache/expired"))["total"] == 0
    assert (await acme.infer("hello"))["cache_hit"]


async def test_an_orgs_expired_entries_are_its_own():
    """The number of them would tell of other orgs' traffic."""
    from asahi_kernel.testing import ASK, HERE, PARIS, THERE

    now = [0.0]
    tier = MemoryTier(Cache(ttl_seconds=10, ttl_jitter=0), lambda: now[0])
    await tier.put(b"a", ASK, HERE, PARIS)
    await tier.put(b"b", ASK, THERE, PARIS)
    now[0] = 11.0
    assert (await tier.sweep("here"), await tier.sweep("here"), len(tier)) == (1, 0, 1)


async def test_one_entry_can_be_forgotten_by_its_own_org_only(served):
    _, acme, globex, *_ = served
    await acme.infer("hello")
    (row,) = (await acme.get("/cache/entries"))["entries"]
    path = f"/cache/entries/{row['entry_id']}"
    assert (await globex.ask("DELETE", path)).status_code == 404
    assert (await acme.infer("hello"))["cache_hit"]
    assert (await acme.ask("DELETE", path)).status_code == 204
    assert (await acme.ask("DELETE", path)).status_code == 404
    assert not (await acme.infer("hello"))["cache_hit"]
    for strange in (new_id(), "x", "[", "-", "+", "a" * 300, "%00", "é"):
        assert (await acme.ask("DELETE", f"/cache/entries/{strange}")).status_code == 404


async def test_entries_are_paged_in_any_order_and_none_is_lost(served):
    _, acme, globex, *_ = served
    for number in range(7):
        await acme.infer(f"question {number} " + "x" * number)
    for number in (3, 3, 5):
        await acme.infer(f"question {number} " + "x" * number)
    await globex.infer("question of globex")
    newest = (await acme.get("/cache/entries", limit=500))["entries"]
    assert len(newest) == 7
    made = [row["created_at"][:23] for row in newest]
    assert made == sorted(made, reverse=True), "to the millisecond"
    for sort in ("created_at", "hits", "size"):
        seen, cursor = [], None
        while True:
            page = await acme.get("/cache/entries", limit=2, sort=sort, **({"cursor": cursor} if cursor else {}))
            assert len(page["entries"]) <= 2
            seen += page["entries"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert {row["entry_id"] for row in seen} == {row["entry_id"] for row in newest}
        assert len(seen) == 7
        if sort == "hits":
            assert [row["hits"] for row in seen] == [2, 1, 0, 0, 0, 0, 0]
            assert seen[0]["query"].startswith("question 3")
            assert seen[0]["cost_saved"] > seen[2]["cost_saved"] == 0
        if sort == "size":
            assert [row["size_bytes"] for row in seen] == sorted((row["size_bytes"] for row in seen), reverse=True)
    found = (await acme.get("/cache/entries", q="question 4"))["entries"]
    assert [row["query"][:10] for row in found] == ["question 4"]
    assert "response" not in found[0]
    assert (await acme.get("/cache/entries", tier="3"))["entries"] == []


async def test_an_export_has_every_entry_with_its_answer(served):
    _, acme, globex, *_ = served
    told = {(await acme.infer(f"question {number}"))["response"] for number in range(5)}
    await globex.infer("question of globex")
    whole = await acme.get("/cache/export")
    assert (whole["org_id"], len(whole["entries"])) == ("acme", 5)
    assert {row["response"] for row in whole["entries"]} == told
    assert all(0 < row["ttl_left_s"] <= 86_400 * 1.05 for row in whole["entries"])
    lines = (await acme.ask("GET", "/cache/export", format="jsonl")).text.splitlines()
    assert {json.loads(line)["response"] for line in lines} == told
    assert (await acme.get("/cache/export", tier="2"))["entries"] == []


async def test_an_export_takes_the_memory_of_a_piece_not_of_the_whole(served):
    """CM-3: the more there is to export, the longer it takes, and nothing else grows."""
    gateway, *_ = served
    row = CacheRow(
        tier=1,
        key="k",
        entry_id="e",
        completion=Completion(text="x" * 500, model="model-a"),
        size_bytes=1,
        created_at=datetime.now(UTC),
        expires_at=None,
    )

    async def rows(count):
        for _ in range(count):
            yield row

    peaks = []
    for count in (2_000, 40_000):
        tracemalloc.start()
        size = 0
        view = View(prompts=True, money=True, response=True)
        async for piece in written(gateway, "acme", view, row, rows(count), lines=False):
            size += len(piece)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert size > 500 * count
    assert peaks[1] < peaks[0] + 200_000


async def test_prompts_and_answers_are_left_out_where_they_may_not_be_stored(served):
    gateway, acme, *_ = served
    await acme.infer("a secret question")
    profile = ComplianceProfile(org_id="acme", updated_at=datetime.now(UTC), prompt_storage_allowed=False)
    await gateway.storage.repositories.compliance.save(profile)
    for path in ("/cache/export", "/cache/entries"):
        answer = await acme.ask("GET", path)
        (row,) = answer.json()["entries"]
        assert not {"query", "response"} & set(row)
        assert "secret" not in answer.text
    assert (await acme.ask("GET", "/cache/entries", q="a secret")).status_code == 400


async def test_stats_count_hits_and_price_them(served, place):
    _, acme, globex, dev, view = served
    for prompt in ("one", "two", "one", "one"):
        await acme.infer(prompt)
    await globex.infer("one")
    stats = await acme.get("/cache/stats")
    t1 = stats["t1"]
    assert (t1["hits"], t1["misses"], t1["hit_rate"], t1["entries"]) == (2, 2, 0.5, 2)
    assert t1["bytes"] == stats["storage_bytes"] > 0
    assert t1["cost_saved"] > 0
    assert stats["overall_hit_rate"] == 0.5
    assert stats["backend"] == {"t1": place}
    assert stats["storage_limit_bytes"] == (256 << 20 if place == "memory" else 10_000_000_000)
    assert (await dev.get("/cache/stats"))["t1"] == t1
    assert (await view.get("/cache/stats"))["t1"]["cost_saved"] is None
    assert (await acme.get("/metrics"))["requests"] == 4


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/cache/clear"),
        ("DELETE", "/cache/expired"),
        ("DELETE", "/cache/entries/x"),
        ("GET", "/cache/entries"),
        ("GET", "/cache/export"),
    ],
)
async def test_only_who_manages_policy_may(served, method, path):
    _, _, _, dev, _ = served
    assert (await dev.ask(method, path)).status_code == 403


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/cache/entries", {"tier": "4"}),
        ("/cache/entries", {"tier": "x"}),
        ("/cache/entries", {"sort": "key"}),
        ("/cache/entries", {"limit": "0"}),
        ("/cache/entries", {"limit": "501"}),
        ("/cache/entries", {"limit": "1e9"}),
        ("/cache/entries", {"limit": "9" * 5_000}),
        ("/cache/entries", {"cursor": "%%%"}),
        ("/cache/entries", {"cursor": "e30="}),
        ("/cache/entries", {"cursor": "é"}),
        ("/cache/export", {"format": "xml"}),
        ("/cache/export", {"tier": "0"}),
    ],
)
async def test_a_bad_parameter_is_400(served, path, params):
    _, acme, *_ = served
    answer = await acme.ask("GET", path, **params)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_a_cache_that_cannot_be_reached_is_503_to_who_manages_it(own_redis):
    settings = decode(tree("redis", own_redis.url, fresh()), Settings, "test")
    async with AsyncTestClient(create_app(settings, load_plugins(), Gateway(settings))) as client:
        acme = Org(client, "acme")
        await acme.infer("hello")
        own_redis.server.stop()
        for method, path in (
            ("DELETE", "/cache/clear"),
            ("DELETE", "/cache/expired"),
            ("GET", "/cache/export"),
            ("GET", "/cache/entries"),
        ):
            assert (await acme.ask(method, path)).status_code == 503
        assert (await acme.ask("GET", "/cache/stats")).status_code == 200
        assert (await acme.ask("GET", "/metrics")).status_code == 200
        await acme.infer("hello")


def command(folder, configuration, *arguments):
    path = folder / "config.yaml"
    path.write_text(json.dumps(configuration))
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ASAHI_", "DATABASE_URL", "REDIS"))
    }
    ran = subprocess.run(
        [sys.executable, "-m", "asahi_kernel.cli", "cache", *arguments, "--config", str(path)],
        env=kept,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ran.returncode, ran.stdout, ran.stderr


async def test_the_command_line_looks_after_what_outlives_the_server(tmp_path, redis_url):
    configuration = tree("redis", redis_url, fresh())
    settings = decode(msgspec.to_builtins(configuration), Settings, "test")
    async with AsyncTestClient(create_app(settings, load_plugins(), Gateway(settings))) as client:
        acme = Org(client, "acme")
        for number in range(3):
            await acme.infer(f"question {number}")
        status, out, _ = command(tmp_path, configuration, "stats", "--org", "acme", "--json")
        assert (status, json.loads(out)["t1"]["entries"]) == (0, 3)
        status, out, _ = command(tmp_path, configuration, "export", "--org", "acme")
        assert status == 0
        assert {json.loads(line)["query"] for line in out.splitlines()} == {f"question {number}" for number in range(3)}
        status, out, _ = command(tmp_path, configuration, "clear", "--org", "globex", "--json")
        assert (status, json.loads(out)["cleared"]["total"]) == (0, 0)
        assert command(tmp_path, configuration, "expire", "--org", "acme")[:2] == (
            0,
            "cleared: t1 0, t2 0, t3 0, total 0\n",
        )
        assert command(tmp_path, configuration, "clear", "--org", "acme")[:2] == (
            0,
            "cleared: t1 3, t2 0, t3 0, total 3\n",
        )
        assert not (await acme.infer("question 0"))["cache_hit"]


def test_the_command_line_says_that_memory_is_the_servers(tmp_path):
    status, out, told = command(tmp_path, tree("memory", "", ""), "clear", "--org", "acme")
    assert (status, out) == (1, "")
    assert "in the memory of the server" in told
