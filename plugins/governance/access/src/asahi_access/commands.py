"""`asahi keys`: make, list, rotate and revoke keys, at the storage itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_kernel.cli.options import config_option, json_option, load
from asahi_kernel.cli.telling import operator_name

if TYPE_CHECKING:
    from asahi_access.issuing import Issuer
    from asahi_access.tokens import Token
    from asahi_kernel.auditing import Actor
    from asahi_kernel.repositories.people import ApiKey
    from asahi_kernel.settings import Settings

org_option = click.option("--org", default="default", show_default=True, help="The organisation.")


@click.group()
def keys() -> None:
    """API keys. Whoever may write to the storage may make them: this asks for no key."""


@keys.command()
@config_option
@org_option
@click.option("--user", default="admin", show_default=True, help="The user that the key speaks for.")
@click.option("--admin", is_flag=True, help="Short for --role admin --scopes all.")
@click.option("--role", type=click.Choice(["admin", "developer", "viewer", "billing"]), default="developer")
@click.option("--scopes", default="infer,analytics", show_default=True, help="By comma: infer, analytics, admin, all.")
@click.option("--name", default="", help="What people call it.")
@click.option("--days", type=click.IntRange(1, 365), default=90, show_default=True, help="Its life.")
@click.option("--may-act-for-users", is_flag=True, help="It may state other users than its own.")
@json_option
def create(
    config: Path | None,
    org: str,
    user: str,
    admin: bool,
    role: str,
    scopes: str,
    name: str,
    days: int,
    may_act_for_users: bool,
    as_json: bool,
) -> None:
    """Make a key and print it, once."""
    from asahi_access.grants import SCOPES
    from asahi_access.issuing import Order

    chosen = ("all",) if admin else tuple(each.strip() for each in scopes.split(",") if each.strip())
    if unknown := sorted(set(chosen) - SCOPES.keys()):
        raise click.BadParameter(f"{unknown[0]!r} is no scope; they are {', '.join(SCOPES)}", param_hint="--scopes")
    if not chosen:
        raise click.BadParameter("a key without scopes may do nothing", param_hint="--scopes")
    order = Order(
        org=checked_id(org, "--org"),
        user=checked_id(user, "--user"),
        role="admin" if admin else role,
        scopes=chosen,
        name=name,
        days=days,
        may_act_for_users=may_act_for_users or admin,
    )
    key, token = asyncio.run(_with(load(config), lambda issuer, actor: issuer.create(order, actor)))
    _show(key, token, as_json)


@keys.command("list")
@config_option
@org_option
@click.option("--revoked", is_flag=True, help="Revoked ones, too.")
@json_option
def listed(config: Path | None, org: str, revoked: bool, as_json: bool) -> None:
    """List the keys of an organisation, newest first, without their secrets."""
    found = asyncio.run(_with(load(config), lambda issuer, _: issuer.of_org(org, None, revoked, None, 1_000)))
    if as_json:
        click.echo(json.dumps([_told(key) for key in found], indent=2))
        return
    for key in found:
        state = "revoked" if key.revoked else f"until {key.expires_at:%Y-%m-%d}"
        used = f"used {key.last_used_at:%Y-%m-%d}" if key.last_used_at else "never used"
        click.echo(f"ask_{key.key_id}  {key.user_id:<16}{key.role:<11}{','.join(key.scopes):<18}{state:<17}{used}")


@keys.command()
@config_option
@org_option
@click.argument("key_id")
@click.option("--overlap-hours", type=click.FloatRange(0, 168), default=24.0, show_default=True)
@json_option
def rotate(config: Path | None, org: str, key_id: str, overlap_hours: float, as_json: bool) -> None:
    """Make a key like KEY_ID, which lives on for the overlap."""
    work = lambda issuer, actor: issuer.rotate(org, _bare(key_id), overlap_hours, actor)  # noqa: E731
    key, token = asyncio.run(_with(load(config), work))
    _show(key, token, as_json)


@keys.command()
@config_option
@org_option
@click.argument("key_id")
def revoke(config: Path | None, org: str, key_id: str) -> None:
    """Revoke KEY_ID. Running gateways refuse it within a second where they share Redis, else within
    `auth.identity_ttl_s`, 30 seconds by default."""
    key = asyncio.run(_with(load(config), lambda issuer, actor: issuer.revoke(org, _bare(key_id), actor)))
    click.echo(f"ask_{key.key_id} is revoked")


async def _with(settings: Settings, work: Any) -> Any:
    async with _issuing(settings) as (issuer, actor):
        return await work(issuer, actor)


@asynccontextmanager
async def _issuing(settings: Settings) -> AsyncIterator[tuple[Issuer, Actor]]:
    from asahi_access.config import KeysConfig
    from asahi_access.issuing import Issuer
    from asahi_access.opening import governing, peppers_of
    from asahi_access.revoking import counting, tell
    from asahi_kernel.auditing import Actor
    from asahi_kernel.config import decode
    from asahi_kernel.errors import ConfigError
    from asahi_kernel.gateway import Gateway, storing
    from asahi_kernel.plugins import load_plugins

    table = settings.auth if isinstance(settings.auth, dict) and settings.auth.get("type") == "keys" else {}
    config = decode({name: value for name, value in table.items() if name != "type"}, KeysConfig, "auth")
    gateway = Gateway(settings)
    plugins = load_plugins()
    async with storing(gateway, plugins):
        if gateway.storage.name == "memory":
            raise ConfigError("storage: memory ends with this command, and so would the key; use sqlite or postgres")
        operator = settings.governance.operator_org
        issuer = Issuer(governing(gateway), peppers_of(config, gateway), settings.tenants, operator)
        yield issuer, Actor(org=operator, user=operator_name())
        async with counting(gateway, plugins) as counter:
            await tell(counter)


def _show(key: ApiKey, token: Token, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"api_key": token.text, **_told(key)}, indent=2))
        return
    click.echo(token.text)
    click.echo(
        f"A key of {key.user_id} in {key.org_id}, {key.role} with {', '.join(key.scopes)}, until "
        f"{key.expires_at:%Y-%m-%d}. It is shown this once: keep it now.",
        err=True,
    )


def _told(key: ApiKey) -> dict[str, Any]:
    import msgspec

    kept = msgspec.to_builtins(key)
    for secret in ("key_hash", "pepper_version"):
        del kept[secret]
    return {"prefix": f"ask_{key.key_id}", **kept}


def _bare(key_id: str) -> str:
    return key_id.removeprefix("ask_").partition("_")[0]


def checked_id(text: str, hint: str) -> str:
    """An id as paths and bodies take it."""
    import re

    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", text):
        raise click.BadParameter("use 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit", param_hint=hint)
    return text
