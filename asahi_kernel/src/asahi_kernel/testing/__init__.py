"""For plugin authors: one contract class per protocol, sample values, and a scripted upstream.

Subclass a contract, say how to open your backend, run pytest:

    class TestMine(CacheTierContract):
        factory = MY_FACTORY
        config = {"path": "/tmp/mine"}
"""

from importlib import import_module
from typing import Any

from asahi_kernel.testing.abilities import ABILITIES
from asahi_kernel.testing.samples import ASK, EMBEDDING_MODEL, HERE, MODEL, PARIS, THERE

CONTRACTS = (
    "AgentsContract",
    "AuditContract",
    "AuthenticatorContract",
    "BatchProviderContract",
    "BudgetsContract",
    "CacheTierContract",
    "CounterContract",
    "DetectorContract",
    "EmbedderContract",
    "EmbeddingProviderContract",
    "JudgementsContract",
    "KeysContract",
    "LeaseCounterContract",
    "ListingTierContract",
    "LoginsContract",
    "PolicyContract",
    "ProviderContract",
    "RuleContract",
    "RulesContract",
    "ServiceContract",
    "SinkContract",
    "StepwiseTierContract",
    "StorageContract",
    "TenantsContract",
    "TransformContract",
    "VectorStoreContract",
    "WorkContract",
)
#: Where those are that are not in `contracts`.
_HOMES = {
    "StorageContract": "storage_contract",
    "LeaseCounterContract": "leasing_contract",
    "ListingTierContract": "listing_contract",
    "StepwiseTierContract": "stepwise_contract",
    **dict.fromkeys(("EmbedderContract", "VectorStoreContract"), "vector_contracts"),
    **dict.fromkeys(("BatchProviderContract", "ProviderContract"), "providing"),
    **dict.fromkeys(("AgentsContract", "JudgementsContract", "WorkContract"), "keeping_contract"),
    **dict.fromkeys(
        ("AuditContract", "BudgetsContract", "KeysContract", "LoginsContract", "RulesContract", "TenantsContract"),
        "repositories_contract",
    ),
}
__all__ = ("ABILITIES", "ASK", "EMBEDDING_MODEL", "HERE", "MODEL", "PARIS", "THERE", *CONTRACTS)


def __getattr__(name: str) -> Any:
    """The contracts need pytest, which the scripted upstream beside them must not."""
    if name in CONTRACTS:
        return getattr(import_module(f"asahi_kernel.testing.{_HOMES.get(name, 'contracts')}"), name)
    raise AttributeError(name)
