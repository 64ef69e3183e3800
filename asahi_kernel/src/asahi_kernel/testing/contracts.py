"""Contracts every backend must honour, one class per protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar

import msgspec
import pytest

from asahi_kernel.builtins.memory_counter import MemoryCounter
from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.config import decode
from asahi_kernel.errors import AsahiError, ConfigError, ProviderError, Unauthenticated
from asahi_kernel.factory import Factory
from asahi_kernel.gateway import Gateway
from asahi_kernel.journal import Journal
from asahi_kernel.keyring import Keyring
from asahi_kernel.protocols import EvictingTier
from asahi_kernel.settings import Settings
from asahi_kernel.standing import Standings
from asahi_kernel.testing.samples import ASK, EMBEDDING_MODEL, HERE, PARIS, THERE, candidate, event
from asahi_kernel.types import Embedded, Model, Principal, Request, Verdict
from asahi_kernel.vault import ephemeral

KEY, OTHER_KEY = b"k" * 32, b"o" * 32


@pytest.mark.anyio
class Contract:
    """Say which factory, and its configuration table."""

    factory: ClassVar[Factory[Any, Any]]
    config: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def gateway(self) -> Gateway:
        gateway = Gateway(Settings(profile="development"))
        gateway.vault = ephemeral()
        gateway.keyring = Keyring(gateway.vault)
        gateway.storage = MemoryStorage(1_000)
        gateway.counter = MemoryCounter()
        gateway.journal = Journal(gateway.storage, {}, gateway.faults, gateway.settings.journal)
        gateway.standings = Standings(gateway.storage, gateway.settings.governance.default_policy)
        return gateway

    @pytest.fixture
    async def subject(self, gateway: Gateway) -> AsyncIterator[Any]:
        config = decode(dict(self.config), self.factory.config, self.factory.name)
        async with self.factory.open(config, gateway) as subject:
            yield subject

    def test_a_misspelt_key_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="no_such_key"):
            decode({**self.config, "no_such_key": 1}, self.factory.config, self.factory.name)

    async def test_it_opens_and_closes_twice(self, gateway: Gateway) -> None:
        for _ in range(2):
            config = decode(dict(self.config), self.factory.config, self.factory.name)
            async with self.factory.open(config, gateway) as subject:
                assert subject is not None


class CacheTierContract(Contract):
    """`tier` is the number that hits carry."""

    tier: ClassVar[int] = 1

    async def test_an_unknown_request_misses(self, subject: Any) -> None:
        assert await subject.get(KEY, ASK, HERE) is None

    async def test_what_was_put_is_got(self, subject: Any) -> None:
        await subject.put(KEY, ASK, HERE, PARIS)
        hit = await subject.get(KEY, ASK, HERE)
        assert (hit.completion, hit.tier) == (PARIS, self.tier)

    async def test_orgs_do_not_see_each_other_even_under_one_key(self, subject: Any) -> None:
        await subject.put(KEY, ASK, HERE, PARIS)
        assert await subject.get(KEY, ASK, THERE) is None

    async def test_a_later_answer_replaces_the_earlier(self, subject: Any) -> None:
        later = msgspec.structs.replace(PARIS, text="Paris, of course.")
        await subject.put(KEY, ASK, HERE, PARIS)
        await subject.put(KEY, ASK, HERE, later)
        assert (await subject.get(KEY, ASK, HERE)).completion.text == later.text
        assert len(await subject.entries("here")) == 1

    async def test_clear_spares_other_orgs(self, subject: Any) -> None:
        await subject.put(KEY, ASK, HERE, PARIS)
        await subject.put(OTHER_KEY, ASK, THERE, PARIS)
        assert await subject.clear("here") == 1
        assert await subject.get(KEY, ASK, HERE) is None
        assert await subject.get(OTHER_KEY, ASK, THERE) is not None

    async def test_entries_are_told_per_org(self, subject: Any) -> None:
        await subject.put(KEY, ASK, HERE, PARIS)
        assert len(await subject.entries("here")) == 1
        assert await subject.entries("there") == []

    async def test_one_entry_can_be_evicted_by_its_own_org_only(self, subject: Any) -> None:
        """For tiers that can: see `EvictingTier`."""
        if not isinstance(subject, EvictingTier):
            return
        await subject.put(KEY, ASK, HERE, PARIS)
        await subject.put(OTHER_KEY, ASK, THERE, PARIS)
        hit = await subject.get(KEY, ASK, HERE)
        assert hit is not None
        assert not await subject.evict("there", hit.entry_id)
        assert await subject.evict("here", hit.entry_id)
        assert not await subject.evict("here", hit.entry_id)
        assert await subject.get(KEY, ASK, HERE) is None
        assert await subject.get(OTHER_KEY, ASK, THERE) is not None

    async def test_expire_spares_what_still_lives(self, subject: Any) -> None:
        await subject.put(KEY, ASK, HERE, PARIS)
        assert await subject.expire() == 0
        assert await subject.get(KEY, ASK, HERE) is not None


class EmbeddingProviderContract(Contract):
    """`embedding_model` is one that the provider can embed with, `shorter` a dimension that it can be asked for, or
    None where it has no choice. `unknown_model` is one that fails."""

    embedding_model: ClassVar[Model] = EMBEDDING_MODEL
    shorter: ClassVar[int | None] = 64
    unknown_model: ClassVar[Model | None] = None

    async def test_each_text_has_its_own_vector_in_order(self, subject: Any) -> None:
        there = await subject.embed(self.embedding_model, ["one text", "another text", "Ünïcode ✓"], None)
        back = await subject.embed(self.embedding_model, ["Ünïcode ✓", "another text", "one text"], None)
        assert isinstance(there, Embedded)
        assert len({len(vector) for vector in there.vectors}) == 1
        assert len(set(there.vectors)) == 3
        for one, other in zip(there.vectors, reversed(back.vectors), strict=True):
            assert one == pytest.approx(other, abs=1e-3)

    async def test_the_vendor_says_what_it_counted_or_nothing(self, subject: Any) -> None:
        embedded = await subject.embed(self.embedding_model, ["What is the capital of France?"], None)
        assert embedded.input_tokens is None or embedded.input_tokens > 0

    async def test_dimensions_are_honoured(self, subject: Any) -> None:
        if self.shorter is None:
            return
        embedded = await subject.embed(self.embedding_model, ["one text"], self.shorter)
        assert [len(vector) for vector in embedded.vectors] == [self.shorter]

    async def test_a_cancelled_embedding_leaves_the_provider_usable(self, subject: Any) -> None:
        for _ in range(3):
            task = asyncio.ensure_future(subject.embed(self.embedding_model, ["one text"], None))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert (await subject.embed(self.embedding_model, ["one text"], None)).vectors

    async def test_a_failed_embedding_is_a_provider_error(self, subject: Any) -> None:
        if self.unknown_model is not None:
            with pytest.raises(ProviderError):
                await subject.embed(self.unknown_model, ["one text"], None)


class AuthenticatorContract(Contract):
    """`headers` are those of a caller that is let in, `strangers` those of callers that are not."""

    headers: ClassVar[Mapping[str, str]] = {}
    strangers: ClassVar[tuple[Mapping[str, str], ...]] = ()

    async def test_a_caller_gets_a_principal(self, subject: Any) -> None:
        principal = await subject.identify(self.headers)
        assert isinstance(principal, Principal)
        assert principal.org

    async def test_a_stranger_is_refused_whatever_is_wrong(self, subject: Any) -> None:
        for headers in self.strangers:
            with pytest.raises(Unauthenticated):
                await subject.identify(headers)


class CounterContract(Contract):
    async def test_takes_up_to_the_limit_and_no_more(self, subject: Any) -> None:
        granted = [(await subject.take("here", "k", 1, 3, 60)).granted for _ in range(5)]
        assert granted == [True, True, True, False, False]

    async def test_a_refusal_takes_nothing_and_says_when(self, subject: Any) -> None:
        await subject.take("here", "k", 2, 3, 60)
        refusal = await subject.take("here", "k", 2, 3, 60)
        assert (refusal.granted, refusal.remaining) == (False, 1)
        assert 0 < refusal.retry_after <= 60
        assert (await subject.take("here", "k", 1, 3, 60)).granted

    async def test_orgs_and_keys_count_apart(self, subject: Any) -> None:
        assert (await subject.take("here", "k", 1, 1, 60)).granted
        assert (await subject.take("there", "k", 1, 1, 60)).granted
        assert (await subject.take("here", "j", 1, 1, 60)).granted

    async def test_concurrent_takers_never_exceed_the_limit(self, subject: Any) -> None:
        taken = await asyncio.gather(*(subject.take("here", "k", 1, 50, 60) for _ in range(200)))
        assert sum(allowance.granted for allowance in taken) == 50


class RuleContract(Contract):
    """`requests` are put to the rule with four candidates."""

    requests: ClassVar[tuple[Request, ...]] = (ASK,)

    async def test_it_never_invents_or_doubles_a_model(self, subject: Any) -> None:
        given = [candidate(f"model-{letter}", cost=cost) for letter, cost in zip("abcd", (5, 3, None, 1), strict=True)]
        for request in self.requests:
            ranking = await subject.rank(request, HERE, given)
            kept = [each.name for each in (ranking.kept if isinstance(ranking, Verdict) else ranking)]
            assert set(kept) <= {each.name for each in given}
            assert len(set(kept)) == len(kept)

    async def test_equal_questions_get_equal_rankings(self, subject: Any) -> None:
        given = [candidate(f"model-{letter}") for letter in "abcd"]
        for request in self.requests:
            assert await subject.rank(request, HERE, given) == await subject.rank(request, HERE, given)

    async def test_no_candidates_is_no_error(self, subject: Any) -> None:
        ranking = await subject.rank(ASK, HERE, [])
        assert not (ranking.kept if isinstance(ranking, Verdict) else ranking)


class PolicyContract(Contract):
    """`refused` are requests that the policy must not admit."""

    refused: ClassVar[tuple[Request, ...]] = ()

    async def test_an_ordinary_request_is_admitted(self, subject: Any) -> None:
        assert isinstance(await subject.admit(ASK, HERE), Request)

    async def test_what_it_forbids_is_refused(self, subject: Any) -> None:
        for request in self.refused:
            with pytest.raises(AsahiError):
                await subject.admit(request, HERE)


class DetectorContract(Contract):
    """`samples` are texts, each with what stands in it, by the words themselves."""

    samples: ClassVar[Mapping[str, Mapping[str, str]]] = {}

    async def test_it_finds_what_is_there_and_where(self, subject: Any) -> None:
        found = await subject.find(list(self.samples), tuple(subject.marks))
        for (text, wanted), told in zip(self.samples.items(), found, strict=True):
            assert {text[each.start : each.end]: each.kind for each in told} == dict(wanted)

    async def test_what_it_finds_is_in_order_and_lies_apart(self, subject: Any) -> None:
        for told in await subject.find(["\n".join(self.samples) * 3, *self.samples], tuple(subject.marks)):
            assert all(one.end <= other.start for one, other in pairwise(told))

    async def test_it_looks_for_nothing_else_than_it_is_asked(self, subject: Any) -> None:
        for kind in subject.marks:
            for told in await subject.find(list(self.samples), (kind,)):
                assert {each.kind for each in told} <= {kind}
        assert [list(told) for told in await subject.find(list(self.samples), ())] == [[]] * len(self.samples)

    async def test_there_may_be_nothing_to_look_at(self, subject: Any) -> None:
        assert list(await subject.find([], tuple(subject.marks))) == []
        assert [list(told) for told in await subject.find(["", "   "], tuple(subject.marks))] == [[], []]

    async def test_each_kind_has_a_mark_of_its_own(self, subject: Any) -> None:
        assert subject.marks
        assert len(set(subject.marks.values())) == len(subject.marks)
        assert all(mark.startswith("[") and mark.endswith("_REDACTED]") for mark in subject.marks.values())


class TransformContract(Contract):
    async def test_a_request_stays_a_request(self, subject: Any) -> None:
        shaped = await subject.apply(ASK, HERE)
        assert isinstance(shaped, Request)
        assert shaped.messages


class SinkContract(Contract):
    async def test_it_takes_batches_of_any_size(self, subject: Any) -> None:
        for size in (0, 1, 100):
            await subject.write([event() for _ in range(size)])


class ServiceContract(Contract):
    """A service is a lifetime: it yields nothing, runs beside a gateway that is open, and ends when told."""

    @pytest.fixture
    async def gateway(self) -> AsyncIterator[Gateway]:
        from asahi_kernel.gateway import running
        from asahi_kernel.plugins import load_plugins

        async with running(Gateway(Settings(profile="development", storage="memory")), load_plugins()) as gateway:
            yield gateway

    async def test_it_opens_and_closes_twice(self, gateway: Gateway) -> None:
        for _ in range(2):
            config = decode(dict(self.config), self.factory.config, self.factory.name)
            async with asyncio.timeout(5), self.factory.open(config, gateway):
                await asyncio.sleep(0)

    async def test_it_leaves_no_task_behind(self, gateway: Gateway) -> None:
        before = asyncio.all_tasks()
        async with self.factory.open(decode(dict(self.config), self.factory.config, self.factory.name), gateway):
            await asyncio.sleep(0.01)
        assert asyncio.all_tasks() <= before
