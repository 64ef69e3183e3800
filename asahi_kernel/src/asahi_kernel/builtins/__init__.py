"""What works with nothing else installed, registered through the public door."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asahi_kernel.builtins import local_auth, memory, mock, prompts, retention, rules
from asahi_kernel.factory import Factory
from asahi_kernel.hookspecs import hookimpl
from asahi_kernel.protocols import Authenticator, CacheTier, Counter, Provider, Rule, Storage


@hookimpl
def register_storages() -> Iterable[Factory[Storage, Any]]:
    return [memory.STORAGE]


@hookimpl
def register_counters() -> Iterable[Factory[Counter, Any]]:
    return [memory.COUNTER]


@hookimpl
def register_cache_tiers() -> Iterable[Factory[CacheTier, Any]]:
    return [memory.EXACT]


@hookimpl
def register_authenticators() -> Iterable[Factory[Authenticator, Any]]:
    return [local_auth.OPEN, local_auth.STATIC]


@hookimpl
def register_rules() -> Iterable[Factory[Rule, Any]]:
    return rules.ALL


@hookimpl
def register_services() -> Iterable[Factory[None, Any]]:
    return [retention.RETENTION, prompts.PROMPTS]


@hookimpl
def register_providers() -> Iterable[Factory[Provider, Any]]:
    return [mock.MOCK]
