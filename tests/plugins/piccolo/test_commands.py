"""`asahi db` as a person or a pipeline runs it: what it says, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEAD = "postgresql://asahi:open-sesame@127.0.0.1:1/asahi"


def db(folder: Path, storage: Any, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASAHI_", "DATABASE_URL"))}
    told = storage if isinstance(storage, str) else json.dumps(storage)
    return subprocess.run(
        [sys.executable, "-m", "asahi_kernel.cli", "db", *arguments],
        env={**kept, "ASAHI_STORAGE": told, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_file_goes_up_down_and_up(tmp_path: Path) -> None:
    before = db(tmp_path, "sqlite", "status", "--json")
    assert before.returncode == 1
    every = ["0001", "0002", "0003", "0004", "0005", "0006", "0007"]
    assert json.loads(before.stdout)["pending"] == every
    assert not (tmp_path / "data/asahi.db").exists()
    assert json.loads(db(tmp_path, "sqlite", "upgrade", "--json").stdout) == {"ran": every}
    assert json.loads(db(tmp_path, "sqlite", "downgrade", "-1", "--yes", "--json").stdout) == {"undone": ["0007"]}
    assert "0007" in db(tmp_path, "sqlite", "status").stdout
    assert json.loads(db(tmp_path, "sqlite", "upgrade", "--json").stdout) == {"ran": ["0007"]}
    assert db(tmp_path, "sqlite", "upgrade").stdout == "the schema is up to date\n"
    assert db(tmp_path, "sqlite", "status").returncode == 0


def test_postgres_is_chosen_at_run_time(tmp_path: Path, fresh_database_url: str) -> None:
    dry = db(tmp_path, "postgres", "upgrade", "--dry-run", DATABASE_URL=fresh_database_url)
    assert "BIGSERIAL" in dry.stdout
    assert json.loads(db(tmp_path, "postgres", "status", "--json", DATABASE_URL=fresh_database_url).stdout)["pending"]
    table = {"type": "postgres", "url": fresh_database_url}
    assert db(tmp_path, table, "upgrade").stdout == "ran: 0001, 0002, 0003, 0004, 0005, 0006, 0007\n"
    assert db(tmp_path, table, "upgrade", "--dry-run").stdout.startswith("-- nothing to do")


def test_a_downgrade_asks_first(tmp_path: Path) -> None:
    db(tmp_path, "sqlite", "upgrade")
    assert db(tmp_path, "sqlite", "downgrade").returncode == 130
    assert db(tmp_path, "sqlite", "status").returncode == 0


@pytest.mark.parametrize(
    ("storage", "arguments", "code", "told"),
    [
        ("memory", ["status"], 3, "'memory' has no schema"),
        ("postgres", ["status"], 3, "DATABASE_URL"),
        ({"type": "postgres", "url": DEAD}, ["upgrade"], 4, "nothing answers there"),
        ({"type": "postgres", "url": "mysql://a/b"}, ["status"], 3, "write postgresql://"),
        ({"type": "postgres", "url": "postgresql://a:99999999/b"}, ["status"], 3, "storage.url"),
        ({"type": "postgres", "url": "postgresql://host"}, ["status"], 3, "name of the database"),
        ({"type": "sqlite", "path": "/proc/none/a.db"}, ["upgrade"], 3, "cannot be made"),
        ({"type": "sqlite", "pth": "x"}, ["status"], 3, "path"),
        ("sqlite", ["downgrade", "all", "--yes"], 2, "how many migrations"),
    ],
)
def test_mistakes_are_one_sentence_and_an_exit_code(
    storage: Any, arguments: list[str], code: int, told: str, tmp_path: Path
) -> None:
    done = db(tmp_path, storage, *arguments)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "open-sesame" not in done.stderr + done.stdout


def test_a_file_that_is_no_database_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_bytes(os.urandom(3_000))
    done = db(tmp_path, {"type": "sqlite", "path": "junk.db"}, "upgrade")
    assert (done.returncode, "not an SQLite database" in done.stderr) == (3, True)
