"""Opening the tier: which embedder, which store, what is kept where."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel import Completion, ConfigError, Principal, Request
from asahi_kernel.background import repeated, running
from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.clock import timestamp
from asahi_kernel.money import per_million
from asahi_kernel.protocols import LocalPart
from asahi_kernel.recheck import recheck
from asahi_kernel.room import bound_of
from asahi_kernel.wanting import grace_of, step_life
from asahi_semantic import store as numpy_store
from asahi_semantic.config import IntermediateConfig, NumpyConfig, SemanticConfig
from asahi_semantic.context import Contexts
from asahi_semantic.embedder import LocalEmbedder, load
from asahi_semantic.entries import Entries
from asahi_semantic.framing import claim
from asahi_semantic.intermediate import IntermediateTier
from asahi_semantic.keeping import Keeper, Notices
from asahi_semantic.parts import Parts
from asahi_semantic.shared import SharedStock
from asahi_semantic.stock import OwnStock
from asahi_semantic.thresholds import IDENTITY, Scale
from asahi_semantic.tier import SemanticTier
from asahi_semantic.verifier import prior
from asahi_semantic.watching import Watch
from asahi_semantic.wishes import of_org

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import CacheTier

log = logging.getLogger(__name__)
FOLDER = "data/vectors"
_WHY = "asked what kind of request another one is"
#: How long the start waits for what a former process left.
_PATIENCE_S = 1.0


def folder(path: str | None, gateway: Gateway) -> Path | None:
    """Where to keep things: nowhere with the memory storage, unless a path is given."""
    if path is not None:
        return Path(path)
    storage = getattr(gateway, "storage", None)
    return None if storage is None or storage.name == "memory" else Path(FOLDER)


def local_scale() -> Scale:
    """From the local embedder's cosine to the scale of the thresholds, see `training/prior.py`."""
    read = json.loads((files(__package__) / "prior.json").read_text("utf-8"))
    return Scale([(cosine, likeness) for cosine, likeness in read["scale"]])


@asynccontextmanager
async def opened(config: SemanticConfig, gateway: Gateway) -> AsyncIterator[SemanticTier]:
    """The tier, with what a former process left; it removes what has expired every so often."""
    cache = gateway.settings.cache
    where = folder(config.path, gateway)
    async with AsyncExitStack() as stack:
        keeper = _keeper(where, gateway)
        stack.callback(keeper.close)
        parts = await _parts(config, gateway, where, stack)
        stock = _stock(config, gateway, parts, keeper, stack)
        tier = SemanticTier(
            config,
            parts,
            prior(),
            local_scale() if config.embedder == "local" else IDENTITY,
            keeper=keeper,
            stock=stock,
            contexts=_contexts(config, gateway),
            classify=lambda request: _task(gateway, request),
            recheck=lambda request, principal, model: recheck(gateway, request, principal, model, "semantic_cache"),
            detach=gateway.detach,
            wanted=lambda org: of_org(config, gateway.standings.known(org)),
            found_out=Watch(gateway, lambda org: tier.precision(org)),
            ttl_s=cache.ttl_seconds,
            ttl_jitter=cache.ttl_jitter,
        )
        await _load(tier, gateway, stack)
        sweep = repeated("cache.semantic.sweep", tier.expire, cache.cleanup_interval_seconds, gateway.faults)
        await stack.enter_async_context(sweep)
        yield tier


@asynccontextmanager
async def stepwise(config: IntermediateConfig, gateway: Gateway) -> AsyncIterator[IntermediateTier]:
    """The tier of steps: in this process, and in the exact tier where other workers share that."""
    cache = msgspec.structs.replace(gateway.settings.cache, ttl_seconds=config.ttl_seconds)

    def shared() -> CacheTier | None:
        return next((tier for tier in gateway.exact_tiers.values() if not isinstance(tier, LocalPart)), None)

    def wanted(org: str) -> bool:
        return gateway.standings.known(org).preferences.cache.t3_enabled

    life = step_life(gateway, config.ttl_seconds)
    shelf = MemoryTier(cache, tier=3, life=life, room=gateway.room, grace=grace_of(gateway))
    gateway.room.join(shelf)
    tier = IntermediateTier(config, shelf, gateway.salts.of, shared=shared, wanted=wanted, life=life)
    seconds = gateway.settings.cache.cleanup_interval_seconds
    async with repeated("cache.intermediate.sweep", tier.expire, seconds, gateway.faults):
        yield tier


def _contexts(config: SemanticConfig, gateway: Gateway) -> Contexts:
    """A model is paid as rechecks are: an event of its own, overhead of the semantic cache. A call that takes too long
    is not waited for, but ends and is settled: what it used is owed."""
    model = config.context_model
    if config.context != "model":
        return Contexts(config.context)
    if model is None:
        raise ConfigError("cache_tiers.semantic: context 'model' needs context_model, the name of a small model")

    async def ask(request: Request, principal: Principal) -> Completion | None:
        written = None
        work = gateway.detach(recheck(gateway, request, principal, model, "semantic_cache", why=_WHY))
        with suppress(TimeoutError):
            async with asyncio.timeout(config.context_timeout_ms / 1e3):
                written = await asyncio.shield(work)
        if written is None:
            gateway.faults["cache.semantic.context"] += 1
            log.warning("the model %r wrote no context line%s", model, _unknown(gateway, model))
        return written

    return Contexts("model", ask)


def _unknown(gateway: Gateway, model: str) -> str:
    return "" if model in gateway.registry.by_name else ": there is no model of that name"


def _stock(
    config: SemanticConfig, gateway: Gateway, parts: Parts, keeper: Keeper, stack: AsyncExitStack
) -> OwnStock | SharedStock:
    """In a store that other workers use, entries are shared; else each worker has its own."""
    if parts.shared is None:
        entries = Entries(config.max_entries)
        own = OwnStock(entries, parts, keeper, timestamp, detach=gateway.detach, room=gateway.room)
        gateway.room.join(own)
        stack.callback(gateway.room.leave, own)
        return own
    cache = gateway.settings.cache
    return SharedStock(
        parts.shared,
        parts,
        keeper,
        gateway.keyring,
        timestamp,
        life_s=cache.ttl_seconds * (1 + cache.ttl_jitter),
        most=config.max_entries,
        bound=bound_of(gateway),
        detach=gateway.detach,
    )


async def _load(tier: SemanticTier, gateway: Gateway, stack: AsyncExitStack) -> None:
    """The start waits for little of it; the rest is read beside the requests, which are misses until then."""
    loaded = asyncio.Event()

    async def load() -> None:
        try:
            await tier.load()
        except Exception as error:  # noqa: BLE001 - it is only a cache
            gateway.faults["cache.semantic.load"] += 1
            log.warning("the semantic cache could not read what was kept (%s)", type(error).__name__)
        finally:
            loaded.set()

    await stack.enter_async_context(running(load()))
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            await loaded.wait()


async def _parts(config: SemanticConfig, gateway: Gateway, where: Path | None, stack: AsyncExitStack) -> Parts:
    local = load()
    embedder = gateway.embedders.get(config.embedder)
    if embedder is None:
        if config.embedder != "local":
            raise ConfigError(f"cache_tiers.semantic: there is no embedder {config.embedder!r} in `embedders`")
        embedder = local
    price = config.embed_cost_per_1k_tokens
    if price is None and not isinstance(embedder, LocalPart):
        raise ConfigError(
            f"cache_tiers.semantic: the price of the embedder {config.embedder!r} is unknown, and never taken for "
            "zero; say what its vendor asks in embed_cost_per_1k_tokens, 0 for one of your own"
        )
    vectors = gateway.vector_stores.get(config.vector_store)
    if vectors is None:
        if config.vector_store != "numpy":
            raise ConfigError(f"cache_tiers.semantic: there is no store {config.vector_store!r} in `vector_stores`")
        vectors = await stack.enter_async_context(numpy_store.opened(NumpyConfig(), where))

    def fault(part: str) -> None:
        gateway.faults[f"cache.semantic.{part}"] += 1

    return Parts(
        embedder,
        vectors,
        embedder if isinstance(embedder, LocalEmbedder) else local,
        name=config.embedder,
        store_name=config.vector_store,
        context=config.context if config.context == "template" else config.context_model or "",
        price=per_million((price or 0.0) * 1_000),
        embed_ms=config.embed_timeout_ms,
        store_ms=config.store_timeout_ms,
        fault=fault,
    )


def _keeper(where: Path | None, gateway: Gateway) -> Keeper:
    if where is None:
        return Keeper(None, None)
    return Keeper(claim(where, "semantic"), gateway.keyring, Notices(where / "semantic.notices"))


def _task(gateway: Gateway, request: Request) -> str:
    """What the caller stated, else what a rule that knows tasks says."""
    if request.terms.task_type is not None:
        return request.terms.task_type
    return gateway.classifier.task(request) if gateway.classifier is not None else "general"
