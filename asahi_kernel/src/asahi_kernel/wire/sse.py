"""Server-sent events, read piecewise: bytes in, (event name, data) pairs out."""

from __future__ import annotations

from typing import TypeAlias

Event: TypeAlias = tuple[str, bytes]
"""The event's name, empty when the sender gave none, and its data as bytes, lines joined by LF."""

LIMIT = 1 << 20
_BOM = b"\xef\xbb\xbf"


class EventError(ValueError):
    """The stream holds a line or an event beyond the limit."""


class EventParser:
    """Turns network chunks into events, however they are split. One parser per stream.

    Ends of line are LF, CR and CRLF; comments, `id` and `retry` are dropped; an event that the stream does not end with
    a blank line never happened. A line, or the data of one event, above `limit` bytes raises `EventError`.
    """

    __slots__ = ("_carriage", "_data", "_limit", "_name", "_rest", "_size", "_started")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._carriage = False
        self._started = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes."""
        if not (self._rest or self._data or self._name or self._carriage) and len(chunk) <= self._limit:
            events = _whole(chunk)
            if events is not None:
                self._started = True
                return events
        return self._feed_lines(chunk)

    def _feed_lines(self, chunk: bytes) -> list[Event]:
        if self._carriage and chunk:
            self._carriage = False
            if chunk[0] == 0x0A:
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._carriage = chunk[-1] == 0x0D
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = chunk.find(b"\n")
        if len(self._rest) + (len(chunk) if end < 0 else end) > self._limit + len(_BOM):
            raise EventError(f"a line is longer than {self._limit} bytes")
        if end < 0:
            self._rest += chunk
            return []
        lines = chunk.split(b"\n")
        if self._rest:
            lines[0] = bytes(self._rest) + lines[0]
        self._rest[:] = lines.pop()
        events: list[Event] = []
        for line in lines:
            self._take_line(line, events)
        if len(self._rest) > self._limit:
            raise EventError(f"a line is longer than {self._limit} bytes")
        return events

    def _take_line(self, line: bytes, events: list[Event]) -> None:
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if len(line) > self._limit:
            raise EventError(f"a line is longer than {self._limit} bytes")
        if not line:
            if self._data:
                events.append((self._name, b"\n".join(self._data)))
                self._data.clear()
                self._size = 0
            self._name = ""
            return
        field, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if field == b"data":
            self._size += len(value)
            if self._size > self._limit:
                raise EventError(f"an event is longer than {self._limit} bytes")
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")


def _whole(chunk: bytes) -> list[Event] | None:
    """The events of a chunk made of nothing but whole, one-line ones, all unnamed or all named: nearly every chunk of a
    stream."""
    if chunk[-2:] != b"\n\n" or b"\r" in chunk:
        return None
    if chunk[:7] == b"event: ":
        return _named(chunk)
    if chunk[:6] != b"data: ":
        return None
    if chunk.find(b"\n") == len(chunk) - 2:
        return [("", chunk[6:-2])]
    events: list[Event] = []
    for block in chunk[:-2].split(b"\n\n"):
        if block[:6] != b"data: " or b"\n" in block:
            return None
        events.append(("", block[6:]))
    return events


def _named(chunk: bytes) -> list[Event] | None:
    events: list[Event] = []
    for block in chunk[:-2].split(b"\n\n"):
        name, _, data = block.partition(b"\n")
        if name[:7] != b"event: " or data[:6] != b"data: " or b"\n" in data:
            return None
        events.append((name[7:].decode("utf-8", "replace"), data[6:]))
    return events
