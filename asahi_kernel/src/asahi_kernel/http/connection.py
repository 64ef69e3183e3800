"""One HTTP/1.1 connection of the client: a request out, an answer in, one at a time."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

HIGH_WATER = 256 * 1024
_HEAD_LIMIT = 64 * 1024


class BrokenError(Exception):
    """The connection died under way. `unsent` means that the host had hung up before the request reached it."""

    def __init__(self, message: str, *, unsent: bool = False) -> None:
        super().__init__(message)
        self.unsent = unsent


class Answer:
    """What has come of an answer: `status` and `headers` (names in lower case) once `begun`, then `pieces` of the body.

    `complete` says that all has come, `broken` why nothing more will.
    """

    begun = False
    complete = False
    broken: BrokenError | None = None
    status = 0
    size = 0

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []

    def wake(self) -> None:
        """Called after each change."""
        raise NotImplementedError


class Connection(asyncio.Protocol):
    """Feeds the answer it was last given. It stops reading while the answer holds `HIGH_WATER` bytes unread."""

    def __init__(self, live: set[Connection]) -> None:
        self._live = live
        self._answer: Answer | None = None
        self._uses = 0
        self._received = 0
        self._stale_at = 0.0
        self._interim = self._until_eof = self._unasked = self._paused = self._keep_alive = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._live.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._live.discard(self)
        answer = self._answer
        if answer is None or answer.complete:
            return
        if error is None and answer.begun and self._until_eof:
            answer.complete = True
        elif answer.broken is None:
            how = "hung up" if error is None else "reset the connection"
            answer.broken = BrokenError(f"{how} before the answer was complete", unsent=self._unsent)
        answer.wake()

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.complete:
            self._unasked = True
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._unasked = True
            if not answer.complete:
                answer.broken = BrokenError("answered with something that is not HTTP")
        if answer.begun:
            if answer.size >= HIGH_WATER and not self._paused:
                self._transport.pause_reading()
                self._paused = True
        elif self._received > _HEAD_LIMIT:
            answer.broken = BrokenError("answered with too long a head")
        if answer.begun or answer.broken is not None:
            answer.wake()

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.complete:
            self._unasked = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is not None:
            self._answer.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        answer, status = self._answer, self._parser.get_status_code()
        if answer is None or answer.complete:
            return
        self._interim = status < 200
        if self._interim:
            answer.headers.clear()
            return
        answer.status = status
        answer.begun = True
        self._until_eof = b"content-length" not in answer.headers and b"transfer-encoding" not in answer.headers

    def on_body(self, body: bytes) -> None:
        answer = self._answer
        if answer is not None and not answer.complete:
            answer.pieces.append(body)
            answer.size += len(body)

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._interim:
            self._answer.complete = True
            self._keep_alive = self._parser.should_keep_alive()

    def fresh(self, now: float) -> bool:
        """Whether a request may still be sent on this idle connection."""
        return now < self._stale_at and not self._unasked and not self._transport.is_closing()

    def send(self, request: bytes, answer: Answer) -> None:
        """Sends a request; what comes back goes to `answer`."""
        self._answer = answer
        self._uses += 1
        self._received = 0
        self._transport.write(request)

    def resume(self) -> None:
        """Reads on after a pause."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def rest(self, until: float) -> bool:
        """Lets go of the answer; false if the connection cannot serve another."""
        answer, self._answer = self._answer, None
        if answer is None or not answer.complete or answer.broken is not None or self._unasked or self._until_eof:
            return False
        if self._transport.is_closing() or not self._keep_alive:
            return False
        self.resume()
        self._stale_at = until
        return True

    def abort(self) -> None:
        """Ends the connection at once, telling nobody who waits for it anything but that."""
        self._transport.abort()

    @property
    def _unsent(self) -> bool:
        return self._uses > 1 and self._received == 0
