"""Plans: the steps of a comparison, of several questions, and of a question about a long document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from asahi_kernel import Completion, Message, Request
from asahi_kernel.tiers import Step
from asahi_kernel.types import Document, Task
from asahi_semantic.splitting import Comparison, Questions, joined

Kind: TypeAlias = Literal["summarize", "answer", "compare"]
Keyed: TypeAlias = Callable[[Kind, Request], bytes]

#: What a summary may take; it is asked to stay far below.
_SUMMARY_TOKENS = 1_024
_DOCUMENT = (
    "Summarise this document in at most 400 words. Keep every name, number, date, definition, condition and exception "
    "that somebody could ask about later. Add nothing."
)
_SUBJECT = (
    "Say what characterises {0}: what it is, what it is for, its strengths, its weaknesses, its costs and limits. At "
    "most 200 words. Add no comparison."
)


class _Made:
    """Steps out of one request. `summary` is the step that shortens its document, if it is long."""

    def __init__(self, request: Request, keyed: Keyed, *, shorten: bool) -> None:
        self._request = request
        self._keyed = keyed
        self._shorten = shorten

    def _first(self, results: Mapping[str, Completion]) -> Step | None:
        """The summary, where it is wanted and not there yet."""
        if not self._shorten or "document" in results:
            return None
        asked = self._ask(_DOCUMENT, _SUMMARY_TOKENS, self._request.document, "summarization")
        return self._step("document", "summarize", "the document in short", asked)

    def _text(self, results: Mapping[str, Completion]) -> Document | None:
        """What later steps read: the summary in the document's place, or the whole document."""
        document = self._request.document
        if not self._shorten or document is None:
            return document
        return Document(results["document"].text, document.id)

    def _ask(self, text: str, most: int | None, document: Document | None = None, task: Task | None = None) -> Request:
        request = self._request
        terms = msgspec.structs.replace(request.terms, stream=False, task_type=task or request.terms.task_type)
        messages = (*request.messages[:-1], Message("user", text))
        return msgspec.structs.replace(request, messages=messages, max_tokens=most, document=document, terms=terms)

    def _step(self, step_id: str, kind: Kind, intent: str, request: Request) -> Step:
        document = self._request.document
        return Step(
            step_id=step_id,
            step_type=kind,
            request=request,
            key=self._keyed(kind, request),
            intent=intent,
            document_id=document.id if document else None,
        )


class AboutDocument(_Made):
    """A long document is shortened once; every question about it reads the short form."""

    total = 2

    def __init__(self, request: Request, keyed: Keyed) -> None:
        super().__init__(request, keyed, shorten=True)

    def following(self, results: Mapping[str, Completion]) -> Sequence[Step]:
        if (summary := self._first(results)) is not None:
            return (summary,)
        if "answer" in results:
            return ()
        asked = self._ask(self._request.messages[-1].text, self._request.max_tokens, self._text(results))
        return (self._step("answer", "answer", "answered from the short form", asked),)

    def last(self, step: Step) -> bool:
        return step.step_id == "answer"

    def compose(self, results: Mapping[str, Completion]) -> Completion:
        return results["answer"]


class Severally(_Made):
    """Each question is answered alone, all at once, and the answers are put in order."""

    def __init__(self, request: Request, keyed: Keyed, found: Questions, *, shorten: bool) -> None:
        super().__init__(request, keyed, shorten=shorten)
        self._found = found
        self.total = len(found.texts) + shorten

    def following(self, results: Mapping[str, Completion]) -> Sequence[Step]:
        if (summary := self._first(results)) is not None:
            return (summary,)
        document, share = self._text(results), self._share()
        return tuple(
            self._step(f"question-{at}", "answer", text[:80], self._ask(self._with_context(text), share, document))
            for at, text in enumerate(self._found.texts, 1)
            if f"question-{at}" not in results
        )

    def last(self, step: Step) -> bool:
        return False

    def compose(self, results: Mapping[str, Completion]) -> Completion:
        parts = [results[f"question-{at}"] for at in range(1, len(self._found.texts) + 1)]
        known = [part.quality for part in parts if part.quality is not None]
        output = sum(part.usage.output_tokens for part in parts if part.usage)
        last = parts[-1]
        return msgspec.structs.replace(
            last,
            text=joined(self._found, [part.text.strip() for part in parts]),
            usage=msgspec.structs.replace(last.usage, output_tokens=output) if last.usage else None,
            quality=min(known) if known else None,
            message=b"",
            choice=b"",
        )

    def _share(self) -> int | None:
        """The answers together stay within what the caller allows for one."""
        most = self._request.max_tokens
        return None if most is None else most // len(self._found.texts)

    def _with_context(self, text: str) -> str:
        return f"{self._found.context}\n\n{text}" if self._found.context else text


class Compared(_Made):
    """Both subjects are described once, whatever they are compared with later; then they are compared."""

    total = 3

    def __init__(self, request: Request, keyed: Keyed, found: Comparison) -> None:
        super().__init__(request, keyed, shorten=False)
        self._found = found

    def following(self, results: Mapping[str, Completion]) -> Sequence[Step]:
        found = self._found
        if "compare" in results:
            return ()
        missing = [
            self._step(name, "summarize", subject, self._ask(_SUBJECT.format(subject), _SUMMARY_TOKENS))
            for name, subject in (("one", found.one), ("other", found.other))
            if name not in results
        ]
        if missing:
            return missing
        notes = "\n\n".join(
            f"Notes on {subject}:\n{results[name].text.strip()}"
            for name, subject in (("one", found.one), ("other", found.other))
        )
        text = f"{notes}\n\nWith these notes: {self._request.messages[-1].text}"
        return (self._step("compare", "compare", "compared", self._ask(text, self._request.max_tokens)),)

    def last(self, step: Step) -> bool:
        return step.step_id == "compare"

    def compose(self, results: Mapping[str, Completion]) -> Completion:
        return results["compare"]
