"""Standing in for models that know the truth: a mock run gives each meaning one answer, whichever model is asked."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from asahi_kernel.builtins.mock import MOCK, Mock, MockConfig
from asahi_kernel.factory import Factory
from asahi_kernel.money import count_tokens
from asahi_kernel.plugins import Plugins
from asahi_kernel.types import Usage

if TYPE_CHECKING:
    from asahi_kernel.benchmark.workload import Case
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Provider
    from asahi_kernel.types import Completion, Model, Request

#: The right answer to the request of this task, also for what it detaches; None leaves it to the mock.
TRUTH: ContextVar[str | None] = ContextVar("asahi_benchmark_truth", default=None)

#: Tokens of an answer of which neither text nor length is known.
_SHORTEST, _LONGEST = 20, 80


class Standin(Mock):
    """The mock, but what it says is the truth, and its usage fits that."""

    async def complete(self, model: Model, request: Request) -> Completion:
        found, truth = await super().complete(model, request), TRUTH.get()
        if truth is None or found.tool_calls or found.others:
            return found
        most = min(request.max_tokens or model.max_output_tokens, model.max_output_tokens)
        tokens = count_tokens(truth)
        usage = found.usage
        if usage is not None and not self._config.faults:
            usage = Usage(usage.input_tokens, min(tokens, most))
        if tokens > most:
            return msgspec.structs.replace(found, text=truth[: 4 * most], usage=usage, finish_reason="length")
        return msgspec.structs.replace(found, text=truth, usage=usage, finish_reason="stop")


class Instructed(Plugins):
    """The same plugins, with the stand-in in the mock's place."""

    def __init__(self, plugins: Plugins) -> None:
        super().__init__(plugins.manager, plugins.labels, plugins.broken)

    def catalogue(self, kind: str) -> dict[str, Factory[Any, Any]]:
        found = super().catalogue(kind)
        return {**found, "mock": _STANDIN} if found.get("mock") is MOCK else found


def truths(cases: Sequence[Case]) -> dict[str, str]:
    """The answer to each meaning: the first that is known, else words that no other meaning has."""
    known: dict[str, str] = {}
    lengths: dict[str, int] = {}
    for case in cases:
        if case.meaning:
            lengths[case.meaning] = lengths.get(case.meaning) or case.expected_output_length
            known[case.meaning] = known.get(case.meaning) or case.answer
    return {meaning: answer or _invent(meaning, lengths[meaning]) for meaning, answer in known.items()}


def _invent(meaning: str, tokens: int) -> str:
    draw = random.Random(meaning)
    wanted = tokens or draw.randint(_SHORTEST, _LONGEST)
    words = ("".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=5)) for _ in range(wanted * 2 // 3))
    return " ".join((f"Answer {draw.randrange(10**9)}:", *words))


@asynccontextmanager
async def _open(config: MockConfig, gateway: Gateway) -> AsyncIterator[Provider]:
    yield Standin(config)


_STANDIN: Factory[Provider, MockConfig] = Factory("mock", MockConfig, _open)
