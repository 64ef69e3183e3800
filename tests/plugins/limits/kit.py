"""What the tests of limits share: an org with a policy, and budgets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from tests.kernel.kit import gateway_of

from asahi_kernel.gateway import Gateway
from asahi_kernel.identity import new_id
from asahi_kernel.repositories.budgets import Budget
from asahi_kernel.repositories.rules import OrgPolicy

DOLLAR = 1_000_000_000


@asynccontextmanager
async def limited(*policies: str, policy: dict[str, Any] | None = None, **tree: Any) -> AsyncIterator[Gateway]:
    """A gateway with these policies, whose org `here` has a policy of its own if one is given."""
    tree.setdefault("governance", {})["policies"] = list(policies)
    kinds = tree.pop("kinds", {})
    async with gateway_of(tree, **kinds) as gateway:
        if policy is not None:
            await rule(gateway, **policy)
        yield gateway


async def rule(gateway: Gateway, org: str = "here", **fields: Any) -> None:
    """Give an org another policy."""
    policies = gateway.storage.repositories.policies
    await policies.save_policy(OrgPolicy(org_id=org, updated_at=datetime.now(UTC), **fields))
    gateway.standings.forget(org)


async def allot(gateway: Gateway, limit: int, level: str = "org", subject: str = "here", **fields: Any) -> Budget:
    """Give an org a budget."""
    budget = Budget(
        budget_id=new_id(), org_id="here", level=level, subject=subject, limit=limit, **{"window": "day", **fields}
    )
    kept = await gateway.storage.budgets.save(budget)
    gateway.policies["budget"].book.forget("here")
    return kept
