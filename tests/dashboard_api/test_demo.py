"""The demonstration: a month through the real pipeline, whose books agree, and which touches nobody else's data."""

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from asahi_dashboard_api.demo.calendar import hours
from asahi_dashboard_api.demo.folder import Folder, new_mark
from asahi_dashboard_api.demo.living import live
from asahi_kernel import clock
from asahi_kernel.errors import ConfigError
from asahi_kernel.gateway import Gateway, storing
from asahi_kernel.plugins import load_plugins

DAYS, REQUESTS = 3, 300


def asahi(*words, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASAHI_")}
    command = [sys.executable, "-m", "asahi_kernel.cli", *map(str, words)]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """One demonstration, made by the command, under an environment that would lead another gateway elsewhere."""
    place = tmp_path_factory.mktemp("somewhere") / "demo"
    elsewhere = {"ASAHI_STORAGE__TYPE": "memory", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = asahi("demo", "--folder", place, "--days", DAYS, "--requests", REQUESTS, "--json", **elsewhere)
    assert done.returncode == 0, done.stderr
    return Folder(place), json.loads(done.stdout)


@pytest.fixture(scope="module")
def events(lived):
    return read(lived[0])


def read(place):
    """Every event of every org."""
    import anyio

    async def gather():
        async with storing(Gateway(place.settings()), load_plugins()) as storage:
            start, end = datetime.now(UTC) - timedelta(days=90), datetime.now(UTC)
            return [
                each for org in await storage.retention.orgs() async for each in storage.events.between(org, start, end)
            ]

    return anyio.run(gather)


def test_its_sums_are_those_of_its_events(lived, events):
    told = lived[1]
    assert told["asked"] == sum(told["answered"].values()) == REQUESTS
    assert told["recorded"] == len(events) == REQUESTS
    assert told["answered"]["answered"] == sum(each.status == "ok" for each in events)
    assert told["cost"] == sum((each.cost or 0) + each.overhead_cost for each in events) > 0
    assert told["saved"] == sum(each.saved for each in events) > 0


def test_it_is_dated_over_all_its_days_and_says_mock_everywhere(lived, events):
    first, last = min(each.timestamp for each in events), max(each.timestamp for each in events)
    assert timedelta(days=DAYS - 1) < last - first < timedelta(days=DAYS)
    assert timedelta(0) < datetime.now(UTC) - last < timedelta(hours=2)
    assert len({each.timestamp.date() for each in events}) >= DAYS
    assert {each.provider for each in events if each.provider} == {"mock"}
    assert lived[1]["mock"] is True
    assert "invented" in lived[0].config.read_text()


def test_it_has_something_of_everything(events):
    seen = Counter(each.cache_tier for each in events)
    assert seen[1] > REQUESTS / 20
    assert {each.status for each in events} >= {"ok", "failed"}
    assert {each.org_id for each in events} == {"default", "harbor-labs"}
    assert len({each.task_type for each in events}) >= 5
    assert len({each.model_selected for each in events}) >= 4
    assert {each.routing_mode for each in events} == {"autopilot", "guided", "explicit"}


def test_its_ledger_and_its_audit_log_are_proved_and_tell_the_story(lived):
    place, _ = lived
    for words in (("savings", "verify"), ("audit", "verify")):
        done = asahi(*words, "--config", place.config)
        assert done.returncode == 0, done.stdout + done.stderr
    with sqlite3.connect(place.path / "asahi.db") as database:
        actions = {row[0] for row in database.execute("select action from audit_entries")}
        alerts = {row[0] for row in database.execute("select anomaly_type from alerts")}
    assert {"api_key_created", "api_key_rotated", "api_key_revoked", "policy_update", "login"} <= actions
    assert {"auth_failure", "budget_update", "settings_update", "cache_clear"} <= actions
    assert alerts


def test_it_refuses_a_folder_that_it_has_not_made(tmp_path):
    real = tmp_path / "data"
    real.mkdir()
    (real / "asahi.db").write_bytes(b"somebody's ledger")
    done = asahi("demo", "--folder", real, "--again")
    assert done.returncode == 3
    assert "no demonstration made" in done.stderr
    assert (real / "asahi.db").read_bytes() == b"somebody's ledger"
    assert list(real.iterdir()) == [real / "asahi.db"]


def test_it_makes_a_month_anew_only_when_told_to(lived):
    place, _ = lived
    before = (place.path / "asahi.db").stat().st_mtime_ns
    done = asahi("demo", "--folder", place.path)
    assert done.returncode == 3
    assert "--again" in done.stderr
    assert (place.path / "asahi.db").stat().st_mtime_ns == before


@pytest.mark.anyio
async def test_a_storage_with_a_ledger_is_refused_even_under_the_mark(lived):
    """The mark may have been copied beside a real database: not one request more is written."""
    place, _ = lived
    count = len(list(sqlite3.connect(place.path / "asahi.db").execute("select 1 from savings_ledger")))
    with pytest.raises(ConfigError, match="never poured into one"):
        await live(place.settings(), new_mark(1, 100, 1), lambda _: None)
    assert len(list(sqlite3.connect(place.path / "asahi.db").execute("select 1 from savings_ledger"))) == count > 0
    assert abs(datetime.now(UTC) - clock.now()) < timedelta(seconds=5)


def test_a_mark_that_cannot_be_read_is_no_mark(tmp_path):
    (tmp_path / "demo.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        Folder(tmp_path).begin(new_mark(1, 100, 1), again=True, semantic=False)


def test_what_broke_off_is_made_anew_without_asking(tmp_path):
    place = Folder(tmp_path / "demo")
    place.begin(new_mark(1, 100, 1), again=False, semantic=False)
    (place.path / "asahi.db").write_bytes(b"half a month")
    place.begin(new_mark(2, 100, 1), again=False, semantic=True)
    assert place.mark is not None
    assert place.mark.days == 2
    assert not (place.path / "asahi.db").exists()
    assert "semantic" in place.settings().cache_tiers
    assert place.path.stat().st_mode & 0o077 == 0


def test_every_request_has_its_hour_and_weekends_are_quiet():
    import random

    end = datetime(2026, 11, 27, 17, tzinfo=UTC)
    found = hours(end, 28, 5_000, random.Random(1))
    assert len(found) == 28 * 24
    assert sum(each.count for each in found) == 5_000
    for hour in found:
        assert all(hour.start <= each.at < hour.start + timedelta(hours=1) for each in hour.moments)
    days = Counter({day: sum(each.count for each in found if each.start.weekday() == day) for day in range(7)})
    assert max(days[5], days[6]) < 0.6 * min(days[day] for day in range(5))
    week = timedelta(days=7)
    first = sum(each.count for each in found if each.start < end - 3 * week)
    assert sum(each.count for each in found if each.start >= end - week) > 1.2 * first


def test_the_same_seed_asks_the_same():
    import random

    from asahi_dashboard_api.demo.company import PEOPLE
    from asahi_dashboard_api.demo.questions import Questions

    def asked(seed):
        questions = Questions(random.Random(seed))
        return msgspec.json.encode([questions.of(each) for each in PEOPLE for _ in range(5) if each.desk])

    assert asked(1) == asked(1) != asked(2)
