"""Every way to extend Asahi.

Hooks register. They run once, while the gateway starts, they do no I/O, and none runs on a request: what they return
is opened, frozen and then called directly. See docs/writing-a-plugin.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from click import Group
    from litestar.types import ControllerRouterHandler

    from asahi_kernel.detecting import Detector
    from asahi_kernel.factory import Factory, Report
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import (
        Authenticator,
        CacheTier,
        Counter,
        Embedder,
        Policy,
        Provider,
        Rule,
        Sink,
        Storage,
        Transform,
        VectorStore,
    )

hookspec = pluggy.HookspecMarker("asahi")
hookimpl = pluggy.HookimplMarker("asahi")


@hookspec
def register_storages() -> Iterable[Factory[Storage, Any]]:
    """Persistence, of which one is chosen: `storage: {type: memory}`."""
    return ()


@hookspec
def register_counters() -> Iterable[Factory[Counter, Any]]:
    """Shared counters for limits and budgets, of which one is chosen: `counter`."""
    return ()


@hookspec
def register_embedders() -> Iterable[Factory[Embedder, Any]]:
    """Text embeddings: `embedders.<name>`."""
    return ()


@hookspec
def register_vector_stores() -> Iterable[Factory[VectorStore, Any]]:
    """Nearest-neighbour search: `vector_stores.<name>`."""
    return ()


@hookspec
def register_authenticators() -> Iterable[Factory[Authenticator, Any]]:
    """How callers prove who they are, of which one is chosen: `auth`."""
    return ()


@hookspec
def register_cache_tiers() -> Iterable[Factory[CacheTier, Any]]:
    """Caches, asked in the order of `cache.tiers`: `cache_tiers.<name>`."""
    return ()


@hookspec
def register_detectors() -> Iterable[Factory[Detector, Any]]:
    """Finders of personal data, for the policy that looks for it: `detectors.<name>`."""
    return ()


@hookspec
def register_policies() -> Iterable[Factory[Policy, Any]]:
    """Checks on what comes in and goes out, in the order of `governance.policies`: `policies.<name>`."""
    return ()


@hookspec
def register_transforms() -> Iterable[Factory[Transform, Any]]:
    """Reshapers of requests about to be paid for, in the order of `routing.transforms`: `transforms.<name>`."""
    return ()


@hookspec
def register_rules() -> Iterable[Factory[Rule, Any]]:
    """Routing rules, in the order of `routing.rules`: `rules.<name>`."""
    return ()


@hookspec
def register_providers() -> Iterable[Factory[Provider, Any]]:
    """Model vendors: `providers.<name>`."""
    return ()


@hookspec
def register_sinks() -> Iterable[Factory[Sink, Any]]:
    """Consumers of events: `sinks.<name>`."""
    return ()


@hookspec
def register_services() -> Iterable[Factory[None, Any]]:
    """Work that lives as long as the gateway, such as an exporter or a sweeper: `services.<name>`."""
    return ()


@hookspec
def register_reports() -> Iterable[Report]:
    """Questions about past events. Each becomes `GET /analytics/<name>` and `asahi report <name>`."""
    return ()


@hookspec
def register_routes(gateway: Gateway) -> Iterable[ControllerRouterHandler]:
    """Litestar handlers, each with `opt={"permission": …}`. The gateway is not open yet: keep it for later."""
    return ()


@hookspec
def register_commands(cli: Group) -> None:
    """Subcommands of `asahi`, added to a Click group."""
