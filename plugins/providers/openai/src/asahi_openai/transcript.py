"""What a stream has said so far, and whether it has said all."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asahi_kernel import Chunk, Usage
from asahi_kernel.http.failures import Failure, Garbage
from asahi_kernel.wire.sse import Event
from asahi_openai.calls import Calls
from asahi_openai.decode import decode_event, decode_plain, finish

_TERMINATOR = b"[DONE]"


class Transcript:
    """Reads the events of one stream. `begun` once any has come, `done` after the terminator; later ones are ignored.

    Hosts tell usage in an event of its own, with the last piece, or with every piece: it is given once, by `end`.
    """

    __slots__ = ("_calls", "_ended", "_named", "_request_id", "_seen", "_usage", "begun", "done")

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._seen: set[int] = set()
        self._ended: set[int] = set()
        self._calls = Calls()
        self._usage: Usage | None = None
        self._named = False
        self.begun = False
        self.done = False

    def read(self, event: Event) -> Sequence[Chunk]:
        """The chunks in an event. Raises `Garbage`, or `Failure` for an error event."""
        if self.done:
            return ()
        try:
            plain = decode_plain(event[1])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._read_further(event)
        chunks = []
        for choice in plain.choices:
            text, reason = choice.delta.content, choice.finish_reason
            self._seen.add(choice.index)
            if reason:
                self._ended.add(choice.index)
                called = self._calls.called(choice.index)
                chunks.append(Chunk(text=text or "", index=choice.index, finish_reason=finish(reason, called=called)))
            elif text:
                chunks.append(Chunk(text=text, index=choice.index))
        self.begun = True
        return chunks if self._named else self._name(chunks, plain.id or "")

    def end(self) -> Sequence[Chunk]:
        """The last chunk, once the stream is over. Raises `Garbage` if the answer is not."""
        if not self._ended or self._seen - self._ended:
            raise Garbage("the stream ended before the answer did")
        return () if self._usage is None else (Chunk(usage=self._usage),)

    def _read_further(self, event: Event) -> Sequence[Chunk]:
        name, data = event
        if data.strip() == _TERMINATOR:
            self.done = True
            return ()
        if name == "error":
            raise Failure(data)
        identity, chunks, usage = decode_event(data)
        chunks = [self._calls.mended(chunk) for chunk in chunks]
        if usage is not None:
            self._usage = usage
        self._seen.update(chunk.index for chunk in chunks)
        self._ended.update(chunk.index for chunk in chunks if chunk.finish_reason)
        self.begun = True
        return chunks if self._named else self._name(chunks, identity)

    def _name(self, chunks: list[Chunk], identity: str) -> Sequence[Chunk]:
        """Puts the vendor's id on the first chunk there is."""
        if chunks:
            self._named = True
            request_id = self._request_id or identity
            chunks[0] = msgspec.structs.replace(chunks[0], provider_request_id=request_id)
        return chunks
