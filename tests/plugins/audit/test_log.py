"""The log as it is written and signed: by many at once, by several processes, and read over HTTP and in a shell."""

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
import urllib.parse
from datetime import UTC, datetime, timedelta

import pytest
from tests.e2e.served import gateway as served
from tests.kernel.kit import gateway_of
from tests.plugins.access.shell import asahi
from tests.plugins.access.test_http import BOOT, Client
from tests.plugins.audit.kit import entry

import asahi_audit
from asahi_audit import notary
from asahi_audit.checkpoints import read_file
from asahi_audit.exporting import written
from asahi_audit.verifying import verify
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.signing import signing_key
from asahi_kernel.testing import ServiceContract

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


class TestAudit(ServiceContract):
    factory = asahi_audit.register_services()[0]


def tree_of(place, url=None, **governance):
    storage = {"type": "postgres", "url": url} if url else {"type": "sqlite", "path": f"{place}/asahi.db"}
    return {
        "profile": "development",
        "storage": storage,
        "encryption": {"dir": f"{place}/keys"},
        "journal": {"dir": f"{place}/journal"},
        "governance": {"audit_dir": f"{place}/audit", **governance},
    }


async def whole(gateway):
    """Everything that is kept, verified against every checkpoint."""
    audit = gateway.storage.repositories.audit

    async def entries():
        async for _, each in audit.everything():
            yield each

    signed = read_file(notary.path_of(gateway.settings))
    kept = await audit.checkpoints("audit", 1_000)
    return await verify(entries(), [*signed, *kept], signing_key(gateway.settings).public)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request):
    return request.getfixturevalue("fresh_database_url") if request.param == "postgres" else None


@pytest.mark.anyio
class TestWriting:
    async def test_a_thousand_at_once_fork_no_chain(self, url, tmp_path):
        """AD-4, C13."""
        async with gateway_of(tree_of(tmp_path, url)) as gateway:
            made = [
                entry_of(Actor(org=f"org{n % 20}", user="ann"), "policy_update", "p", {"n": n}) for n in range(1_000)
            ]
            await asyncio.gather(*[gateway.audit.record(each) for each in made])
            found = await whole(gateway)
            assert (found.entries, found.faults) == (1_000, ())
            assert {head.seq for head in found.orgs.values()} == {50}

    async def test_four_processes_fork_no_chain(self, url, tmp_path):
        tree = tree_of(tmp_path, url)
        command = [sys.executable, "-m", "tests.plugins.audit.appender", json.dumps(tree), "100"]
        pipe = subprocess.PIPE
        them = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
        for each in them:
            assert await asyncio.to_thread(each.stdout.readline) == "ready\n"
        outs = [asyncio.to_thread(each.communicate, "\n", 60) for each in them]
        await asyncio.gather(*outs)
        assert [each.returncode for each in them] == [0, 0, 0, 0]
        async with gateway_of(tree) as gateway:
            found = await whole(gateway)
            assert (found.entries, found.faults) == (400, ())
            assert {head.seq for head in found.orgs.values()} == {80}

    async def test_what_is_written_is_signed_at_the_step_and_at_the_end(self, tmp_path, monkeypatch, caplog):
        monkeypatch.setattr(notary, "_TICK_S", 0.01)
        tree = tree_of(tmp_path, audit_checkpoint_every=3)
        caplog.set_level("INFO")
        async with gateway_of(tree) as gateway:
            path = notary.path_of(gateway.settings)
            for number in range(2):
                await gateway.audit.record(entry_of(Actor(org="acme", user="a"), "x", "y", {"n": number}))
            await asyncio.sleep(0.1)
            assert not path.exists()
            await gateway.audit.record(entry_of(Actor(org="globex", user="a"), "x", "y"))
            while not path.exists():
                await asyncio.sleep(0.01)
            await gateway.audit.record(entry_of(Actor(org="globex", user="a"), "x", "y"))
        assert [each.size for each in read_file(path)] == [3, 4]
        assert sum("audit checkpoint" in each.message for each in caplog.records) == 2
        async with gateway_of(tree) as gateway:
            assert [each.size for each in await gateway.storage.repositories.audit.checkpoints("audit")] == [4, 3]
            found = await whole(gateway)
            assert (found.checkpoints, found.faults) == (2, ())

    async def test_a_log_that_is_not_what_was_signed_is_not_signed_again(self, tmp_path, monkeypatch):
        monkeypatch.setattr(notary, "_TICK_S", 0.01)
        tree = tree_of(tmp_path, audit_checkpoint_s=0.01)
        actor = Actor(org="acme", user="a")
        async with gateway_of(tree) as gateway:
            for number in range(5):
                await gateway.audit.record(entry_of(actor, "x", "y", {"n": number}))
        records = "_entries"
        async with gateway_of(tree) as gateway:
            audit = gateway.storage.repositories.audit
            await getattr(audit, records).change("acme", {"seq": 2}, {"user_id": "mallory"})
        before = read_file(notary.path_of(gateway.settings))
        async with gateway_of(tree) as gateway:
            while not gateway.faults["audit.tampered"]:
                await asyncio.sleep(0.01)
            await gateway.audit.record(entry_of(actor, "x", "y"))
            await asyncio.sleep(0.05)
            await gateway.drain(5)
            alert = await gateway.storage.repositories.alerts.open_of("default", "audit")
            assert (alert.anomaly_type, alert.severity) == ("audit_tampered", "critical")
        assert read_file(notary.path_of(gateway.settings)) == before

    async def test_a_log_whose_old_details_are_emptied_verifies(self, url, tmp_path):
        """AD-2."""
        tree = tree_of(tmp_path, url, audit_checkpoint_s=0.01)
        async with gateway_of(tree) as gateway:
            for number in range(6):
                await gateway.audit.record(entry_of(Actor(org="acme", user="a"), "x", "y", {"n": number}))
        async with gateway_of(tree) as gateway:
            audit = gateway.storage.repositories.audit
            assert await audit.empty_details("acme", datetime.now(UTC) + timedelta(minutes=1)) == 6
            found = await whole(gateway)
            assert (found.entries, found.covered, found.faults) == (6, 6, ())
            assert [each.details async for each in audit.entries("acme")] == [{}] * 6

    async def test_one_process_of_a_host_signs_and_another_takes_over(self, tmp_path):
        async with gateway_of(tree_of(tmp_path)) as gateway:
            key = signing_key(gateway.settings)
            first, second = notary.Notary(gateway, key), notary.Notary(gateway, key)
            assert first._leads()
            assert not second._leads()
            first.leave()
            assert second._leads()
            second.leave()


@pytest.mark.anyio
async def test_cells_that_a_spreadsheet_would_run_are_quoted():
    async def entries():
        for text in ("=1+1", "+1", "-1", "@x", "plain", "\t=1"):
            yield entry(user_id=text)

    text = b"".join([piece async for piece in written("acme", entries(), "csv")]).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["user_id"] for row in rows] == ["'=1+1", "'+1", "'-1", "'@x", "plain", "'\t=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def call(folder):
    tree = {"auth": "keys", "governance": {"audit_checkpoint_s": 0.2}}
    with served(folder, tree, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT) as process:
        yield Client(process.url)


class TestReading:
    def made(self, call, org, count=5):
        for number in range(count):
            call.made(BOOT, org_id=org, user_id=f"u{number}")
        return call.made(BOOT, org_id=org, user_id="boss", role="admin", scopes=["all"])["api_key"]

    def test_pages_are_newest_first_and_their_cursors_hold_here_only(self, call):
        admin = self.made(call, "pages")
        seen, cursor = [], ""
        for _ in range(10):
            status, told = call(admin, "GET", f"/governance/audit?action=api_key_created&limit=2{cursor}")
            assert status == 200, told
            seen += [each["resource"] for each in told["entries"]]
            if told["next_cursor"] is None:
                break
            cursor = f"&cursor={told['next_cursor']}"
        assert len(seen) == 6
        other = self.made(call, "pages2", 0)
        first = call(admin, "GET", "/governance/audit?limit=1")[1]
        assert call(other, "GET", f"/governance/audit?cursor={first['next_cursor']}")[0] == 400
        forged = first["next_cursor"].replace(
            first["next_cursor"][3], "Q" if first["next_cursor"][3] != "Q" else "R", 1
        )
        assert call(admin, "GET", f"/governance/audit?cursor={forged}")[0] == 400

    def test_who_looked_is_in_the_log(self, call):
        admin = self.made(call, "looks", 1)
        call(admin, "GET", "/governance/audit?user_id=u0")
        call(admin, "GET", "/governance/audit/export?format=json")
        entries = call(admin, "GET", "/governance/audit")[1]["entries"]
        assert [each["action"] for each in entries[:3]] == ["audit_view", "audit_export", "audit_view"]
        assert entries[2]["details"] == {"user_id": "u0"}
        assert entries[2]["ip_address"] == "127.0.0.1"
        assert {each["user_id"] for each in entries[:3]} == {"boss"}

    def test_another_orgs_log_is_not_there(self, call):
        admin = self.made(call, "mine", 0)
        for path in ("", "/export", "/verify"):
            status, told = call(admin, "GET", f"/governance/audit{path}?org_id=default")
            assert (status, told["error"]) == (404, "not_found")
            assert call(BOOT, "GET", f"/governance/audit{path}?org_id=mine")[0] == 200
        developer = call.made(BOOT)["api_key"]
        assert call(developer, "GET", "/governance/audit")[0] == 403

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=501",
            "limit=x",
            "cursor=x",
            "cursor=AAAA",
            "result=maybe",
            "from=yesterday",
            "from=2026-11-26&to=2026-11-25",
            "from=1969-01-01",
            "from=2024-01-01&to=2026-01-01",
            "action=",
            "user_id=%00",
            "from=0001-01-01T00:00:00%2B23:00",
        ],
    )
    def test_bad_questions_are_refused(self, call, query):
        assert call(BOOT, "GET", f"/governance/audit?{query}")[0] == 400

    def test_times_bound_what_is_listed(self, call):
        admin = self.made(call, "times", 1)
        now = datetime.now(UTC)
        later = urllib.parse.quote((now + timedelta(minutes=1)).isoformat())
        assert call(admin, "GET", f"/governance/audit?from={later}")[1]["count"] == 0
        assert call(admin, "GET", f"/governance/audit?to={later}")[1]["count"] >= 2

    def test_the_log_verifies_over_http_and_in_a_dump_without_the_service(self, call, folder):
        admin = self.made(call, "proof")
        for _ in range(100):
            told = call(admin, "GET", "/governance/audit/verify")[1]
            if told["checkpoint"]:
                break
        assert told["ok"]
        assert (told["org_id"], told["first_bad_seq"]) == ("proof", None)
        assert told["entries"] >= 6
        signed = call(admin, "GET", "/governance/audit/checkpoints")[1]
        assert signed["checkpoints"][0]["size"] >= told["checkpoint"]["size"]
        config = ("--config", str(folder / "config.yaml"))
        dump = folder / "dump.jsonl"
        assert asahi(folder, "audit", "export", "--out", str(dump), *config).returncode == 0
        checkpoints = str(folder / "data/audit/audit-checkpoints.jsonl")
        offline = ("audit", "verify", "--dump", str(dump), "--checkpoints", checkpoints, "--json")
        away = folder / "away"
        away.mkdir()
        ran = asahi(away, *offline, "--public-key", signed["public_key"])
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert json.loads(ran.stdout)["checkpoints"] > 0
        assert not (away / "data/keys").exists()
        lines = dump.read_bytes().splitlines()
        dump.write_bytes(b"\n".join([lines[0].replace(b'"admin"', b'"someone"'), *lines[1:]]) + b"\n")
        assert asahi(away, *offline, "--public-key", signed["public_key"]).returncode == 1
        dump.write_bytes(b"".join(line + b"\n" for line in lines[:2]))
        ran = asahi(away, *offline, "--public-key", signed["public_key"])
        assert ran.returncode == 1
        assert "but a checkpoint signed" in ran.stdout
        ran = asahi(folder, "audit", "verify", "--org", "proof", *config)
        assert (ran.returncode, "good  proof" in ran.stdout) == (0, True)
        assert asahi(folder, "audit", "verify", "--public-key", "xyz", *config).returncode == 2

    def test_an_export_is_whole(self, call):
        admin = self.made(call, "export", 3)
        told = call(admin, "GET", "/governance/audit/export?action=api_key_created")[1]
        assert (told["org_id"], told["count"], len(told["entries"])) == ("export", 4, 4)
        assert call(admin, "GET", "/governance/audit/export?format=xml")[0] == 400
