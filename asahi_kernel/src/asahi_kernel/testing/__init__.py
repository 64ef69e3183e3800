"""For plugin authors: one contract class per protocol, sample values, and a scripted upstream.

Subclass a contract, say how to open your backend, run pytest:

    class TestMine(CacheTierContract):
        factory = MY_FACTORY
        config = {"path": "/tmp/mine"}
"""

from importlib import import_module
from typing import Any

from asahi_kernel.testing.samples import ASK, EMBEDDING_MODEL, HERE, MODEL, PARIS, THERE

CONTRACTS = (
    "AuthenticatorContract",
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
_HOMES = {
    "EmbedderContract": "vector_contracts",
    "StorageContract": "storage_contract",
    "VectorStoreContract": "vector_contracts",
}
__all__ = ("ASK", "EMBEDDING_MODEL", "HERE", "MODEL", "PARIS", "THERE", *CONTRACTS)


def __getattr__(name: str) -> Any:
    """The contracts need pytest, which the scripted upstream beside them must not."""
    if name in CONTRACTS:
        home = _HOMES.get(name, "contracts")
        return getattr(import_module(f"asahi_kernel.testing.{home}"), name)
    raise AttributeError(name)
