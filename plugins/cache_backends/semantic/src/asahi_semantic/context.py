"""Contextual embedding: a line that says what kind of request a text is, put before it where it is embedded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from asahi_kernel import Message, Request
from asahi_kernel.types import Terms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asahi_kernel import Completion, Principal

Kind: TypeAlias = Literal["off", "template", "model"]
#: Asks a model off the books of the request, at the expense of the cache. None where it has no answer.
AskModel: TypeAlias = "Callable[[Request, Principal], Awaitable[Completion | None]]"

#: With a line before each text all of them are more alike: nothing below this is served.
FLOOR = 0.92
_READ, _LONGEST, _TOKENS = 500, 400, 80
_ASKED = (
    "Write one or two sentences, of 20 to 50 words together, that say what kind of request this is, what it is about "
    "and how good its answer must be. Do not answer it.\n\n"
)
_NEEDS = ((4.5, "the highest"), (4.0, "high"), (0.0, "ordinary"))


class Contexts:
    """`kind` off gives no lines. `ask` is only there for the kind model; where it fails, the template stands in."""

    def __init__(self, kind: Kind = "off", ask: AskModel | None = None) -> None:
        self.kind = kind
        self._ask = ask

    async def line(self, request: Request, principal: Principal, task: str) -> str:
        """The line for a request, ending in a line break, or nothing."""
        if self.kind == "off":
            return ""
        written = await self._written(request, principal) if self._ask is not None else ""
        return f"{written or template(request, task)}\n"

    async def _written(self, request: Request, principal: Principal) -> str:
        assert self._ask is not None
        asked = Request(
            messages=(Message("user", _ASKED + request.messages[-1].text[:_READ]),),
            max_tokens=_TOKENS,
            temperature=0.0,
            terms=Terms(keep_prompt=request.terms.keep_prompt),
        )
        answer = await self._ask(asked, principal)
        return " ".join(answer.text.split())[:_LONGEST] if answer is not None else ""


def template(request: Request, task: str) -> str:
    """Task, agent (the tag `agent`) and need, as a sentence."""
    terms = request.terms
    by = f"the agent {agent}" if (agent := terms.tags.get("agent", "")[:64]) else "a person"
    wanted = terms.quality_threshold or 0.0
    by_threshold = [word for least, word in _NEEDS if wanted >= least]
    need = terms.quality_preference or by_threshold[0]
    return f"This is a request of the kind {task}, asked by {by}; its answer must be of {need} quality."
