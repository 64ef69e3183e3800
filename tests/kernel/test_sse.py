"""The event parser gives the same events however the bytes are cut."""

from __future__ import annotations

import pytest

from asahi_kernel.wire.sse import LIMIT, Event, EventError, EventParser

TRANSCRIPT = (
    "\ufeffdata: first\n\n"
    ": a comment\n"
    'event: delta\ndata: {\ndata:  "text": "grün, 日本, 🜁"\ndata:}\nid: 7\nretry: 10\n\n'
    "data\n\n"
    "event: lonely\n\n"
    "data: last\n\n\n"
    "data: [DONE]\n\n"
    "data: never ended"
).encode()
EVENTS: list[Event] = [
    ("", b"first"),
    ("delta", '{\n "text": "grün, 日本, 🜁"\n}'.encode()),
    ("", b""),
    ("", b"last"),
    ("", b"[DONE]"),
]


def parse(*chunks: bytes, limit: int = LIMIT) -> list[Event]:
    parser = EventParser(limit)
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
class TestEnds:
    def test_split_at_every_byte_gives_equal_events(self, end: bytes) -> None:
        whole = TRANSCRIPT.replace(b"\n", end)
        for at in range(len(whole) + 1):
            assert parse(whole[:at], whole[at:]) == EVENTS, at

    def test_one_byte_at_a_time_gives_equal_events(self, end: bytes) -> None:
        whole = TRANSCRIPT.replace(b"\n", end)
        assert parse(*(whole[at : at + 1] for at in range(len(whole)))) == EVENTS

    def test_empty_chunks_change_nothing(self, end: bytes) -> None:
        whole = TRANSCRIPT.replace(b"\n", end)
        assert parse(*(piece for at in range(len(whole)) for piece in (whole[at : at + 1], b""))) == EVENTS

    def test_an_event_is_given_with_its_last_byte(self, end: bytes) -> None:
        assert parse(b"data: now" + end + end) == [("", b"now")]


def test_several_whole_events_in_a_chunk_are_all_given() -> None:
    assert parse(b"data: 1\n\ndata: 2\n\ndata: 3\n\n") == [("", b"1"), ("", b"2"), ("", b"3")]


def test_a_whole_event_after_a_half_one_is_not_taken_for_a_new_one() -> None:
    assert parse(b"data: a\n", b"data: b\n\n") == [("", b"a\nb")]
    assert parse(b"event: x\n", b"data: b\n\n") == [("x", b"b")]


def test_a_byte_order_mark_counts_only_at_the_start() -> None:
    assert parse(b"data: 1\n\n", b"\xef\xbb\xbfdata: 2\n\n") == [("", b"1")]


def test_a_line_of_the_limit_passes() -> None:
    data = b"x" * (LIMIT - len("data: "))
    assert parse(b"data: " + data, b"\n\n") == [("", data)]
    assert parse(b"data: " + data + b"\n\n") == [("", data)]


@pytest.mark.parametrize("cut", [1, 4096, 1 << 21])
def test_a_longer_line_raises_even_when_it_never_ends(cut: int) -> None:
    line = b"data: " + b"x" * 10_000
    with pytest.raises(EventError):
        parse(*(line[at : at + cut] for at in range(0, len(line), cut)), limit=1_000)
    with pytest.raises(EventError):
        parse(*((line + b"\n\n")[at : at + cut] for at in range(0, len(line) + 2, cut)), limit=1_000)


def test_a_longer_event_of_short_lines_raises() -> None:
    with pytest.raises(EventError):
        parse(b"data: x\n" * 2_000, limit=1_000)


def test_a_flood_of_comments_is_dropped() -> None:
    assert parse(b": ping\n\n" * 200_000, b"data: x\n\n") == [("", b"x")]


def test_several_whole_named_events_in_a_chunk_are_all_given() -> None:
    assert parse(b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\n") == [("a", b"1"), ("b", b"2")]
    assert parse(b"event: a\ndata: 1\n\ndata: 2\n\n") == [("a", b"1"), ("", b"2")]
    assert parse(b"event: a\ndata: 1\ndata: 2\n\n") == [("a", b"1\n2")]
    assert parse(b"event: a\n\nevent: b\ndata: 2\n\n") == [("b", b"2")]
