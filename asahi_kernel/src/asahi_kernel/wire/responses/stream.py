"""Encodes a streamed answer as the events of a response."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from asahi_kernel.answer import Answer
from asahi_kernel.errors import AsahiError
from asahi_kernel.types import Chunk, ToolCall, ToolCallDelta
from asahi_kernel.wire.responses import reply

Json: TypeAlias = dict[str, object]

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(Json).decode


class StreamEncoder:
    """One stream: `role`, then any number of `chunk`, then `finish` or `error`.

    An item is opened by its first piece and closed by `finish`, in the order of opening. A refusal, and what else a
    vendor says of the message, is collected and told when the item closes.
    """

    silence = b""

    def __init__(self, request_id: str, model: str, created: int, echo: bytes) -> None:
        self._request_id = request_id
        self._response = reply.response(request_id, created, echo) | {"model": model}
        self._number = 0
        self._items: list[int] = []
        self._texts: list[str] = []
        self._calls: dict[int, ToolCall] = {}
        self._pieces: dict[int, list[str]] = {}
        self._vendor: Json = {}
        self._choice: Json = {}
        self._odds: list[object] = []

    def role(self) -> bytes:
        """The first events."""
        return self._told("response.created", response=self._response) + self._told(
            "response.in_progress", response=self._response
        )

    def chunk(self, chunk: Chunk) -> bytes:
        """The events of one chunk; empty if there is nothing to tell yet."""
        odds: list[object] = []
        if chunk.choice:
            choice = _object(chunk.choice)
            odds = reply.pop_logprobs(choice)
            self._odds += odds
            self._choice |= choice
        events = []
        if chunk.delta:
            self._collect(_object(chunk.delta))
        if chunk.text:
            events.append(self._say(chunk.text, odds))
        events += [self._call(delta) for delta in chunk.tool_calls]
        return b"".join(events)

    def finish(self, answer: Answer) -> bytes:
        """The last events: each item is closed, then the response with its usage and the `asahi` object."""
        completion = answer.completion
        events = self._open_message() if self._vendor or not self._items else b""
        state = reply.state_of(completion)
        output = []
        for index, item in enumerate(self._items):
            close = self._close_message if item == _MESSAGE else self._close_call
            closed, whole = close(index, state)
            events += closed
            output.append(whole)
        told = self._response | reply.finished(answer, output)
        return events + self._told(f"response.{state}", response=told)

    def error(self, error: AsahiError) -> bytes:
        """The last event of a failed stream."""
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        told = {"code": code, "message": error.message, "type": error.code, "param": error.param}
        return self._told("response.failed", response=self._response | {"status": "failed", "error": told})

    def _say(self, text: str, odds: list[object]) -> bytes:
        opened = b"" if self._texts else self._open_message() + self._open_text()
        self._texts.append(text)
        return opened + self._told("response.output_text.delta", **self._place(), delta=text, logprobs=odds)

    def _open_message(self) -> bytes:
        if _MESSAGE in self._items:
            return b""
        index = len(self._items)
        self._items.append(_MESSAGE)
        item = reply.message(self._message_id, "in_progress", [])
        return self._told("response.output_item.added", output_index=index, item=item)

    def _open_text(self) -> bytes:
        return self._told("response.content_part.added", **self._place(), part=reply.text_part(""))

    def _close_message(self, index: int, state: str) -> tuple[bytes, Json]:
        content = reply.contents("".join(self._texts), self._vendor, self._odds)
        events = b""
        for at, part in enumerate(content):
            close = self._close_text if part["type"] == "output_text" else self._refuse
            events += close(self._place(at), part)
        whole = reply.message(self._message_id, state, content) | reply.further(self._vendor, self._choice)
        return events + self._told("response.output_item.done", output_index=index, item=whole), whole

    def _close_text(self, place: Json, part: Json) -> bytes:
        opened = b"" if self._texts else self._open_text()
        events = self._told("response.output_text.done", **place, text=part["text"], logprobs=self._odds)
        return opened + events + self._told("response.content_part.done", **place, part=part)

    def _refuse(self, place: Json, part: Json) -> bytes:
        refused = part["refusal"]
        return b"".join(
            [
                self._told("response.content_part.added", **place, part=part | {"refusal": ""}),
                self._told("response.refusal.delta", **place, delta=refused),
                self._told("response.refusal.done", **place, refusal=refused),
                self._told("response.content_part.done", **place, part=part),
            ]
        )

    def _place(self, content_index: int = 0) -> Json:
        index = self._items.index(_MESSAGE)
        return {"item_id": self._message_id, "output_index": index, "content_index": content_index}

    def _call(self, delta: ToolCallDelta) -> bytes:
        opened = b"" if delta.index in self._calls else self._open_call(delta)
        known = self._calls[delta.index]
        extra = delta.extra or known.extra
        self._calls[delta.index] = msgspec.structs.replace(known, extra=extra)
        if not delta.arguments:
            return opened
        self._pieces[delta.index].append(delta.arguments)
        return opened + self._told(
            "response.function_call_arguments.delta",
            item_id=self._call_id(delta.index),
            output_index=self._items.index(delta.index),
            delta=delta.arguments,
        )

    def _open_call(self, delta: ToolCallDelta) -> bytes:
        """The vendor names a call with its first piece."""
        index = len(self._items)
        self._items.append(delta.index)
        self._pieces[delta.index] = []
        call = self._calls[delta.index] = ToolCall(id=delta.id or "", name=delta.name or "", extra=delta.extra)
        item = reply.call(self._call_id(delta.index), call, "in_progress")
        return self._told("response.output_item.added", output_index=index, item=item)

    def _close_call(self, index: int, state: str) -> tuple[bytes, Json]:
        item = self._items[index]
        arguments = "".join(self._pieces[item])
        call = msgspec.structs.replace(self._calls[item], arguments=arguments)
        whole = reply.call(self._call_id(item), call, state)
        events = self._told(
            "response.function_call_arguments.done",
            item_id=self._call_id(item),
            output_index=index,
            name=call.name,
            arguments=arguments,
        )
        return events + self._told("response.output_item.done", output_index=index, item=whole), whole

    def _collect(self, delta: Json) -> None:
        """Texts are pieces and add up; of anything else the last one holds."""
        for name, value in delta.items():
            before = self._vendor.get(name)
            if isinstance(before, str) and isinstance(value, str):
                self._vendor[name] = before + value
            elif value is not None:
                self._vendor[name] = value

    @property
    def _message_id(self) -> str:
        return f"msg_{self._request_id}"

    def _call_id(self, index: int) -> str:
        return f"fc_{self._request_id}_{index}"

    def _told(self, kind: str, **members: object) -> bytes:
        number = self._number
        self._number += 1
        told = _encode({"type": kind, "sequence_number": number, **members})
        return b"event: %b\ndata: %b\n\n" % (kind.encode("ascii"), told)


#: Stands among the indices of calls for the message.
_MESSAGE = -1
