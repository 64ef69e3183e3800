"""`/governance/budgets` and `/governance/usage`: what an org may spend, and what it has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery
from msgspec import Meta, Struct

from asahi_kernel import clock
from asahi_kernel.api.access import actor_of, principal_of
from asahi_kernel.api.bodies import body_of
from asahi_kernel.api.stored import stored
from asahi_kernel.auditing import entry_of
from asahi_kernel.errors import Invalid, NotFound
from asahi_kernel.identity import new_id
from asahi_kernel.money import dollars, nano
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.budgets import Ask, Budget
from asahi_limits.book import of_policy
from asahi_limits.budget import BudgetPolicy
from asahi_limits.calendar import Window, end_of, start_of
from asahi_limits.leasing import leases_of
from asahi_limits.seeding import POLICY, REQUESTS

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.budgets import Budgets
    from asahi_kernel.standing import Standing

Share = Annotated[float, Meta(gt=0, le=10)]
#: A login shows its key again before these.
_BILLED = {"permission": "manage_billing", "confirm": True}
_PERIODS = {"day": timedelta(hours=24), "month": timedelta(hours=720)}


class NewBudget(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body. `limit` is in dollars; `subject` is a user or a key id, and may be left out for the org itself."""

    level: Literal["org", "user", "key"]
    window: Window
    limit: Annotated[float, Meta(gt=0, le=1_000_000_000)]
    subject: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")] | None = None
    action: Literal["refuse", "warn"] = "refuse"
    alert_at: Annotated[tuple[Share, ...], Meta(max_length=10)] = (0.5, 0.8, 1.0)


class BudgetRow(Struct, frozen=True, kw_only=True):
    """A budget as it stands, in dollars. `source` is `policy` for the limits of the org's policy."""

    budget_id: str
    level: str
    subject: str
    window: str
    limit: float
    action: str
    alert_at: tuple[float, ...]
    source: Literal["budget", "policy"]
    spent: float | None
    held: float | None
    remaining: float | None
    resets_at: datetime | None


class BudgetPage(Struct, frozen=True, kw_only=True):
    """Every budget of the org."""

    budgets: tuple[BudgetRow, ...]
    count: int


def limit_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    return [*_reading(gateway), *_changing(gateway)]


def _reading(gateway: Gateway) -> list[HTTPRouteHandler]:
    @get("/governance/budgets", opt={"permission": "view_cost"}, tags=["budgets"])
    async def listed(request: Request[Any, Any, Any]) -> BudgetPage:
        """The org's budgets with what they have spent and hold now."""
        principal = principal_of(request)
        standing = await gateway.standings.of(principal.org)
        own = await stored(gateway, _budgets(gateway).of_org(principal.org))
        found = [each for each in own if each.subject not in {POLICY, REQUESTS}]
        rows = await _rows(gateway, principal.org, [*found, *of_policy(standing.policy)])
        return BudgetPage(budgets=tuple(rows), count=len(rows))

    @get("/governance/usage", opt={"permission": "view_cost"}, tags=["budgets"])
    async def usage(
        request: Request[Any, Any, Any], org_id: FromQuery[str | None] = None, period: FromQuery[str] = "day"
    ) -> dict[str, Any]:
        """Requests and money of the last 24 or 720 hours, beside the limits of the org's policy."""
        principal = principal_of(request)
        if period not in _PERIODS:
            raise Invalid(f"period must be one of: {', '.join(_PERIODS)}", param="period")
        org = org_id or principal.org
        if org != principal.org and principal.org != gateway.settings.governance.operator_org:
            raise NotFound("there is no such organisation")
        standing = await gateway.standings.of(org)
        await gateway.journal.catch_up()
        now = clock.now()
        totals = await stored(gateway, gateway.storage.events.totals(org, now - _PERIODS[period]))
        today = await stored(gateway, gateway.storage.events.totals(org, start_of("day", now)))
        windows = await _rows(gateway, org, of_policy(standing.policy))
        return {
            "org_id": org,
            "period": period,
            "request_count": totals.requests,
            "total_cost_usd": dollars(totals.cost + totals.overhead_cost),
            "policy_limits": _limits(standing),
            "remaining": _remaining(standing, windows, today.requests),
            "resets_at": {window: end_of(window, now) for window in ("day", "month")},
        }

    return [listed, usage]


def _changing(gateway: Gateway) -> list[HTTPRouteHandler]:
    @post("/governance/budgets", opt=_BILLED, tags=["budgets"], status_code=201)
    async def save(request: Request[Any, Any, Any]) -> BudgetRow:
        """Make a budget. One of the same level, subject and window is replaced, and keeps what it has spent."""
        principal, given = principal_of(request), await body_of(request, NewBudget)
        subject = principal.org if given.level == "org" else given.subject
        if subject is None or (given.level == "org" and given.subject not in {None, principal.org}):
            raise Invalid(
                "`subject` names the user or the key; for the level org it is the org itself", param="subject"
            )
        budget = Budget(
            budget_id=new_id(),
            org_id=principal.org,
            level=given.level,
            subject=subject,
            window=given.window,
            limit=nano(given.limit),
            action=given.action,
            alert_at=tuple(sorted(given.alert_at)),
            created_by=principal.user,
        )
        told = {"window": given.window, "limit_nano": budget.limit, "action": given.action}
        resource = f"budget/{given.level}/{subject}"
        await gateway.audit.record(
            entry_of(actor_of(request), "budget_update", resource, told, classification="confidential")
        )
        kept = await stored(gateway, _budgets(gateway).save(budget))
        _forget(gateway, principal.org)
        (row,) = await _rows(gateway, principal.org, [kept])
        return row

    @delete("/governance/budgets/{budget_id:str}", opt=_BILLED, tags=["budgets"], status_code=204)
    async def remove(request: Request[Any, Any, Any], budget_id: FromPath[str]) -> None:
        """Remove a budget. Another org's answers 404, the same as an unknown one; so do the limits of a policy."""
        principal = principal_of(request)
        own = await stored(gateway, _budgets(gateway).of_org(principal.org))
        found = next((each for each in own if each.budget_id == budget_id and not each.subject.startswith("#")), None)
        if found is None:
            raise NotFound("there is no such budget")
        resource = f"budget/{found.level}/{found.subject}"
        told = {"window": found.window, "removed": True}
        await gateway.audit.record(
            entry_of(actor_of(request), "budget_update", resource, told, classification="confidential")
        )
        await stored(gateway, _budgets(gateway).remove(principal.org, budget_id))
        _forget(gateway, principal.org)

    return [save, remove]


async def _rows(gateway: Gateway, org: str, budgets: Sequence[Budget]) -> list[BudgetRow]:
    now = clock.now()
    asks = [Ask(budget_id=each.budget_id, window_start=start_of(each.window, now), limit=None) for each in budgets]
    summed = [ask for ask, each in zip(asks, budgets, strict=True) if each.window != "request"]
    windows = {each.budget_id: each for each in await leases_of(gateway).windows(org, summed)} if summed else {}
    rows = []
    for budget in budgets:
        window = windows.get(budget.budget_id)
        spent, held = (window.spent, window.held) if window else (0, 0)
        counted = budget.window != "request"
        policy = budget.subject == POLICY
        rows.append(
            BudgetRow(
                budget_id=budget.budget_id,
                level=budget.level,
                subject=budget.org_id if policy else budget.subject,
                window=budget.window,
                limit=budget.limit / 1e9,
                action=budget.action,
                alert_at=budget.alert_at,
                source="policy" if policy else "budget",
                spent=spent / 1e9 if counted else None,
                held=held / 1e9 if counted else None,
                remaining=max(0, budget.limit - spent - held) / 1e9 if counted else None,
                resets_at=end_of(budget.window, now),
            )
        )
    return rows


def _limits(standing: Standing) -> dict[str, Any]:
    policy = standing.policy
    money = {name: dollars(getattr(policy, name)) for name in policy.__struct_fields__ if name.startswith("max_cost")}
    counts = {
        name: getattr(policy, name) for name in policy.__struct_fields__ if name.startswith(("max_req", "max_tok"))
    }
    return {**money, **counts}


def _remaining(standing: Standing, windows: Sequence[BudgetRow], today: int) -> dict[str, Any]:
    most = standing.policy.max_requests_per_day
    money = {f"cost_per_{row.window}": row.remaining for row in windows if row.remaining is not None}
    return {**money, "requests_per_day": None if most is None else max(0, most - today)}


def _budgets(gateway: Gateway) -> Budgets:
    if not isinstance(gateway.storage, Governing):
        raise NotFound("this storage keeps no budgets")
    return gateway.storage.budgets


def _forget(gateway: Gateway, org: str) -> None:
    policy = gateway.shared.get("limits.budget")
    if isinstance(policy, BudgetPolicy):
        policy.book.forget(org)
