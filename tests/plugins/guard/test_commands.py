"""`asahi erase` and `asahi retention run`, at the storage itself."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

from click.testing import CliRunner
from tests.plugins.piccolo.kit import opened, sqlite

from asahi_guard.commands import erase, retention
from asahi_kernel.config import read
from asahi_kernel.gateway import Gateway, storing
from asahi_kernel.plugins import load_plugins
from asahi_kernel.records import Settled
from asahi_kernel.testing.samples import decision, event

NOW = datetime.now(UTC)


def filled(tmp_path, monkeypatch, *events):
    """A configuration whose storage holds these events."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("asahi_guard.erasing.SETTLE_S", 0.0)
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"storage": {"type": "sqlite", "path": str(tmp_path / "data/asahi.db")}}))

    async def post():
        async with opened(sqlite(tmp_path)) as storage:
            await storage.books.post([Settled(each, decision(each)) for each in events])

    asyncio.run(post())
    return path


def kept(tmp_path, org):
    async def look():
        async with opened(sqlite(tmp_path)) as storage:
            window = NOW - timedelta(days=999), NOW + timedelta(days=1)
            return [each.user_id async for each in storage.events.between(org, *window)]

    return asyncio.run(look())


def run(command, *arguments):
    done = CliRunner().invoke(command, [str(each) for each in arguments])
    return done.exit_code, done.output


def test_erase_forgets_a_user_and_says_how_much(tmp_path, monkeypatch):
    path = filled(tmp_path, monkeypatch, event("acme", user_id="ann"), event("acme", user_id="bob"))
    code, told = run(erase, "--config", path, "--org", "acme", "--user", "ann", "--yes", "--json")
    assert (code, json.loads(told)["residues"], json.loads(told)["counts"]["inference_events"]) == (0, 0, 1)
    assert sorted(kept(tmp_path, "acme"), key=str) == [None, "bob"]

    async def actions():
        async with storing(Gateway(read(path, env={})), load_plugins()) as storage:
            return [entry.action async for entry in storage.repositories.audit.entries("acme")]

    assert asyncio.run(actions()) == ["erasure_request", "erasure"]


def test_erase_asks_first_and_refuses_the_operator(tmp_path, monkeypatch):
    path = filled(tmp_path, monkeypatch, event("acme", user_id="ann"))
    assert run(erase, "--config", path, "--org", "acme")[0] == 1
    assert run(erase, "--config", path, "--org", "default", "--yes")[0] != 0
    assert kept(tmp_path, "acme") == ["ann"]


def test_retention_runs_now(tmp_path, monkeypatch):
    """CO-6."""
    old, new = (event("acme", timestamp=NOW - timedelta(days=days)) for days in (366, 364))
    path = filled(tmp_path, monkeypatch, old, new)
    assert run(retention, "run", "--config", path, "--json") == (0, '{"requests":1}\n')
    assert len(kept(tmp_path, "acme")) == 1
