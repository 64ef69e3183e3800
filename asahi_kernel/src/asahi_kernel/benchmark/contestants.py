"""The two contestants: Asahi as configured, and the same providers without anything that Asahi adds."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from asahi_kernel.benchmark.recording import decode
from asahi_kernel.errors import ConfigError
from asahi_kernel.factory import Secret
from asahi_kernel.settings import Cache, Governance, Journal, Routing, Settings
from asahi_kernel.wire.fields import NAMES
from asahi_kernel.wire.strict import scan

if TYPE_CHECKING:
    from asahi_kernel.benchmark.workload import Case
    from asahi_kernel.registry import Registry

#: Asahi's own fields that are part of the question; the others steer Asahi, and mean nothing without it.
_ASKED = frozenset({"document", "document_id", "examples"})


_NOTHING_STAYS: Mapping[str, Any] = {"storage": "memory", "counter": "memory", "journal": Journal(mode="memory")}


def is_mock(settings: Settings) -> bool:
    """Whether every answer will come from the mock provider, so that nothing is paid."""
    return all(table.get("type", name) == "mock" for name, table in settings.providers.items())


def refuse_paid(settings: Settings) -> None:
    """A run that is called a mock must not pay anybody: raises `ConfigError` for an embedder that may cost money."""
    for name, table in settings.embedders.items():
        if is_mock(settings) and table.get("type", name) != "local":
            raise ConfigError(
                f"embedders.{name}: a mock run would call this embedder and pay it. Have the semantic tier use "
                "`local`, or leave it out with --tier 1"
            )


def asahi_settings(settings: Settings) -> Settings:
    """As configured, but nobody from outside is let in and nothing is sent out. Invented answers leave no trace in a
    real storage; answers that cost money are recorded where the configuration says."""
    private = msgspec.structs.replace(
        settings,
        api=msgspec.structs.replace(settings.api, host="127.0.0.1"),
        auth="open",
        sinks={},
        services={},
    )
    if not is_mock(settings):
        return private
    passing = msgspec.structs.replace(settings.encryption, keys=None, key=Secret(secrets.token_hex(32)))
    return msgspec.structs.replace(private, **_NOTHING_STAYS, encryption=passing)


def baseline_settings(settings: Settings) -> Settings:
    """The same providers, models and prices, and no cache, policy, transform or choice of a model."""
    return msgspec.structs.replace(
        asahi_settings(settings),
        **_NOTHING_STAYS,
        embedders={},
        vector_stores={},
        cache=Cache(tiers=(), single_flight=False),
        governance=Governance(),
        routing=Routing(rules=("explicit",), max_fallbacks=0),
    )


def baseline_case(case: Case, registry: Registry) -> Case:
    """What the caller would have sent without Asahi: the named model, else the baseline model, and no cache."""
    named = decode(case).model
    model = baseline_model(registry) if named is None else registry.find(named).name
    tree = scan(case.body)
    assert isinstance(tree, dict)
    kept = {name: value for name, value in tree.items() if name in _ASKED or name not in NAMES}
    body = {**kept, "model": model, "routing_mode": "explicit", "cache": "off"}
    return msgspec.structs.replace(case, body=msgspec.json.encode(body))


def baseline_model(registry: Registry) -> str:
    """The name of the model to save against; raises `ConfigError` when there is none with a price."""
    if registry.baseline is None or registry.baseline.prices is None:
        raise ConfigError(
            "pricing.baseline_model: the benchmark needs a registered model whose prices are known, to save against"
        )
    return registry.baseline.name
