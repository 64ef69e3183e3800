"""`asahi audit`: verify and export the log, from storage or from a dump of it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_kernel.cli.options import config_option, json_option, load
from asahi_kernel.cli.telling import operator_name

if TYPE_CHECKING:
    from asahi_audit.verifying import Finding
    from asahi_kernel.repositories import Governing
    from asahi_kernel.repositories.audit import AuditEntry, Checkpoint
    from asahi_kernel.settings import Settings

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_KEY = re.compile(r"[0-9a-fA-F]{64}")


@click.group()
def audit() -> None:
    """The audit log: what was done, and the proof that nobody changed the record of it."""


@audit.command()
@config_option
@click.option("--org", help="Tell of this organisation alone; the whole log is read all the same.")
@click.option("--dump", type=_FILE, help="Verify this dump instead of storage; nothing else is opened.")
@click.option("--checkpoints", type=_FILE, help="Checkpoints; else those in governance.audit_dir.")
@click.option("--public-key", help="Hexadecimal public key of the checkpoints; else this host's own.")
@json_option
def verify(
    config: Path | None,
    org: str | None,
    dump: Path | None,
    checkpoints: Path | None,
    public_key: str | None,
    as_json: bool,
) -> None:
    """Recompute every chain and the tree over them, and hold it against what was signed. Exit code 1 when anything is
    not what it was."""
    import msgspec

    if public_key is not None and not _KEY.fullmatch(public_key):
        raise click.BadParameter("a public key has 64 hexadecimal digits", param_hint="--public-key")
    found = asyncio.run(_verify(load(config), dump, checkpoints, public_key))
    told = _told(found, org)
    click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2) if as_json else "\n".join(_sentences(told)))
    sys.exit(0 if told["ok"] else 1)


@audit.command()
@config_option
@click.option("--org", help="One organisation; else the whole log as it was written, to be verified.")
@click.option("--format", "form", type=click.Choice(["jsonl", "json", "csv"]), default="jsonl", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A file; else standard output.")
def export(config: Path | None, org: str | None, form: str, out: Path | None) -> None:
    """Write the log as JSON lines for `asahi audit verify --dump`, or an org's for people. The log notes it."""
    if org is None and form != "jsonl":
        raise click.UsageError("the whole log is written as jsonl; with --org it may be json or csv")
    count = asyncio.run(_export(load(config), org, form, out))
    click.echo(f"{count} entries", err=True)


@audit.command("public-key")
@config_option
def public_key_of(config: Path | None) -> None:
    """Print the public key that this host's checkpoints are signed with: keep it where the database is not."""
    from asahi_kernel.signing import signing_key

    click.echo(signing_key(load(config)).public.hex())


async def _verify(settings: Settings, dump: Path | None, file: Path | None, public_key: str | None) -> Finding:
    import msgspec

    from asahi_audit.checkpoints import LOG, path_of, read_file
    from asahi_audit.verifying import disorder, verify
    from asahi_kernel.signing import signing_key

    signed = read_file(file or path_of(settings))
    public = bytes.fromhex(public_key) if public_key else signing_key(settings).public
    wrong = disorder(signed)
    if dump is not None:
        found = await verify(_dumped(dump), signed, public)
    else:
        async with _storage(settings) as storage:
            kept: list[Checkpoint] = list(await storage.repositories.audit.checkpoints(LOG, 100_000))
            found = await verify(_stored(storage), [*signed, *kept], public)
    return msgspec.structs.replace(found, faults=(*found.faults, wrong)) if wrong else found


async def _export(settings: Settings, org: str | None, form: str, out: Path | None) -> int:
    from asahi_kernel.auditing import Actor, entry_of

    async with _storage(settings) as storage:
        operator = settings.governance.operator_org
        actor = Actor(org=operator, user=operator_name())
        noted = entry_of(actor, "audit_export", "audit", {"format": form}, org=org, classification="confidential")
        async with storage.together() as kept:
            await kept.audit.append([noted])
        file = out.open("wb") if out else sys.stdout.buffer
        try:
            return await _write(storage, org, form, file)
        finally:
            file.flush()
            if out:
                file.close()


async def _write(storage: Governing, org: str | None, form: str, file: Any) -> int:
    import msgspec

    from asahi_audit.exporting import written

    count = 0

    async def counted() -> AsyncIterator[AuditEntry]:
        nonlocal count
        async for entry in storage.repositories.audit.entries(org) if org else _stored(storage):
            count += 1
            yield entry

    if form != "jsonl":
        async for piece in written(org or "", counted(), "csv" if form == "csv" else "json"):
            file.write(piece)
        return count
    async for entry in counted():
        file.write(msgspec.json.encode(entry) + b"\n")
    return count


async def _stored(storage: Governing) -> AsyncIterator[AuditEntry]:
    async for _, entry in storage.repositories.audit.everything():
        yield entry


async def _dumped(path: Path) -> AsyncIterator[AuditEntry]:
    for entry in _lines(path):
        yield entry


def _lines(path: Path) -> Iterator[AuditEntry]:
    import msgspec

    from asahi_kernel.errors import Invalid
    from asahi_kernel.repositories.audit import AuditEntry

    decode = msgspec.json.Decoder(AuditEntry).decode
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield decode(line)
            except msgspec.DecodeError:
                raise Invalid(f"{path}: line {number} is no entry of an audit log") from None


def _storage(settings: Settings) -> Any:
    from asahi_kernel.gateway import Gateway, storing
    from asahi_kernel.plugins import load_plugins

    return storing(Gateway(settings), load_plugins())


def _told(found: Finding, org: str | None) -> dict[str, Any]:
    from asahi_audit.verifying import WHOLE

    faults = [each for each in found.faults if org is None or each.org in {org, WHOLE}]
    return {
        "ok": not faults,
        "entries": found.entries,
        "orgs": {name: head.seq for name, head in sorted(found.orgs.items()) if org in {None, name}},
        "faults": [{"org": each.org or None, "seq": each.seq, "message": each.message} for each in faults],
        "checkpoints": found.checkpoints,
        "covered": found.covered,
        "signed_at": found.signed_at.isoformat() if found.signed_at else None,
        "signed_by_others": found.strangers,
    }


def _sentences(told: dict[str, Any]) -> list[str]:
    lines = [f"BAD   {each['org'] or 'the whole log'}: {each['message']}" for each in told["faults"]]
    bad = {each["org"] for each in told["faults"]}
    lines += [f"good  {org}: {seq} entries" for org, seq in told["orgs"].items() if org not in bad]
    if told["checkpoints"]:
        rest = max(0, told["entries"] - told["covered"])
        lines.append(
            f"{told['checkpoints']} checkpoints agree, the last of {told['signed_at']} over {told['covered']} entries; "
            f"{rest} came after it"
        )
    else:
        lines.append("no checkpoint agrees: a cut end, or a log that was computed anew, would not show")
    if told["signed_by_others"]:
        lines.append(f"{told['signed_by_others']} checkpoints were signed by another key and prove nothing here")
    return lines
