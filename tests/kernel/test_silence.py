"""A stream's silence is broken when nothing was sent for a while, and only then."""

import pytest

from asahi_kernel.answer import Answer
from asahi_kernel.api import answering
from asahi_kernel.errors import Unavailable
from asahi_kernel.relay import SILENCE, Relay
from asahi_kernel.types import Chunk


class Loop:
    """Time that a test moves; one timer."""

    def __init__(self):
        self.now, self.due, self.call = 0.0, None, None

    def time(self):
        return self.now

    def call_later(self, seconds, call):
        return self.call_at(self.now + seconds, call)

    def call_at(self, due, call):
        self.due, self.call = due, call
        return self

    def cancel(self):
        self.due = None

    def pass_to(self, now):
        while self.due is not None and self.due <= now:
            self.now = self.due
            self.call()
        self.now = now


@pytest.fixture
def loop(monkeypatch):
    found = Loop()
    monkeypatch.setattr(answering.asyncio, "get_running_loop", lambda: found)
    return found


class Broken:
    """A relay that counts."""

    def __init__(self):
        self.count = 0

    def break_silence(self):
        self.count += 1


def test_it_is_broken_each_time_that_nothing_came_for_so_long(loop):
    relay = Broken()
    answering._Clock(relay, 10)
    counts = []
    for now in (9, 10, 19, 20, 35):
        loop.pass_to(now)
        counts.append(relay.count)
    assert counts == [0, 1, 1, 2, 3]


def test_what_is_heard_puts_it_off(loop):
    relay = Broken()
    clock = answering._Clock(relay, 10)
    for now in range(1, 100):
        loop.pass_to(now)
        clock.heard()
    assert relay.count == 0
    loop.pass_to(109)
    assert relay.count == 1


def test_a_stopped_clock_says_nothing(loop):
    relay = Broken()
    answering._Clock(relay, 10).stop()
    loop.pass_to(100)
    assert relay.count == 0


@pytest.mark.anyio
async def test_a_relay_gives_silence_only_to_a_reader_without_anything_to_read():
    relay = Relay()
    relay.break_silence()
    relay.break_silence()
    assert await relay.take() == [SILENCE]
    relay.put(Chunk(text="a"))
    relay.break_silence()
    assert [item.text for item in await relay.take() if not isinstance(item, Answer)] == ["a"]
    relay.fail(Unavailable("over"))
    relay.break_silence()
    with pytest.raises(Unavailable):
        await relay.take()
    left = Relay()
    left.abandon()
    left.break_silence()
    assert not left._items
