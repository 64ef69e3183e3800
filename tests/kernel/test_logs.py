"""Lines are one line each, never hold the loop up, and say a thing once."""

import json
import logging
import os
import threading
import time

import pytest

from asahi_kernel.errors import Denied
from asahi_kernel.lines import CHANGE, Calm, Lines
from asahi_kernel.logs import JSONFormatter, TextFormatter, clean, fault_of
from asahi_kernel.served import Served, current


def record(message="it broke", *args, level=logging.WARNING, name="asahi.test", **extra):
    made = logging.LogRecord(name, level, "x.py", 1, message, args, None)
    vars(made).update(extra)
    return made


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\x1b[31ma", "\u202eabc", "a\u2028b", "\x9b1m", "\x00", "\ud800"])
@pytest.mark.parametrize("formatter", [JSONFormatter(), TextFormatter()])
def test_nothing_ends_a_line_or_colours_or_turns_it(text, formatter):
    line = formatter.format(record("of %s", text))
    assert line.isprintable(), line
    assert "\\" in line


@pytest.mark.parametrize(
    "secret",
    [
        *("ask_0123abcd_Zq8Lw3Rt6Yp1Xn5V", "sk-proj-Zq8Lw3Rt6Yp1Xn5V", "sk-ant-api03-Zq8Lw3Rt6Yp1"),
        *(
            "Bearer abcdefgh12345678",
            "bearer eyJhbGciOi.J9.x",
            "postgres://ann:hunter22@db/asahi",
            "redis://:hunter22@h",
        ),
    ],
)
def test_what_looks_like_a_key_is_masked(secret):
    told = clean(f"cannot use {secret} now")
    assert "[secret]" in told
    assert not any(part in told for part in ("Zq8Lw3Rt", "abcdefgh", "eyJh", "hunter22"))


def test_an_exception_is_told_without_its_words():
    told = fault_of(raised(ValueError("my prompt"), raised(OSError(28, "No space left on device", "my prompt"))))
    assert told.startswith("ValueError at test_logs.py:")
    assert "; after OSError (No space left on device) at" in told
    assert "my prompt" not in told
    assert fault_of(Denied("my prompt")) == "Denied (permission_denied)"


def test_an_exception_that_caused_itself_ends():
    error = ValueError()
    error.__cause__ = error
    assert fault_of(error) == "ValueError"


def test_a_line_names_the_request_that_is_served():
    served = Served({"method": "POST", "headers": [(b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")]})
    served.org, served.route = "acme", "/infer"
    token = current.set(served)
    try:
        told = json.loads(JSONFormatter().format(record()))
    finally:
        current.reset(token)
    assert told["request_id"] == served.request_id
    assert (told["org_id"], told["route"], told["trace_id"]) == ("acme", "/infer", "a" * 32)
    assert "request_id" not in json.loads(JSONFormatter().format(record()))


def test_a_library_s_line_does_not_name_a_request_that_is_over():
    """Its connections go on in the context of whoever opened them."""
    served = Served({"method": "POST"})
    token = current.set(served)
    try:
        served.duration_ms = 1.0
        assert "request_id" not in json.loads(JSONFormatter().format(record(name="asyncio")))
        assert json.loads(JSONFormatter().format(record()))["request_id"] == served.request_id
    finally:
        current.reset(token)


def test_of_other_libraries_only_the_first_line_is_told():
    words = "Task exception was never retrieved\nfuture: <Task exception=ValueError('my prompt')>"
    quoting = record(words, name="asyncio")
    assert json.loads(JSONFormatter().format(quoting))["message"] == "Task exception was never retrieved"
    callback = record("Exception in callback Reader.feed(b'my prompt')", name="asyncio")
    assert json.loads(JSONFormatter().format(callback))["message"] == "Exception in callback Reader.feed"


class Pipe:
    """A log that is read when somebody reads it."""

    def __init__(self, most=20_000):
        self.reading, writing = os.pipe()
        self.lines = Lines(writing, most)
        self.lines.setFormatter(logging.Formatter("%(message)s"))

    def read(self, wanted):
        found = b""
        until = time.monotonic() + 10
        while wanted.encode() not in found and time.monotonic() < until:
            found += os.read(self.reading, 1 << 20)
        return found.decode().splitlines()


def test_lines_come_out_in_their_order_and_flush_waits_for_them():
    pipe = Pipe()
    for number in range(200):
        pipe.lines.emit(record(f"line {number}"))
    pipe.lines.flush()
    assert os.read(pipe.reading, 1 << 20).decode().splitlines() == [f"line {number}" for number in range(200)]


def test_a_log_that_nobody_reads_holds_nobody_up_and_tells_what_it_lost():
    pipe = Pipe(most=2_000)
    begun = time.perf_counter()
    for number in range(10_000):
        pipe.lines.emit(record(f"{number} " + "x" * 100))
        if number == 1_000:
            time.sleep(0.1)  # the pipe is full now
    assert time.perf_counter() - begun < 5, "10,000 lines took longer than a pipe would be waited for"
    lines = pipe.read("are lost")
    (told,) = [line for line in lines if "are lost" in line]
    lost = int(told.split()[0])
    assert lost + len([line for line in lines if line.endswith("x")]) == 10_000


def test_a_log_that_is_gone_harms_nobody():
    reading, writing = os.pipe()
    os.close(reading)
    lines = Lines(writing)
    lines.setFormatter(logging.Formatter("%(message)s"))
    for _ in range(3):
        lines.emit(record())
        lines.flush()
    assert any(each.name == "asahi-log" and each.is_alive() for each in threading.enumerate())


def test_a_dependency_that_is_away_is_told_of_once_and_again_after_a_quiet_minute():
    now = [0.0]
    calm = Calm(lambda: now[0])
    told = []
    for second in range(600):
        now[0] = float(second)
        told += [second] if calm.filter(record("storage refused %d events (%s)", second, "OSError")) else []
    assert told == [0]
    now[0] += 61
    again = record("storage refused %d events (%s)", 5, "OSError")
    assert calm.filter(again)
    assert again.getMessage() == "storage refused 5 events (OSError) (and 599 times before)"


def test_other_words_changes_and_faults_are_never_held_back():
    calm = Calm(lambda: 0.0)
    for _ in range(3):
        assert calm.filter(record("redis is away", **CHANGE))
        assert calm.filter(record("fine", level=logging.INFO))
        assert calm.filter(record("bug", exc_info=(ValueError, ValueError(), None)))
    assert all(calm.filter(record("request %s failed", str(number))) for number in range(5_000))
    assert calm.filter(record("cache %s failed", "a"))
    assert calm.filter(record("cache %s failed", "b"))
    assert not calm.filter(record("cache %s failed", "a"))
