"""`/settings`: what an org wants of the gateway, read and changed by its admins."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, get_args
from zoneinfo import available_timezones

import msgspec
from litestar import Request, get, put

from asahi_guard.desk import conflict, expected, governing
from asahi_kernel import clock
from asahi_kernel.api.access import actor_of, principal_of
from asahi_kernel.api.stored import stored
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.errors import Invalid, Unprocessable, UnsupportedMediaType
from asahi_kernel.preferences import Preferences, read
from asahi_kernel.repositories.rules import SettingsOf
from asahi_kernel.types import Task
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.strict import scan

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.standing import Standing

#: Kept and shown, and nothing more: they are for people.
DISPLAYED = (
    "general.organisation_name",
    "general.contact_email",
    "general.api_base_url",
    "general.timezone",
)
#: What is done about them is the operator's to allow, by the service `mail`.
MAILED = (
    "general.notifications",
    "general.email_alerts",
    "general.weekly_report",
    "general.alert_emails",
)
#: Kept and shown, but the gateway does not act on them yet.
UNENFORCED = (
    "routing.optimize_tokens",
    "routing.allow_batching",
    "routing.enrich_with_features",
    "routing.share_quality",
)


def settings_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get("/settings", opt={"permission": "view_metrics"}, tags=["settings"])
    async def shown(request: Request[Any, Any, Any]) -> dict[str, Any]:
        """What holds, with every default. `version` goes into If-Match; 0 while nothing was ever said.
        `not_enforced` names the keys that the gateway keeps and does not act on: not yet, or not for this org."""
        org = principal_of(request).org
        return _shown(gateway, org, await stored(gateway, governing(gateway).repositories.settings.get(org)))

    @put("/settings", opt={"permission": "manage_policy"}, tags=["settings"], status_code=200)
    async def save(request: Request[Any, Any, Any]) -> dict[str, Any]:
        """Change the keys that are given, in any of the groups; the others stay. With If-Match only that version."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMediaType("send the body as Content-Type: application/json in UTF-8")
        tree, actor = scan(await request.body()), actor_of(request)
        check(gateway, checked(tree, Preferences), await gateway.standings.of(actor.org))
        assert isinstance(tree, dict)
        saved = await stored(gateway, _save(gateway, actor, tree, expected(request)))
        gateway.standings.forget(actor.org)
        await gateway.standings.of(actor.org)
        return _shown(gateway, actor.org, saved)

    return [shown, save]


def check(gateway: Gateway, wanted: Preferences, standing: Standing) -> None:
    """Raises `Invalid` for what no gateway, or not this one, can do, `Unprocessable` for what the org may not."""
    if wanted.general.timezone not in _timezones():
        raise Invalid("`general.timezone` must be a name of the IANA time zones, as Europe/Berlin", param="timezone")
    tasks = get_args(Task)
    for task in wanted.routing.task_overrides:
        if task not in tasks:
            place = "routing.task_overrides"
            raise Invalid(f"`{place}`: {task!r} is none of the tasks {', '.join(tasks)}", param=place)
    if wanted.routing.default_mode == "guided" and "guided" not in gateway.rules:
        raise Invalid(
            "`routing.default_mode` 'guided' needs the rule 'guided', which is not in use here",
            param="routing.default_mode",
        )
    if wanted.privacy.store_prompts and not standing.may_store_prompts:
        raise Unprocessable(
            "`privacy.store_prompts`: the compliance profile of this organisation forbids that prompts are stored",
            code="contradictory_settings",
            param="privacy.store_prompts",
        )


async def _save(gateway: Gateway, actor: Actor, given: Mapping[str, Any], version: int | None) -> SettingsOf:
    async with governing(gateway).together() as kept:
        old = await kept.settings.get(actor.org)
        body = dict(old.body) if old is not None else {}
        current = old.version if old is not None else 0
        if version is not None and version != current:
            raise conflict(current)
        changes = _changes(body, given)
        for group, keys in given.items():
            body[group] = {**body.get(group, {}), **keys}
        now = clock.now()
        wanted = SettingsOf(org_id=actor.org, updated_at=now, body=body, updated_by=actor.user)
        saved = await kept.settings.save(wanted, current)
        if saved is None:
            raise conflict(current + 1)
        details = {"version": saved.version, "changes": changes}
        await kept.audit.append([entry_of(actor, "settings_update", f"settings/{actor.org}", details)])
    return saved


def _changes(old: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes of which key, each as text: an audit entry holds no numbers with a point."""
    before, told = msgspec.to_builtins(read(old)), {}
    for group, keys in given.items():
        for key, value in keys.items():
            if before[group][key] != value:
                told[f"{group}.{key}"] = {"from": _text(before[group][key]), "to": _text(value)}
    return told


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _shown(gateway: Gateway, org: str, kept: SettingsOf | None) -> dict[str, Any]:
    wanted: dict[str, Any] = msgspec.to_builtins(read(kept.body if kept is not None else {}))
    idle = UNENFORCED if gateway.mails else (*MAILED, *UNENFORCED)
    forbidden = () if gateway.standings.known(org).may_store_prompts else ("privacy.store_prompts",)
    return {
        "org_id": org,
        "version": kept.version if kept is not None else 0,
        "updated_at": kept.updated_at if kept is not None else None,
        "updated_by": kept.updated_by if kept is not None else None,
        **wanted,
        "display_only": DISPLAYED,
        "not_enforced": (*idle, *forbidden),
    }


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones()) | {"UTC"}
