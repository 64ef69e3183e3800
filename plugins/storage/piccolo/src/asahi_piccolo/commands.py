"""`asahi db`: the schema of the configured storage, brought up to date, back, or told."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from asahi_kernel.cli.options import config_option, json_option, load
from asahi_kernel.config import decode
from asahi_kernel.errors import ConfigError
from asahi_piccolo.config import PostgresConfig, SqliteConfig, StorageConfig, checked_path, postgres_url

T = TypeVar("T")
_UNREACHABLE = 4


@click.group()
def db() -> None:
    """The schema of the storage. `asahi serve` brings it up to date by itself, unless `storage.migrate` says not to."""


@db.command()
@click.option("--dry-run", is_flag=True, help="Print the SQL that would run, and change nothing.")
@config_option
@json_option
def upgrade(dry_run: bool, config: Path | None, as_json: bool) -> None:
    """Run the migrations that have not run yet. Many may do so at once: each migration runs once."""
    from asahi_piccolo import migrating

    chosen = _chosen(config)
    if dry_run:
        sql = _run(migrating.preview(_looking(chosen)))
        click.echo(json.dumps({"sql": sql}) if as_json else sql or "-- nothing to do: the schema is up to date")
        return
    _told("ran", _run(migrating.upgrade(_engine(chosen))), as_json, "the schema is up to date")


@db.command(context_settings={"ignore_unknown_options": True})
@click.argument("steps", default="1", metavar="[-N]")
@click.option("--yes", is_flag=True, help="Do not ask: what is in the tables that go is lost.")
@config_option
@json_option
def downgrade(steps: str, yes: bool, config: Path | None, as_json: bool) -> None:
    """Undo the last N migrations (default 1), with everything in their tables."""
    from asahi_piccolo import migrating

    count = steps.removeprefix("-")
    if not count.isascii() or not count.isdigit() or not 1 <= int(count) <= 1_000:
        raise click.BadParameter("write how many migrations to undo, such as -1")
    chosen = _chosen(config)
    if not yes:
        click.confirm(f"Undo {int(count)} migration(s) and lose what is in their tables?", abort=True, err=True)
    try:
        undone = _run(migrating.downgrade(_engine(chosen), int(count)))
    except LookupError as error:
        raise ConfigError(
            f"storage: migration {error} is of a newer release; undo it with that release, not with this one"
        ) from error
    _told("undone", undone, as_json, "nothing to undo")


@db.command()
@config_option
@json_option
def status(config: Path | None, as_json: bool) -> None:
    """Which migrations have run. Exit code 1 if some have not."""
    from asahi_piccolo import migrating

    chosen = _chosen(config)
    state = _run(migrating.status(_looking(chosen)))
    told = {
        "storage": "postgres" if isinstance(chosen, PostgresConfig) else "sqlite",
        "applied": list(state.applied),
        "pending": list(state.pending),
        "of_a_newer_release": list(state.unknown),
    }
    if as_json:
        click.echo(json.dumps(told))
    else:
        for name, value in told.items():
            shown = value if isinstance(value, str) else ", ".join(value) or "none"
            click.echo(f"{name.replace('_', ' '):<19} {shown}")
    sys.exit(1 if state.pending else 0)


def _chosen(config: Path | None) -> StorageConfig:
    """The table `storage` of the settings in force."""
    table = load(config).storage or "sqlite"
    table = {"type": table} if isinstance(table, str) else dict(table)
    kind = table.pop("type", None)
    if kind == "postgres":
        chosen = decode(table, PostgresConfig, "storage")
        postgres_url(chosen)
        return chosen
    if kind == "sqlite":
        file = decode(table, SqliteConfig, "storage")
        checked_path(file)
        return file
    raise ConfigError(
        f"storage: {kind!r} has no schema; set 'storage: sqlite', or 'storage: postgres' with DATABASE_URL"
    )


def _engine(config: StorageConfig) -> Any:
    from asahi_piccolo.engines import engine_for

    if isinstance(config, SqliteConfig):
        from asahi_piccolo.sqlite import make_file

        try:
            make_file(config.path)
        except OSError as error:
            raise ConfigError(f"storage.path: {config.path} cannot be made ({error.strerror})") from error
    return engine_for(config)


def _looking(config: StorageConfig) -> Any:
    """An engine for looking only: it makes no file."""
    from asahi_piccolo.engines import engine_for, nowhere

    missing = isinstance(config, SqliteConfig) and not Path(config.path).exists()
    return nowhere() if missing else engine_for(config)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """A database that cannot be used is one sentence and exit code 4, or 3 where the configuration is at fault."""
    from asahi_piccolo.storage import mistaken

    try:
        return asyncio.run(work)
    except (LookupError, ConfigError):
        raise
    except Exception as error:
        if mistake := mistaken(error):
            raise ConfigError(mistake) from error
        click.echo(f"asahi: the database cannot be used: {_cause(error)}", err=True)
        sys.exit(_UNREACHABLE)


def _cause(error: Exception) -> str:
    state = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    if state:
        return f"it failed with {state}"
    return "nothing answers there" if isinstance(error, OSError | TimeoutError) else type(error).__name__


def _told(word: str, migrations: tuple[str, ...], as_json: bool, nothing: str) -> None:
    if as_json:
        click.echo(json.dumps({word: list(migrations)}))
    else:
        click.echo(f"{word}: {', '.join(migrations)}" if migrations else nothing)
