"""What an org may ask and be answered: models, personal data, prompt hygiene, compliance profiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from asahi_kernel import Factory, hookimpl

if TYPE_CHECKING:
    from click import Group
    from litestar.types import ControllerRouterHandler

    from asahi_kernel.detecting import Detector
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Policy, Rule


@hookimpl
def register_detectors() -> Iterable[Factory[Detector, Any]]:
    """`builtin`, and `presidio` for whoever installs `asahi-guard[presidio]`."""
    from asahi_guard.opening import DETECTORS

    return DETECTORS


@hookimpl
def register_policies() -> Iterable[Factory[Policy, Any]]:
    """`models`, `compliance`, `pii`, `injection`."""
    from asahi_guard.opening import POLICIES

    return POLICIES


@hookimpl
def register_rules() -> Iterable[Factory[Rule, Any]]:
    """`policy`, `region` and `plan`."""
    from asahi_guard.opening import RULES

    return RULES


@hookimpl
def register_routes(gateway: Gateway) -> Iterable[ControllerRouterHandler]:
    """`/governance/policies`, `/governance/compliance`, `/governance/erasure` and `/settings`."""
    from asahi_guard.erasure_routes import erasure_routes
    from asahi_guard.exporting import export_routes
    from asahi_guard.policies import policy_routes
    from asahi_guard.preferring import settings_routes
    from asahi_guard.profiles import profile_routes

    made = (policy_routes, profile_routes, settings_routes, erasure_routes, export_routes)
    return [handler for routes in made for handler in routes(gateway)]


@hookimpl
def register_services() -> Iterable[Factory[None, Any]]:
    """`erasing`, which runs wherever this is installed."""
    from asahi_guard.opening import SERVICES

    return SERVICES


@hookimpl(trylast=True)
def register_commands(cli: Group) -> None:
    """`asahi erase`, `asahi retention` and, where `asahi keys` is, `asahi keys rotate-encryption`."""
    from click import Group

    from asahi_guard.commands import erase, retention, rotate_encryption

    cli.add_command(erase)
    cli.add_command(retention)
    keys = cli.commands.get("keys")
    if isinstance(keys, Group):
        keys.add_command(rotate_encryption)
