"""What a plugin must be able to do.

Small on purpose. A published protocol never grows: a new ability is a new protocol, which the gateway looks for once,
when it opens. Every method that touches data takes the principal or the org: leaving it out is a type error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime

    from asahi_kernel.ledger import Book, Entry, Head
    from asahi_kernel.records import (
        Claim,
        DeadLetter,
        Decision,
        Event,
        EventQuery,
        Kept,
        Observation,
        Settled,
        Totals,
    )
    from asahi_kernel.rollups import Dimension, Granularity, Rollup, Span
    from asahi_kernel.types import (
        Allowance,
        Batch,
        Candidate,
        Chunk,
        Completion,
        Embedded,
        Hit,
        Match,
        Model,
        Place,
        Principal,
        Request,
        Vector,
        Verdict,
    )

    Ranking: TypeAlias = Sequence[Candidate] | Verdict


class Provider(Protocol):
    """Runs inference. Turns every vendor failure into `ProviderError`, never retries, and takes no destination from a
    request. `model.api_model` is the vendor's name for the model."""

    async def complete(self, model: Model, request: Request) -> Completion: ...


@runtime_checkable
class StreamingProvider(Provider, Protocol):
    """A provider that can also stream; the others are streamed as a single chunk.

    A stream that ends without a `finish_reason` is a failure: raise `ProviderError`. Closing the iterator early must
    release the connection.
    """

    def stream(self, model: Model, request: Request) -> AsyncIterator[Chunk]: ...


@runtime_checkable
class WireProvider(Protocol):
    """A provider that names its wire (`openai`, `anthropic`). Requests with vendor fields of a wire go only to it."""

    wire: str


@runtime_checkable
class SelectiveProvider(Protocol):
    """A provider whose wire has no word for some requests. `refuses` says what would be lost, or nothing: a model of
    this provider is then no candidate. Asked while routing, so it must be quick, and never raise."""

    def refuses(self, request: Request) -> str: ...


@runtime_checkable
class CountingProvider(Protocol):
    """A provider whose vendor counts the input tokens of a request, free of charge. Raises `ProviderError`."""

    async def count_tokens(self, model: Model, request: Request) -> int: ...


@runtime_checkable
class MarkingProvider(Protocol):
    """A provider whose vendor keeps the beginning of a prompt, for `kept_s` seconds after its last use, only where the
    request marks it, at `most_markers` places and not below `least_tokens`. `mark` adds the markers at places that can
    bear one. Asked for each call, so both must be quick."""

    most_markers: int
    kept_s: float

    def least_tokens(self, model: Model) -> int: ...
    def mark(self, request: Request, places: Sequence[Place]) -> Request: ...


@runtime_checkable
class BatchProvider(Protocol):
    """A provider whose vendor answers many requests at its leisure, for less.

    `members` are requests with ids of their own, of letters, digits, `-` and `_`, at most 64, no two alike. `submit`
    gives the vendor's id of the batch, under which it can be asked for after a restart too. Members are answered in any
    order and fail one by one. All three raise `ProviderError`, and try nothing twice.
    """

    async def submit(self, model: Model, members: Sequence[tuple[str, Request]]) -> str: ...
    async def poll(self, model: Model, batch_id: str) -> Batch: ...
    async def cancel(self, batch_id: str) -> None: ...


@runtime_checkable
class EmbeddingProvider(Protocol):
    """A provider whose models with the capability `embeddings` turn texts into vectors.

    One call is one request to the vendor: it embeds all texts, or raises `ProviderError` as `Provider` does. Texts are
    never blank. `dimensions` None means the model's own; other vectors than asked for are a failure.
    """

    async def embed(self, model: Model, texts: Sequence[str], dimensions: int | None) -> Embedded: ...


@runtime_checkable
class BoundedEmbedding(Protocol):
    """Says how many texts one call of `embed` may hold; without it, 96. The gateway makes as many calls as it takes,
    each of them an attempt with a bill of its own."""

    most_texts: int


class Embedder(Protocol):
    """Turns texts into unit vectors of one fixed length."""

    dimensions: int

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]: ...


class VectorStore(Protocol):
    """Finds near neighbours. Namespaces never see each other."""

    async def upsert(self, namespace: str, key: str, vector: Vector, payload: bytes) -> None: ...
    async def nearest(self, namespace: str, vector: Vector, limit: int) -> Sequence[Match]: ...
    async def delete(self, namespace: str, keys: Sequence[str] | None = None) -> int: ...


class CacheTier(Protocol):
    """Remembers completions, apart for each organisation. A miss is `None`.

    `key` is the request's fingerprint: an HMAC under the tenant's salt over everything that shapes the answer. Exact
    tiers need nothing else; the others also look into the request.
    """

    async def get(self, key: bytes, request: Request, principal: Principal) -> Hit | None: ...
    async def put(self, key: bytes, request: Request, principal: Principal, completion: Completion) -> None: ...
    async def clear(self, org: str) -> int: ...
    async def expire(self) -> int: ...
    async def entries(self, org: str) -> Sequence[str]: ...


@runtime_checkable
class LocalPart(Protocol):
    """A tier, rule or policy that answers from this process without waiting, or bounds its own waits: it is asked
    without a clock beside it."""

    local: bool


@runtime_checkable
class ExactTier(Protocol):
    """A tier that goes by the key alone and never looks into the request. It then keeps embeddings too: a completion
    for each text, with the vector in `message`. A tier that is called `exact` is one."""

    exact: bool


@runtime_checkable
class EvictingTier(CacheTier, Protocol):
    """A tier that can forget one entry, by the id that its hits carry. False when the org has no such entry."""

    async def evict(self, org: str, entry_id: str) -> bool: ...


class Counter(Protocol):
    """Counts within a sliding window of `seconds`, atomically across workers."""

    async def take(self, org: str, key: str, amount: int, limit: int, seconds: int) -> Allowance: ...


class Authenticator(Protocol):
    """Says who is asking, from the headers alone (names in lower case), or raises `Unauthenticated`."""

    async def identify(self, headers: Mapping[str, str]) -> Principal: ...


class Policy(Protocol):
    """Admits a request, perhaps amended, or raises `Denied`, `Exhausted` or `Invalid`."""

    async def admit(self, request: Request, principal: Principal) -> Request: ...


@runtime_checkable
class OutputPolicy(Protocol):
    """Lets a completion out, perhaps amended, or raises `Denied`. Asked on hits too."""

    async def release(self, request: Request, completion: Completion, principal: Principal) -> Completion: ...


@runtime_checkable
class Settlement(Protocol):
    """Holds money while a request is under way. `amount` is the worst case in nUSD; `reserve` raises `Exhausted`.

    `settle` is called once for every request that reserved, whatever happened, with the cost that was really billed.
    """

    async def reserve(self, request_id: str, principal: Principal, amount: int) -> None: ...
    async def settle(self, request_id: str, principal: Principal, cost: int) -> None: ...


class Transform(Protocol):
    """Reshapes a request that no cache could answer, before it costs money."""

    async def apply(self, request: Request, principal: Principal) -> Request: ...


class Rule(Protocol):
    """Narrows or reorders the models that may answer, never invents one. A `Verdict` also says why."""

    async def rank(self, request: Request, principal: Principal, candidates: Sequence[Candidate]) -> Ranking: ...


@runtime_checkable
class Learner(Protocol):
    """A rule that learns from judgements of past answers. A later judgement of one request by one user replaces the
    earlier one."""

    async def observe(self, observation: Observation) -> None: ...


@runtime_checkable
class Defaulting(Protocol):
    """A rule that asks something of each task by itself: quality and milliseconds, as `GET /models` shows them."""

    def defaults(self) -> Mapping[str, tuple[float, float]]: ...


@runtime_checkable
class Witness(Protocol):
    """A rule that is told which model answered, as soon as it has. It must not wait; if it fails nothing else does."""

    def answered(self, request: Request, principal: Principal, completion: Completion) -> None: ...


@runtime_checkable
class Classifier(Protocol):
    """A rule that can name a request's task before routing: caches hold some tasks to stricter bounds. It must not
    wait, and never raise."""

    def task(self, request: Request) -> str: ...


class Sink(Protocol):
    """Receives events in batches, off the request path."""

    async def write(self, events: Sequence[Event]) -> None: ...


class Books(Protocol):
    """Where settled requests are entered."""

    async def post(self, settled: Sequence[Settled]) -> int:
        """Enter a batch, all of it or nothing: events with their attempts, decisions, rollups, and one ledger entry
        each, linked in the order given. A request id that is already there changes nothing. Gives how many were new.

        `Unstorable` when a row can never be taken; any other error means that the same batch may be tried again.
        """


class Events(Protocol):
    """Past requests."""

    async def find(self, org: str, request_id: str) -> Event | None: ...
    def between(self, org: str, start: datetime, end: datetime) -> AsyncIterator[Event]:
        """Those in `[start, end)`, oldest first, in bounded memory."""

    async def newest(self, org: str, query: EventQuery) -> Sequence[Event]: ...
    async def totals(self, org: str, since: datetime | None) -> Totals:
        """Sums from `since` on, to the microsecond, or over all time; past the retention too."""


class Decisions(Protocol):
    """Why past requests were answered as they were."""

    async def find(self, org: str, request_id: str) -> Decision | None: ...


class Rollups(Protocol):
    """Usage summed up by time bucket, over the buckets that start in `[start, end)`."""

    def between(self, org: str, granularity: Granularity, start: datetime, end: datetime) -> AsyncIterator[Rollup]: ...


@runtime_checkable
class GroupingRollups(Rollups, Protocol):
    """Rollups that are summed up where they lie: a month of many users is then a few rows, not a hundred thousand."""

    async def grouped(
        self,
        org: str,
        granularity: Granularity,
        spans: Sequence[Span],
        by: Collection[Dimension],
        *,
        detail: bool = False,
    ) -> Sequence[Rollup]:
        """For each span, over the buckets that start in it, told apart by these dimensions alone, in no order. Spans
        are in order and do not overlap. What is not in `by` is empty in the keys; without `bucket` theirs is the start
        of the span. `saved_by` and `sketch` are empty but with `detail`, which reads far more."""


class Ledger(Protocol):
    """The savings ledger: one hash chain for each org."""

    def entries(self, org: str, after: int = 0) -> AsyncIterator[Entry]:
        """The entries past `after`, in order, in bounded memory."""

    async def heads(self) -> Mapping[str, Head]:
        """The last entry of every org's chain, for checkpoints."""


class PriceBooks(Protocol):
    """Every set of prices that was ever used. They hold for all orgs."""

    async def save(self, book: Book) -> None:
        """Keep a set of prices; one of that version that is already there stays as it is."""

    async def find(self, version: str) -> Book | None: ...
    async def all(self) -> Sequence[Book]: ...


class DeadLetters(Protocol):
    """Records that could not be stored, for people to look at."""

    async def save(self, letters: Sequence[DeadLetter]) -> None: ...
    async def count(self) -> int: ...


class Retention(Protocol):
    """What is forgotten in time. Rollups by day and the ledger stay."""

    async def orgs(self) -> Sequence[str]: ...
    async def sweep(self, org: str, before: datetime) -> int:
        """Delete events, attempts and decisions of before a time; how many requests went."""


class Idempotency(Protocol):
    """Answers by `Idempotency-Key`, kept for a day. Claiming is atomic: of two callers one gets the claim."""

    async def claim(self, claim: Claim) -> Kept | None:
        """None when the claim is now the caller's, else what is kept under that key. A claim whose lease ran out
        without an answer is anybody's again."""

    async def keep(self, claim: Claim, kept: Kept) -> None:
        """Keep the answer, unless another request has answered under that key meanwhile."""

    async def release(self, claim: Claim) -> None:
        """Give the claim back, unless another request has taken it over meanwhile."""


class Storage(Protocol):
    """Where the gateway keeps what must survive a restart."""

    name: str

    @property
    def books(self) -> Books: ...
    @property
    def events(self) -> Events: ...
    @property
    def decisions(self) -> Decisions: ...
    @property
    def rollups(self) -> Rollups: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def prices(self) -> PriceBooks: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def retention(self) -> Retention: ...
    @property
    def idempotency(self) -> Idempotency: ...
    async def ping(self) -> None: ...
