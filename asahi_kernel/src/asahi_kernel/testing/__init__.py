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
    "AuthenticatorContract",
    "BatchProviderContract",
    "CacheTierContract",
    "CounterContract",
    "EmbedderContract",
    "EmbeddingProviderContract",
    "PolicyContract",
    "ProviderContract",
    "RuleContract",
    "ServiceContract",
    "SinkContract",
    "StorageContract",
    "TransformContract",
    "VectorStoreContract",
)
_PROVIDING = frozenset({"BatchProviderContract", "ProviderContract"})
__all__ = ("ABILITIES", "ASK", "EMBEDDING_MODEL", "HERE", "MODEL", "PARIS", "THERE", *CONTRACTS)


def __getattr__(name: str) -> Any:
    """The contracts need pytest, which the scripted upstream beside them must not."""
    if name in CONTRACTS:
        module = "storage_contract" if name == "StorageContract" else "contracts"
        module = "providing" if name in _PROVIDING else module
        return getattr(import_module(f"asahi_kernel.testing.{module}"), name)
    raise AttributeError(name)
