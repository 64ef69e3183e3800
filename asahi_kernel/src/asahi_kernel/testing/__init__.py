"""For plugin authors: one contract class per protocol, fakes, and a scripted upstream.

Subclass a contract, say how to open your backend, run pytest:

    class TestMine(CacheTierContract):
        factory = MY_FACTORY
        config = {"path": "/tmp/mine"}
"""

from asahi_kernel.testing.contracts import (
    AuthenticatorContract,
    CacheTierContract,
    CounterContract,
    EmbedderContract,
    PolicyContract,
    ProviderContract,
    RuleContract,
    SinkContract,
    StorageContract,
    TransformContract,
    VectorStoreContract,
)
from asahi_kernel.testing.samples import ASK, HERE, MODEL, PARIS, THERE

__all__ = (
    "ASK",
    "HERE",
    "MODEL",
    "PARIS",
    "THERE",
    "AuthenticatorContract",
    "CacheTierContract",
    "CounterContract",
    "EmbedderContract",
    "PolicyContract",
    "ProviderContract",
    "RuleContract",
    "SinkContract",
    "StorageContract",
    "TransformContract",
    "VectorStoreContract",
)
