"""Grants: what a key may do. Its role says what at most, its scopes narrow that; no scope grants nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, get_args

from asahi_kernel.builtins.local_auth import ROLES
from asahi_kernel.errors import Denied, Invalid
from asahi_kernel.types import Permission, Principal

Role: TypeAlias = Literal["admin", "developer", "viewer", "billing"]
Scope: TypeAlias = Literal["infer", "analytics", "admin", "all"]

SCOPES: Mapping[str, frozenset[Permission]] = {
    "infer": frozenset({"infer"}),
    "analytics": frozenset({"view_metrics", "view_cost"}),
    "admin": frozenset(get_args(Permission)),
    "all": frozenset(get_args(Permission)),
}


def permissions(role: str, scopes: Iterable[str]) -> frozenset[Permission]:
    """Role and scopes together. An unknown one grants nothing."""
    opened: frozenset[Permission] = frozenset()
    for scope in scopes:
        opened |= SCOPES.get(scope, frozenset())
    return ROLES.get(role, frozenset()) & opened


def check_grant(by: Principal, role: str, scopes: Iterable[str], *, may_act_for_users: bool) -> None:
    """Raises `Invalid` for unknown words, and `Denied` where a key would have more than who makes it."""
    if role not in ROLES:
        raise Invalid(f"role must be one of: {', '.join(ROLES)}", param="role")
    for scope in scopes:
        if scope not in SCOPES:
            raise Invalid(f"a scope must be one of: {', '.join(SCOPES)}", param="scopes")
    if more := permissions(role, scopes) - by.permissions:
        raise Denied(f"a key cannot grant more than its maker has: {', '.join(sorted(more))}")
    if may_act_for_users and not (by.may_act_for_users or by.role == "admin"):
        raise Denied("a key that may act for users is made by an admin, or by one that may itself")
