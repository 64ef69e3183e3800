"""Embeddings, start to finish: a text that the exact cache knows is never paid for again. Read `embed` first."""

from __future__ import annotations

import asyncio
import base64
import math
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from asahi_kernel.answer import Answer
from asahi_kernel.asking import clocked, note_fault
from asahi_kernel.calling import call
from asahi_kernel.errors import NoRoute, PluginError, ProviderError, ProviderFailed
from asahi_kernel.fingerprint import fingerprint_text
from asahi_kernel.holding import close, reserve
from asahi_kernel.money import count_tokens
from asahi_kernel.pipeline import admit, release
from asahi_kernel.protocols import EmbeddingProvider
from asahi_kernel.records import Lookup
from asahi_kernel.routing import judge
from asahi_kernel.settlement import settle_embeddings, settle_failure
from asahi_kernel.types import Candidate, Completion, Embedded, Hit, Message, Request, Usage
from asahi_kernel.wanting import keeps_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import CacheTier, Provider
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Model, Principal

    _PerText: TypeAlias = Callable[[str], Coroutine[None, None, "T"]]

T = TypeVar("T")


class Vectors(Struct, frozen=True):
    """What was asked for: a vector for each text in their order, as little-endian floats of 32 bits. `cached` of the
    texts came from the cache, or stood in the request more than once."""

    answer: Answer
    vectors: tuple[bytes, ...]
    cached: int


class _Entry(Struct, frozen=True):
    """What the cache holds of a text, in a completion's `message`."""

    embedding: str


class _Known(Struct, frozen=True):
    """A text's vector and the tokens it was counted for."""

    vector: bytes
    tokens: int


_PAID = Completion(model="")
_encode = msgspec.json.Encoder().encode
_entry = msgspec.json.Decoder(_Entry).decode


async def embed(
    gateway: Gateway, request: Request, principal: Principal, trace: Trace, dimensions: int | None
) -> Vectors:
    """A vector for each message of a request that names its model. Settled exactly once, whatever happens."""
    try:
        request = await _admitted(gateway, request, principal, trace)
        work = _Work(gateway, request, principal, trace, dimensions)
        await work.recall()
        if work.missing:
            await work.join()
        hit = work.hit()
        if work.missing:
            with gateway.flights.lead(work.flight) as flight:
                await work.pay()
                flight.land(_PAID)
        vectors, usage = work.result()
        told = Completion(model=work.model.name, provider=work.model.provider, usage=usage)
        await release(gateway, request, told, principal)
        cached = len(vectors) - work.sent
    except BaseException as error:
        settle_failure(gateway, request, principal, trace, error)
        raise
    else:
        answer = settle_embeddings(gateway, request, principal, trace, told, hit)
        if trace.dispatched:
            await gateway.journal.kept(trace.receipt)
        return Vectors(answer, vectors, cached)
    finally:
        await close(gateway, principal, trace)


async def _admitted(gateway: Gateway, request: Request, principal: Principal, trace: Trace) -> Request:
    """Policies see each text as a message and may amend it, but a text cannot come or go."""
    admitted = await admit(gateway, request, principal, trace)
    if len(admitted.messages) != len(request.messages) or not all(each.text for each in admitted.messages):
        raise PluginError("a policy changed the number of texts to embed")
    return admitted


class _Work:
    """The texts of one request, each known or still missing. Equal texts are one."""

    def __init__(
        self, gateway: Gateway, request: Request, principal: Principal, trace: Trace, dimensions: int | None
    ) -> None:
        self._gateway = gateway
        self._request = request
        self._principal = principal
        self._trace = trace
        self._dimensions = dimensions
        self.model = gateway.registry.find(request.model or "")
        self._texts = [message.text for message in request.messages]
        self._keys: dict[str, bytes] = {}
        self._known: dict[str, _Known] = {}
        self._first: Hit | None = None
        self.missing = list(dict.fromkeys(self._texts))
        self.sent = 0
        self.flight = b""
        trace.model = self.model.name

    async def recall(self) -> None:
        """The exact cache fails open. A cached vector of another length than the others is none."""
        if self._request.terms.cache == "off" or not keeps_exact(self._gateway, self._principal.org):
            self._trace.cache_status = "bypass"
            return
        salt = self._gateway.salts.of(self._principal.org)
        self._keys = {text: fingerprint_text(self.model, self._dimensions, text, salt) for text in self.missing}
        if self._request.terms.cache == "refresh":
            self._trace.cache_status = "bypass"
            return
        for position, (name, tier) in enumerate(self._gateway.exact_tiers.items(), 1):
            if not self.missing:
                break
            await self._ask(position, name, tier)
        self._trace.mark("cache_lookup")

    async def join(self) -> None:
        """The same texts under way for the same tenant are waited for, and then looked up."""
        if self._trace.cache_status == "bypass" or not self._gateway.settings.cache.single_flight:
            return
        self.flight = b"".join(sorted(self._keys[text] for text in self.missing))
        if await self._gateway.flights.follow(self.flight, self._gateway.patience_s) is not None:
            await self.recall()

    def hit(self) -> Hit | None:
        """The entry that stands for all, when the cache knew every text."""
        return None if self.missing else self._first

    async def pay(self) -> None:
        """Route, reserve, call once for every so many texts, remember each."""
        gateway, trace = self._gateway, self._trace
        candidate = self._candidate()
        ranked = await judge(gateway, self._explicit(), self._principal, trace, (candidate,))
        upstream = gateway.upstreams[self.model.provider]
        if not upstream.embeds:
            raise NoRoute(f"the provider of {self.model.name!r} cannot embed")
        await reserve(gateway, self._principal, ranked, trace, self._worst())
        trace.mark("routing")
        deadline = time.monotonic() + upstream.resilience.timeout_s
        for texts in _split(self.missing, upstream.most_texts):
            await self._call(texts, ranked, deadline)
            self.sent += len(texts)
        self.missing = []
        trace.mark("inference")

    def result(self) -> tuple[tuple[bytes, ...], Usage]:
        """All vectors in order, and the tokens of all texts, whoever counted them."""
        known = [self._known[text] for text in self._texts]
        if len({len(each.vector) for each in known}) != 1:
            raise ProviderFailed("the model's vectors are not of one length")
        source = "provider" if self.sent else "stored"
        if "usage_estimated" in self._trace.warnings:
            source = "estimated"
        usage = msgspec.convert({"input_tokens": sum(each.tokens for each in known), "source": source}, Usage)
        return tuple(each.vector for each in known), usage

    async def _call(self, texts: Sequence[str], ranked: Sequence[Candidate], deadline: float) -> None:
        """One call, with its retries; what it gives is kept at once, so that a later failure loses none of it."""
        got: list[bytes] = []

        async def ask(provider: Provider, model: Model, request: Request) -> Completion:
            if not isinstance(provider, EmbeddingProvider):
                raise ProviderError("the provider cannot embed", retryable=False)
            embedded = await provider.embed(model, texts, self._dimensions)
            got[:] = _packed(embedded, len(texts), self._dimensions)
            told = embedded.input_tokens
            usage = None if told is None else Usage(told)
            return Completion(model=model.name, usage=usage, provider_request_id=embedded.provider_request_id)

        request, tokens = _request_of(self._request, texts), sum(map(count_tokens, texts))
        whole = [
            msgspec.structs.replace(each, input_tokens=tokens) for each in ranked
        ]  # the worst case is of all texts
        completion = await call(self._gateway, request, self._principal, whole, self._trace, None, ask, deadline)
        tokens = completion.usage.input_tokens if completion.usage else 0
        found = [_Known(*pair) for pair in zip(got, _shares(tokens, texts), strict=True)]
        fresh = dict(zip(texts, found, strict=True))
        self._known |= fresh
        if self._keys:
            await self._remember(fresh)

    async def _ask(self, position: int, name: str, tier: CacheTier) -> None:
        found = await self._guarded(name, lambda text: tier.get(self._keys[text], self._single(text), self._principal))
        asked = found is not None
        for text, hit in (found or {}).items():
            if hit is not None and (known := self._read(hit)) is not None:
                self._known[text] = known
                self._first = self._first or hit
        before = len(self.missing)
        self.missing = [text for text in self.missing if text not in self._known]
        knew = before - len(self.missing)
        reason = f"knew {knew} of {before} texts" if asked else "tier failed, or is resting after failures"
        self._trace.lookups.append(Lookup(tier=position, asked=asked, hit=not self.missing, reason=reason))

    def _read(self, hit: Hit) -> _Known | None:
        """The vector in an entry, if it is one of this model and of the length that is asked for."""
        completion = hit.completion
        if completion.model != self.model.name or completion.usage is None:
            return None
        try:
            vector = base64.b64decode(_entry(completion.message).embedding, validate=True)
        except (msgspec.DecodeError, ValueError):
            return None
        if not vector or len(vector) % 4 or (self._dimensions and len(vector) != 4 * self._dimensions):
            return None
        return _Known(vector, completion.usage.input_tokens)

    async def _remember(self, fresh: Mapping[str, _Known]) -> None:
        if self._gateway.cleared.get(self._principal.org, 0.0) > self._trace.started:
            return
        for name, tier in self._gateway.exact_tiers.items():

            async def put(text: str, tier: CacheTier = tier) -> None:
                await tier.put(self._keys[text], self._single(text), self._principal, self._kept(fresh[text]))

            await self._guarded(name, put, fresh)

    async def _guarded(
        self,
        name: str,
        work: Callable[[str], Coroutine[None, None, T]],
        texts: Sequence[str] | Mapping[str, object] | None = None,
    ) -> dict[str, T] | None:
        """What a tier does for each text, within its time and under its breaker; None when it failed or rests."""
        gateway = self._gateway
        asked = list(self.missing if texts is None else texts)
        breaker = gateway.tier_breakers[name]
        if not breaker.enter():
            return None
        try:
            async with clocked(gateway, name):
                if name in gateway.waiting_tiers:
                    done = await _together(work, asked)
                else:
                    done = [await work(text) for text in asked]
            breaker.succeed()
            return dict(zip(asked, done, strict=True))
        except Exception:  # noqa: BLE001 - fails open
            breaker.fail()
            note_fault(gateway, "cache", name)
            return None
        finally:
            breaker.leave()

    def _kept(self, known: _Known) -> Completion:
        entry = _Entry(base64.b64encode(known.vector).decode("ascii"))
        return Completion(
            model=self.model.name, provider=self.model.provider, usage=Usage(known.tokens), message=_encode(entry)
        )

    def _single(self, text: str) -> Request:
        return Request(messages=(Message("user", text),), model=self.model.name)

    def _explicit(self) -> Request:
        """For the rules: another model's vectors would be of no use."""
        terms = msgspec.structs.replace(self._request.terms, mode="explicit")
        return msgspec.structs.replace(_request_of(self._request, self.missing), terms=terms)

    def _candidate(self) -> Candidate:
        """The model with the cost of all missing texts; its context bounds each text alone."""
        model, counts = self.model, [count_tokens(text) for text in self.missing]
        return Candidate(
            name=model.name,
            model=model,
            input_tokens=max(counts),
            cost=None if model.prices is None else model.prices.plain(sum(counts), 0),
            quality=model.quality_score,
            latency_ms=model.avg_latency_ms,
        )

    def _worst(self) -> Callable[[Candidate], int]:
        """A tenth more than estimated."""
        tokens = -(-sum(map(count_tokens, self.missing)) * 11 // 10)
        return lambda candidate: 0 if candidate.model.prices is None else candidate.model.prices.plain(tokens, 0)


async def _together(work: _PerText[T], texts: Sequence[str]) -> list[T]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(text)) for text in texts]
    return [task.result() for task in tasks]


def _packed(embedded: object, count: int, dimensions: int | None) -> list[bytes]:
    """The vectors as bytes. Raises `ProviderError` for too few of them, a wrong length, or what is no number."""
    if not isinstance(embedded, Embedded) or len(embedded.vectors) != count:
        raise ProviderError("the provider gave something else than a vector for each text", retryable=False)
    lengths = {len(vector) for vector in embedded.vectors}
    if len(lengths) != 1 or 0 in lengths or (dimensions is not None and lengths != {dimensions}):
        raise ProviderError("the provider's vectors are not of the length that was asked for", retryable=False)
    form = struct.Struct(f"<{lengths.pop()}f")
    try:
        packed = [form.pack(*vector) for vector in embedded.vectors]
    except (struct.error, OverflowError, TypeError):
        raise ProviderError("the provider's vectors hold something else than numbers", retryable=False) from None
    if not all(math.isfinite(math.fsum(vector)) for vector in embedded.vectors):
        raise ProviderError("the provider's vectors hold something else than numbers", retryable=False)
    return packed


def _shares(tokens: int, texts: Sequence[str]) -> Iterator[int]:
    """The vendor counts all texts together: each gets its share by our estimate, and the shares sum to the whole."""
    weights = [count_tokens(text) or 1 for text in texts]
    left, weight = tokens, sum(weights)
    for each in weights:
        share = left * each // weight
        left, weight = left - share, weight - each
        yield share


def _request_of(request: Request, texts: Sequence[str]) -> Request:
    return msgspec.structs.replace(request, messages=tuple(Message("user", text) for text in texts))


def _split(texts: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), most):
        yield texts[start : start + most]
