"""A semantic cache that needs no key, keeps an error bound that the operator sets, and measures its own mistakes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_kernel import Factory, hookimpl
from asahi_semantic.config import IntermediateConfig, LocalConfig, NumpyConfig, SemanticConfig

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import CacheTier, Embedder, VectorStore


@hookimpl
def register_embedders() -> Iterable[Factory[Embedder, Any]]:
    return (Factory("local", LocalConfig, open_local),)


@hookimpl
def register_vector_stores() -> Iterable[Factory[VectorStore, Any]]:
    return (Factory("numpy", NumpyConfig, open_numpy),)


@hookimpl
def register_cache_tiers() -> Iterable[Factory[CacheTier, Any]]:
    return (
        Factory("semantic", SemanticConfig, open_semantic),
        Factory("intermediate", IntermediateConfig, open_intermediate),
    )


@asynccontextmanager
async def open_local(config: LocalConfig, gateway: Gateway) -> AsyncIterator[Embedder]:
    """The table is read here: numpy is not imported before."""
    from asahi_semantic.embedder import load

    yield load()


@asynccontextmanager
async def open_numpy(config: NumpyConfig, gateway: Gateway) -> AsyncIterator[VectorStore]:
    from asahi_semantic.opening import folder
    from asahi_semantic.store import opened

    async with opened(config, folder(config.path, gateway)) as store:
        yield store


@asynccontextmanager
async def open_semantic(config: SemanticConfig, gateway: Gateway) -> AsyncIterator[CacheTier]:
    from asahi_semantic.opening import opened

    async with opened(config, gateway) as tier:
        yield tier


@asynccontextmanager
async def open_intermediate(config: IntermediateConfig, gateway: Gateway) -> AsyncIterator[CacheTier]:
    from asahi_semantic.opening import stepwise

    async with stepwise(config, gateway) as tier:
        yield tier
