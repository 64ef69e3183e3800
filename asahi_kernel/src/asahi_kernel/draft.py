"""A draft: the completion that a stream's chunks add up to, and what it has cost so far."""

from __future__ import annotations

from asahi_kernel.types import Choice, Chunk, Completion, FinishReason, ToolCall, Usage


class Draft:
    """Collects chunks. `complete` is true once every choice seen has a finish reason.

    `exact` is false once a vendor field came that pieces do not simply add up to: such a stream is not cached.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._provider_request_id = ""
        self.pieces = 0
        self.exact = True

    def add(self, chunk: Chunk) -> None:
        choice = self._choices.get(chunk.index)
        if choice is None and (chunk.text or chunk.tool_calls or chunk.finish_reason or chunk.delta or chunk.choice):
            choice = self._choices[chunk.index] = _Choice()
        if chunk.text or chunk.tool_calls:
            self.pieces += 1
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.provider_request_id:
            self._provider_request_id = chunk.provider_request_id
        if chunk.delta or chunk.choice or any(call.extra for call in chunk.tool_calls):
            self.exact = False
        if choice is not None:
            choice.add(chunk)

    @property
    def complete(self) -> bool:
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    def completion(self) -> Completion:
        """What has come so far, as one completion; its usage is the provider's if that has come."""
        choices = [choice.seal() for _, choice in sorted(self._choices.items())] or [Choice()]
        first = choices[0]
        return Completion(
            text=first.text,
            model=self._model,
            usage=self._usage,
            finish_reason=first.finish_reason,
            tool_calls=first.tool_calls,
            provider_request_id=self._provider_request_id,
            message=first.message,
            choice=first.choice,
            others=tuple(choices[1:]),
        )


class _Choice:
    def __init__(self) -> None:
        self.text: list[str] = []
        self.calls: dict[int, _Call] = {}
        self.finish_reason: FinishReason | None = None
        self.message = b""
        self.choice = b""

    def add(self, chunk: Chunk) -> None:
        if chunk.text:
            self.text.append(chunk.text)
        for delta in chunk.tool_calls:
            call = self.calls.setdefault(delta.index, _Call())
            call.id = delta.id or call.id
            call.name = delta.name or call.name
            call.type = delta.type or call.type
            call.extra = delta.extra or call.extra
            call.arguments.append(delta.arguments)
        if chunk.finish_reason:
            self.finish_reason = chunk.finish_reason
        self.message = chunk.delta or self.message
        self.choice = chunk.choice or self.choice

    def seal(self) -> Choice:
        return Choice(
            text="".join(self.text),
            finish_reason=self.finish_reason or "stop",
            tool_calls=tuple(call.seal() for _, call in sorted(self.calls.items())),
            message=self.message,
            choice=self.choice,
        )


class _Call:
    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.type = "function"
        self.extra = b""
        self.arguments: list[str] = []

    def seal(self) -> ToolCall:
        return ToolCall(id=self.id, name=self.name, type=self.type, arguments="".join(self.arguments), extra=self.extra)
