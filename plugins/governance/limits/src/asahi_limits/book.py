"""The book: which budgets bind whom, as they are now."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asahi_kernel.believing import Believed
from asahi_kernel.repositories.budgets import Budget
from asahi_limits.seeding import POLICY, REQUESTS

if TYPE_CHECKING:
    from asahi_kernel.repositories.budgets import Budgets
    from asahi_kernel.repositories.rules import OrgPolicy
    from asahi_kernel.types import Principal


def book_of(budgets: Budgets, faults: Counter[str]) -> Believed[Sequence[Budget]]:
    """The budgets of each org. While storage is away nobody is let through whose budgets are not known."""

    async def look(org: str) -> Sequence[Budget]:
        return [each for each in await budgets.of_org(org) if each.subject not in {POLICY, REQUESTS}]

    return Believed(look, "the budgets of this organisation", faults, "limits.book")


def of_policy(policy: OrgPolicy) -> list[Budget]:
    """The money limits of a policy are budgets of the org under another name."""
    limits = (
        ("request", policy.max_cost_per_request),
        ("day", policy.max_cost_per_day),
        ("month", policy.max_cost_per_month),
    )
    return [
        Budget(
            budget_id=f"p{window[0]}{hashlib.sha256(policy.org_id.encode()).hexdigest()[:24]}",
            org_id=policy.org_id,
            level="org",
            subject=POLICY,
            window=window,  # type: ignore[arg-type]
            limit=limit,
        )
        for window, limit in limits
        if limit is not None
    ]


def concerning(budgets: Sequence[Budget], principal: Principal) -> list[Budget]:
    """Those that a request of this caller must fit into."""
    subjects = {"user": principal.user, "key": principal.key_id}
    return [each for each in budgets if each.level == "org" or subjects[each.level] == each.subject]
