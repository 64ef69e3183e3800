"""What the tests of the semantic cache share: a tier with a clock to turn, and a model that knows the truth."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import numpy as np

from asahi_kernel.types import Completion, Message, Principal, Request, Terms, Usage
from asahi_semantic.config import SemanticConfig
from asahi_semantic.embedder import LocalEmbedder, load
from asahi_semantic.parts import Parts
from asahi_semantic.store import NumpyStore
from asahi_semantic.thresholds import IDENTITY
from asahi_semantic.tier import SemanticTier
from asahi_semantic.verifier import NAMES, Prior

LOCAL: LocalEmbedder = load()
HERE = Principal(org="here", user="ann")
THERE = Principal(org="there", user="bob")
replace = msgspec.structs.replace


def certain(chance: float = 0.999) -> Prior:
    """A prior that gives every pair the same chance, and is sure of it."""
    weights = [0.0] * len(NAMES)
    weights[0] = float(np.log(chance / (1 - chance)))
    return Prior(tuple(weights), tuple(tuple(row) for row in (np.eye(len(NAMES)) * 1e-9).tolist()))


def ask(text: str, **fields: Any) -> Request:
    terms = Terms(**{"task_type": "faq", **fields.pop("terms", {})})
    return Request(messages=(Message("user", text),), terms=terms, **fields)


def say(text: str) -> Completion:
    return Completion(text=text, model="model-a", provider="mock", usage=Usage(8, 4))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A tier, and the hands to use it: `waiting` is work that it put off the request path."""

    def __init__(
        self,
        *,
        prior: Prior | None = None,
        recheck: Callable[..., Awaitable[Completion | None]] | None = None,
        parts: Parts | None = None,
        proven: bool = True,
        **config: Any,
    ) -> None:
        self.clock = Clock()
        self.waiting: list[Any] = []
        self.store = NumpyStore(None)
        thresholds = {"faq": 0.0, "legal": 0.0, "general": 0.0}
        self.tier = SemanticTier(
            SemanticConfig(**{"thresholds": thresholds, "max_error_rate": 0.05, **config}),
            parts or Parts(LOCAL, self.store, LOCAL),
            prior or certain(),
            IDENTITY,
            recheck=recheck,
            detach=self.waiting.append,
            clock=self.clock,
            draw=lambda: 0.0,
        )
        self._asked = 0
        if proven:
            for org in ("here", "there"):
                for task in ("faq", "legal", "general"):
                    self.prove(org, task)

    def prove(self, org: str, task: str, labels: int = 400) -> None:
        """Let the controller have seen nothing but right candidates, at any certainty."""
        controller = self.tier._tenant(org).controller(task)
        for number in range(labels):
            controller.asked()
            controller.missed((0.9999, 0.99, 0.985, 0.9)[number % 4], True)

    async def get(self, request: Request, principal: Principal = HERE) -> Any:
        self._asked += 1
        self.key = self._asked.to_bytes(32, "big")
        return await self.tier.get(self.key, request, principal)

    async def put(self, request: Request, answer: str | Completion, principal: Principal = HERE) -> None:
        completion = say(answer) if isinstance(answer, str) else answer
        await self.tier.put(getattr(self, "key", b"k" * 32), request, principal, completion)

    async def learn(self, text: str, answer: str, principal: Principal = HERE, **fields: Any) -> None:
        """Ask, miss, and be told the answer."""
        request = ask(text, **fields)
        if await self.get(request, principal) is None:
            await self.put(request, answer, principal)

    async def catch_up(self) -> None:
        while self.waiting:
            await self.waiting.pop(0)
