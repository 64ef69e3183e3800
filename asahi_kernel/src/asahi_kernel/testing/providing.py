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
from asahi_kernel.types import Completion, Model, Request


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
