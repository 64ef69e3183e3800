"""Drive the real tier with a stream: every miss is answered with the truth, every recheck too."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any

from msgspec import Struct

from asahi_kernel.types import Completion, Message, Principal, Request, Terms, Usage
from asahi_semantic.config import SemanticConfig
from asahi_semantic.context import Contexts
from asahi_semantic.embedder import load
from asahi_semantic.keeping import Keeper
from asahi_semantic.opening import local_scale
from asahi_semantic.parts import Parts
from asahi_semantic.store import NumpyStore
from asahi_semantic.tier import SemanticTier
from asahi_semantic.verifier import prior
from benchmarks.semantic.truth import Question, answer_of

ORG = Principal(org="bench", user="ann")
#: A recheck comes back after so many further requests.
_LATER = 20
LOCAL = load()


class Outcome(Struct, kw_only=True):
    """What became of a stream."""

    requests: int = 0
    hits: int = 0
    wrong: int = 0
    rechecks: int = 0
    curve: list[tuple[int, int, int]] = []
    reasons: dict[str, int] = {}


def asking(text: str, task: str = "faq") -> Request:
    return Request(messages=(Message("user", text),), terms=Terms(task_type=task))  # type: ignore[arg-type]


def answering(meaning: str) -> Completion:
    return Completion(text=answer_of(meaning), model="model-a", provider="mock", usage=Usage(20, 40))


class Run:
    """One tier and one stream. `seed` draws the rechecks."""

    def __init__(
        self, seed: int = 0, *, parts: Parts | None = None, keeper: Keeper | None = None, **config: Any
    ) -> None:
        self.meanings: dict[str, str] = {}
        self.outcome = Outcome()
        self.task = "faq"
        self._waiting: list[tuple[int, Coroutine[Any, Any, None]]] = []
        settings = {"cost_sensitivity": "high", **config}
        self.tier = SemanticTier(
            SemanticConfig(**settings),
            parts or Parts(LOCAL, NumpyStore(None), LOCAL),
            prior(),
            local_scale(),
            keeper=keeper,
            contexts=Contexts(settings.get("context", "off")),
            recheck=self._recheck,
            detach=lambda work: self._waiting.append((self.outcome.requests + _LATER, work)),
            draw=random.Random(seed).random,
        )

    async def ask(self, question: Question) -> bool | None:
        """True for a right hit, False for a wrong one, None for a miss."""
        outcome = self.outcome
        outcome.requests += 1
        await self._catch_up(outcome.requests)
        self.meanings[question.text] = question.meaning
        key, request = outcome.requests.to_bytes(32, "big"), asking(question.text, self.task)
        hit = await self.tier.get(key, request, ORG)
        if hit is None:
            await self.tier.put(key, request, ORG, answering(question.meaning))
            return None
        right = hit.completion.text == answer_of(question.meaning)
        outcome.hits += 1
        outcome.wrong += not right
        return right

    async def tell(self, key: bytes, question: Question) -> None:
        """Let the tier have the answer, without being asked for it."""
        self.meanings[question.text] = question.meaning
        await self.tier.put(key, asking(question.text), ORG, answering(question.meaning))

    async def served(self, key: bytes, text: str) -> bool:
        """Whether the tier answers this text, with whatever."""
        return await self.tier.get(key, asking(text), ORG) is not None

    async def drive(self, questions: Sequence[Question]) -> Outcome:
        every = max(1, len(questions) // 50)
        for number, question in enumerate(questions, 1):
            await self.ask(question)
            if number % every == 0:
                self.outcome.curve.append((number, self.outcome.hits, self.outcome.wrong))
        await self._catch_up(None)
        self.outcome.reasons = dict(self.tier.reasons)
        return self.outcome

    def close(self) -> None:
        """Give up what is still to be checked."""
        for _, work in self._waiting:
            work.close()
        self._waiting.clear()

    async def _catch_up(self, now: int | None) -> None:
        while self._waiting and (now is None or self._waiting[0][0] <= now):
            await self._waiting.pop(0)[1]

    async def _recheck(self, request: Request, principal: Principal, model: str) -> Completion:
        self.outcome.rechecks += 1
        return answering(self.meanings[request.messages[-1].text])


def run(questions: Sequence[Question], seed: int = 0, **config: Any) -> Outcome:
    """Drive a fresh tier with a stream."""
    return asyncio.run(Run(seed, **config).drive(questions))
