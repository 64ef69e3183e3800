"""`asahi savings` and `asahi events`: proof and data out, from storage or from a dump of it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_kernel.cli.options import config_option, json_option, load

if TYPE_CHECKING:
    from asahi_analytics.checkpoints import Checkpoint
    from asahi_analytics.verifying import Finding
    from asahi_kernel.settings import Settings

_FOREVER = datetime(2200, 1, 1, tzinfo=UTC)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_KEY = re.compile(r"[0-9a-fA-F]{64}")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
org_option = click.option("--org", help="One organisation; else all of them.")
since_option = click.option("--since", type=click.DateTime(), help="From this moment on, in UTC.")
until_option = click.option("--until", type=click.DateTime(), help="Up to this moment, in UTC.")


@click.group()
def savings() -> None:
    """The savings ledger: what was saved, and the proof of it."""


@savings.command()
@config_option
@org_option
@since_option
@click.option("--dump", type=_FILE, help="Verify this dump instead of storage; nothing else is opened.")
@click.option("--checkpoint", "checkpoints", type=_FILE, help="Checkpoints; else those in governance.audit_dir.")
@click.option("--public-key", help="Hexadecimal public key of the checkpoints; else this host's own.")
@json_option
def verify(
    config: Path | None,
    org: str | None,
    since: datetime | None,
    dump: Path | None,
    checkpoints: Path | None,
    public_key: str | None,
    as_json: bool,
) -> None:
    """Recompute every entry from its usage and prices, and check chain and checkpoints. Exit code 1 at the first
    difference."""
    settings = load(config)
    found = asyncio.run(_verify(settings, org, _utc(since), dump, _checkpoints(settings, checkpoints, public_key)))
    bad = [each for each in found if each.fault]
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        click.echo("\n".join(map(_sentence, found)) or "the ledger is empty")
    sys.exit(1 if bad else 0)


@savings.command("dump")
@config_option
@org_option
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def dumped(config: Path | None, org: str | None, out: Path) -> None:
    """Write price books and ledger to OUT as JSON lines, for `asahi savings verify --dump` anywhere."""
    count = asyncio.run(_dump(load(config), org, out))
    click.echo(f"{count} entries written to {out}")


@savings.command()
@config_option
@click.option("--org", default="default", show_default=True, help="The organisation.")
@since_option
@until_option
@json_option
def report(config: Path | None, org: str, since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """What was paid, what it would have cost, by which technique the difference came, and what the holdout says."""
    told = asyncio.run(_report(load(config), org, _utc(since) or _FIRST, _utc(until) or _FOREVER))
    click.echo(json.dumps(told, indent=2) if as_json else _paragraph(told))


@savings.command("public-key")
@config_option
def public_key_of(config: Path | None) -> None:
    """Print the public key that this host's checkpoints are signed with: keep it where the database is not."""
    from asahi_analytics.signing import signer_of

    click.echo(signer_of(load(config)).public.hex())


@click.group()
def events() -> None:
    """Past requests."""


@events.command("export")
@config_option
@click.option("--org", default="default", show_default=True, help="The organisation.")
@since_option
@until_option
@click.option("--jsonl", "form", flag_value="jsonl", default=True, help="JSON lines; the default.")
@click.option("--csv", "form", flag_value="csv", help="CSV, one line for each request.")
@click.option("--focus", "form", flag_value="focus", help="CSV in the columns of FOCUS 1.2.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A file; else standard output.")
def export(
    config: Path | None, org: str, since: datetime | None, until: datetime | None, form: str, out: Path | None
) -> None:
    """Write an organisation's requests, oldest first, in bounded memory."""
    count = asyncio.run(_export(load(config), org, _utc(since) or _FIRST, _utc(until) or _FOREVER, form, out))
    click.echo(f"{count} requests", err=True)


async def _verify(
    settings: Settings, org: str | None, since: datetime | None, dump: Path | None, signed: list[Checkpoint] | str
) -> list[Finding]:
    from asahi_analytics.dump import Dump
    from asahi_analytics.verifying import Finding, fault_of_books, verify
    from asahi_kernel.ledger import Head

    if isinstance(signed, str):
        return [Finding(org=org or "*", entries=0, saved=0, head=Head(), fault=signed)]
    named = {each for one in signed for each in one.heads}
    if dump is not None:
        file = Dump(dump)
        if wrong := fault_of_books(file.books.values()):
            return [Finding(org=org or "*", entries=0, saved=0, head=Head(), fault=wrong)]
        orgs = [org] if org else sorted({*file.orgs, *named})
        return [await verify(each, file.entries(each), file.books, signed, since) for each in orgs]
    async with _storage(settings) as storage:
        books = {book.version: book for book in await storage.prices.all()}
        if wrong := fault_of_books(books.values()):
            return [Finding(org=org or "*", entries=0, saved=0, head=Head(), fault=wrong)]
        orgs = [org] if org else sorted({*await storage.ledger.heads(), *named})
        return [await verify(each, storage.ledger.entries(each), books, signed, since) for each in orgs]


def _checkpoints(settings: Settings, path: Path | None, public_key: str | None) -> list[Checkpoint] | str:
    """The checkpoints to hold against, or what is wrong with them."""
    from asahi_analytics.checkpoints import FILE, read
    from asahi_analytics.signing import signer_of
    from asahi_analytics.verifying import fault_of_checkpoints

    path = path or Path(settings.governance.audit_dir) / FILE
    if not path.is_file():
        return []
    with path.open("rb") as file:
        found = read(file)
    if public_key is None:
        return fault_of_checkpoints(found, signer_of(settings).public) or found
    if not _KEY.fullmatch(public_key):
        return "--public-key: a public key has 64 hexadecimal digits"
    return fault_of_checkpoints(found, bytes.fromhex(public_key)) or found


async def _dump(settings: Settings, org: str | None, out: Path) -> int:
    from asahi_analytics.dump import write

    async with _storage(settings) as storage:
        orgs = [org] if org else sorted(await storage.ledger.heads())
        with out.open("wb") as file:
            return await write(storage, orgs, file)


async def _export(settings: Settings, org: str, start: datetime, end: datetime, form: str, out: Path | None) -> int:
    from asahi_analytics.exporting import export

    async with _storage(settings) as storage:
        if out is None:
            return await export(storage.events.between(org, start, end), form, sys.stdout.buffer.write)
        with out.open("wb") as file:
            return await export(storage.events.between(org, start, end), form, file.write)


async def _report(settings: Settings, org: str, start: datetime, end: datetime) -> dict[str, Any]:
    from asahi_analytics.report import Report

    async with _storage(settings) as storage:
        report = Report(org)
        async for event in storage.events.between(org, start, end):
            report.add(event)
        return report.told((await storage.ledger.heads()).get(org))


def _storage(settings: Settings) -> Any:
    from asahi_kernel.gateway import Gateway, storing
    from asahi_kernel.plugins import load_plugins

    return storing(Gateway(settings), load_plugins())


def _sentence(found: Finding) -> str:
    from asahi_kernel.money import plain

    if found.fault:
        return f"BAD   {found.org}: {found.fault}"
    proof = f"{found.checkpoints} checkpoints agree" if found.checkpoints else "no checkpoint: a cut end would not show"
    return f"good  {found.org}: {found.entries} entries, ${plain(found.saved)} saved, {proof}"


def _paragraph(told: dict[str, Any]) -> str:
    lines = [
        f"{told['requests']} requests of {told['org']}: ${told['cost']} paid, ${told['baseline_cost']} without Asahi",
        f"saved ${told['saved']} ({told['savings_percent']:.1f} %)",
        *[f"  {name:<20} ${amount}" for name, amount in told["saved_by"].items()],
    ]
    if told["unpriced"]:
        lines.append(f"{told['unpriced']} requests have no known price and count for nothing")
    causal = told["causal"]
    if causal is None:
        lines.append("no holdout: set savings.holdout_rate to measure the saving, too")
    else:
        lines.append(
            f"measured on {causal['held_out']} held-out requests: ${causal['saved']} saved on the {causal['compared']} "
            f"compared ones, 95 % interval ${causal['low']} to ${causal['high']}"
        )
    lines.append(f"ledger: {told['ledger']['size']} entries, head {told['ledger']['head'][:16]}…")
    return "\n".join(lines)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
