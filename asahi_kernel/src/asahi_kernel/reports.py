"""Reports: questions about past events that plugins register, asked over HTTP and from the terminal alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from asahi_kernel.errors import Denied, Invalid
from asahi_kernel.protocols import Decisions
from asahi_kernel.wire.mistakes import explain

if TYPE_CHECKING:
    from asahi_kernel.factory import Report
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.plugins import Plugins
    from asahi_kernel.records import Decision
    from asahi_kernel.types import Principal

#: All orgs together, for the operator.
EVERY_ORG = "*"


class Scope(Struct, frozen=True):
    """Whose events a report reads, `*` for all orgs, and whether its reader may see money."""

    org: str
    money: bool = True


class Told(Struct, frozen=True, kw_only=True):
    """What a report found in `[start, end)`. `table` is the same as rows, for CSV and terminals; `more` joins the
    answer's `meta`."""

    data: Any
    start: datetime
    end: datetime
    table: Sequence[Mapping[str, Any]] = ()
    more: Mapping[str, Any] = {}


@runtime_checkable
class ManyDecisions(Decisions, Protocol):
    """A storage's decisions that can be read many at once."""

    async def many(self, org: str, request_ids: Sequence[str]) -> Mapping[str, Decision]:
        """Those of the org that are there, by request id."""


async def ask(gateway: Gateway, report: Report, scope: Scope, query: Mapping[str, str]) -> Told:
    """Run a report with parameters as texts; raises `Invalid`, which names what is allowed."""
    if scope.org == EVERY_ORG and not report.every_org:
        raise Invalid(f"{report.name} tells of single requests, and so of one org only", param="org_id")
    told: Told = await report.run(gateway, scope, parameters(report.params, query))
    return told


def parameters(kind: type[Struct], query: Mapping[str, str]) -> Any:
    """Texts as the parameters of a report; raises `Invalid`."""
    for name, text in query.items():
        if len(text) > 256 or "\0" in text:
            raise Invalid(f"`{name[:64]}` must be at most 256 characters", param=name[:64])
    names = {field.encode_name for field in msgspec.structs.fields(kind)}
    if strange := sorted(set(query) - names):
        known = ", ".join(sorted(names | {"format", "org_id"}))
        raise Invalid(f"there is no parameter {strange[0][:64]!r}; there are: {known}", param=strange[0][:64])
    try:
        return msgspec.convert(dict(query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise explain(str(error), kind) from None


def scope_of(gateway: Gateway, principal: Principal, org: str | None) -> Scope:
    """The key's own org; the operator may ask for all orgs, and nobody for another one."""
    money = "view_cost" in principal.permissions
    if org is None or org == principal.org:
        return Scope(principal.org, money)
    if org != EVERY_ORG:
        raise Denied("a key reads its own organisation only")
    if principal.org != gateway.settings.governance.operator_org:
        raise Denied("totals of all organisations are for the operator")
    return Scope(EVERY_ORG, money)


def wrapped(told: Told, scope: Scope, *, partial: bool = False) -> dict[str, Any]:
    """The whole answer. `partial`: what was settled just now is not in it yet."""
    meta = {
        "org_id": scope.org,
        "from": told.start,
        "to": told.end,
        "generated_at": datetime.now(UTC),
        "partial": partial,
        **told.more,
    }
    return {"data": told.data, "meta": meta}


@asynccontextmanager
async def reading(gateway: Gateway, plugins: Plugins) -> AsyncIterator[Gateway]:
    """Open what reports rest on: storage, and the models with their prices. No provider is opened."""
    from asahi_kernel.gateway import storing
    from asahi_kernel.registry import build

    tables = set(gateway.settings.providers) or {"mock"}
    gateway.mock = tables == {"mock"}
    async with storing(gateway, plugins):
        gateway.registry = build(gateway.settings, tables, mock=gateway.mock)
        yield gateway
