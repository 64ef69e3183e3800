"""The contracts of providers: what each must do, and a list of what it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import pytest

from asahi_kernel.draft import Draft
from asahi_kernel.errors import ProviderError
from asahi_kernel.protocols import StreamingProvider
from asahi_kernel.testing.abilities import ABILITIES
from asahi_kernel.testing.contracts import Contract
from asahi_kernel.testing.samples import ASK, MODEL
from asahi_kernel.types import Batch, Completion, Message, Model, Request


class ProviderContract(Contract):
    """`model` is one that the provider can answer with, `broken` a request that fails, where there is one.

    `cannot` gives a reason for each of `asahi_kernel.testing.ABILITIES` that the provider lacks. An ability that is
    neither had nor listed fails the contract, and so does one that is listed and yet there.
    """

    model: ClassVar[Model] = MODEL
    broken: ClassVar[Request | None] = None
    cannot: ClassVar[Mapping[str, str]] = {}

    @pytest.mark.parametrize("ability", ABILITIES)
    async def test_what_it_cannot_do_is_listed(self, subject: Any, ability: str) -> None:
        has = ABILITIES[ability](subject)
        assert has != (ability in self.cannot), f"it can {ability}" if has else f"`cannot` has no reason: {ability}"
        if not has:
            assert self.cannot[ability].strip()
            pytest.skip(f"{self.factory.name} cannot {ability}: {self.cannot[ability]}")

    def test_the_list_knows_every_word_in_it(self) -> None:
        assert set(self.cannot) <= set(ABILITIES)

    async def test_a_completion_has_text_and_usage(self, subject: Any) -> None:
        completion = await subject.complete(self.model, ASK)
        assert isinstance(completion, Completion)
        assert completion.text
        assert completion.usage is None or completion.usage.input_tokens > 0

    async def test_max_tokens_is_honoured(self, subject: Any) -> None:
        completion = await subject.complete(self.model, msgspec.structs.replace(ASK, max_tokens=3))
        assert completion.usage is None or completion.usage.output_tokens <= 3

    async def test_a_stream_adds_up_and_ends_with_a_reason(self, subject: Any) -> None:
        draft = Draft(self.model.name)
        async for chunk in self._streaming(subject).stream(self.model, ASK):
            draft.add(chunk)
        assert draft.complete
        assert draft.completion().text

    async def test_a_stream_may_be_left_early(self, subject: Any) -> None:
        source: Any = self._streaming(subject).stream(self.model, ASK)
        await anext(source)
        await source.aclose()
        assert (await subject.complete(self.model, ASK)).text

    async def test_a_cancelled_call_leaves_the_provider_usable(self, subject: Any) -> None:
        for _ in range(3):
            task = asyncio.ensure_future(subject.complete(self.model, ASK))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert (await subject.complete(self.model, ASK)).text

    async def test_failures_are_provider_errors(self, subject: Any) -> None:
        if self.broken is None:
            pytest.skip("`broken` names no request that fails")
        with pytest.raises(ProviderError):
            await subject.complete(self.model, self.broken)

    def _streaming(self, subject: Any) -> StreamingProvider:
        if "stream" in self.cannot:
            pytest.skip(f"{self.factory.name} cannot stream: {self.cannot['stream']}")
        assert isinstance(subject, StreamingProvider)
        return subject


class BatchProviderContract(Contract):
    """`model` is one that batches can be made for, `broken` a request whose member fails alone, where there
    is one. `pause_s` is between two polls."""

    model: ClassVar[Model] = MODEL
    broken: ClassVar[Request | None] = None
    pause_s: ClassVar[float] = 0.01

    async def test_each_member_gets_its_own_answer(self, subject: Any) -> None:
        """They are those of live calls, which a provider of the tests repeats."""
        members = [(f"m-{number}", _question(number)) for number in range(7)]
        batch = await self.over(subject, await subject.submit(self.model, members))
        assert batch.state == "done"
        assert set(batch.results) == {name for name, _ in members}
        for name, request in members:
            answer = batch.results[name]
            assert isinstance(answer, Completion)
            assert answer.text == (await subject.complete(self.model, request)).text
            assert answer.usage is None or answer.usage.output_tokens > 0

    async def test_a_new_batch_is_not_over(self, subject: Any) -> None:
        batch_id = await subject.submit(self.model, [("one", ASK)])
        batch = await subject.poll(self.model, batch_id)
        assert batch.state in ("queued", "running")
        assert not batch.results

    async def test_a_member_fails_alone(self, subject: Any) -> None:
        if self.broken is None:
            pytest.skip("`broken` names no request that fails")
        batch = await self.over(subject, await subject.submit(self.model, [("bad", self.broken), ("good", ASK)]))
        assert isinstance(batch.results["bad"], ProviderError)
        assert isinstance(batch.results["good"], Completion)

    async def test_a_batch_can_be_cancelled(self, subject: Any) -> None:
        batch_id = await subject.submit(self.model, [("one", ASK), ("two", ASK)])
        await subject.cancel(batch_id)
        batch = await self.over(subject, batch_id)
        assert batch.state in ("cancelled", "done")
        if batch.state == "cancelled":
            assert all(isinstance(each, ProviderError) for each in batch.results.values())

    @pytest.mark.parametrize("names", [(), ("one", "one"), ("",), ("a b",), ("x" * 65,), ("../x",)])
    async def test_members_that_cannot_be_told_apart_are_refused(self, subject: Any, names: tuple[str, ...]) -> None:
        with pytest.raises(ProviderError) as caught:
            await subject.submit(self.model, [(name, ASK) for name in names])
        assert caught.value.rejected

    @pytest.mark.parametrize("batch_id", ["batch_unknown", "../files", ""])
    async def test_a_batch_that_is_not_there_is_an_error(self, subject: Any, batch_id: str) -> None:
        for asking in (subject.poll(self.model, batch_id), subject.cancel(batch_id)):
            with pytest.raises(ProviderError):
                await asking

    async def over(self, subject: Any, batch_id: str) -> Batch:
        """The batch once it has ended, within a minute."""
        async with asyncio.timeout(60):
            while True:
                batch = await subject.poll(self.model, batch_id)
                assert isinstance(batch, Batch)
                if batch.state not in ("queued", "running"):
                    return batch
                await asyncio.sleep(self.pause_s)


def _question(number: int) -> Request:
    return Request(messages=(Message("user", f"What is {number} times {number}?"),))
