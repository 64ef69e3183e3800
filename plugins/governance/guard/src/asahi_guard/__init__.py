"""What an org may ask and be answered: models, personal data, prompt hygiene, compliance profiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from asahi_kernel import Factory, hookimpl

if TYPE_CHECKING:
    from asahi_kernel.protocols import Policy, Rule


@hookimpl
def register_policies() -> Iterable[Factory[Policy, Any]]:
    """`models`, `compliance`, `pii`, `injection`."""
    from asahi_guard.opening import POLICIES

    return POLICIES


@hookimpl
def register_rules() -> Iterable[Factory[Rule, Any]]:
    """`policy` and `region`."""
    from asahi_guard.opening import RULES

    return RULES
