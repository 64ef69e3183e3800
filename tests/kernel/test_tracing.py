"""Trace context as the W3C recommends: what is malformed is no context, and what is passed on is well-formed."""

import asyncio
import re

import pytest

from asahi_kernel.tracing import onward, parent_of, sampled, span_id, telling, told, trace_id

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def parsed(*parents, state=None):
    states = [] if state is None else [state] if isinstance(state, str) else state
    headers = [(b"traceparent", each.encode("latin-1")) for each in parents]
    return parent_of([(b"host", b"x"), *headers, *((b"tracestate", each.encode("latin-1")) for each in states)])


def test_a_caller_s_span_is_read():
    found = parsed(GOOD)
    assert (found.trace_id, found.span_id, found.sampled, found.state) == (TRACE, SPAN, True, "")
    assert not parsed(GOOD[:-1] + "0").sampled
    assert parsed(GOOD[:-2] + "03").sampled
    assert not parsed(GOOD[:-2] + "fe").sampled


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        GOOD + "-x",
        GOOD + "1",
        GOOD[:-1],
        GOOD.upper(),
        GOOD.replace("-", "_"),
        "ff" + GOOD[2:],
        "0g" + GOOD[2:],
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0\xff",
        GOOD + "\r\nx: y",
        GOOD + "\n",
        "01" + GOOD[2:] + ".later",
    ],
)
def test_what_is_malformed_is_no_context(malformed):
    assert parsed(malformed, state="a=1") is None


def test_two_callers_are_none():
    assert parsed(GOOD, GOOD) is None


def test_a_later_version_is_read_as_far_as_it_is_known():
    assert parsed("cc" + GOOD[2:] + "-what-the-future-will-be-like").trace_id == TRACE
    assert parsed("cc" + GOOD[2:]).trace_id == TRACE


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("a=1", "a=1"),
        ("a=1,b=2", "a=1,b=2"),
        (["a=1", "b=2"], "a=1,b=2"),
        (" a=1 ,\t,b=2\t", "a=1,b=2"),
        ("1a-2f@dd=x y,foo_b/*=!", "1a-2f@dd=x y,foo_b/*=!"),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a", ""),
        ("a=b=c", ""),
        ("a=\x7f", ""),
        ("a=1\r\nx: y", ""),
        ("1a=1", ""),
        ("a=", ""),
        ("a=\xe4", ""),
        (",".join(f"a{number}=1" for number in range(32)), ",".join(f"a{number}=1" for number in range(32))),
        (",".join(f"a{number}=1" for number in range(33)), ""),
    ],
)
def test_a_malformed_state_is_dropped_and_its_trace_is_not(state, kept):
    found = parsed(GOOD, state=state)
    assert (found.trace_id, found.state) == (TRACE, kept)


def test_a_long_state_is_cut_between_members():
    state = parsed(GOOD, state=",".join(f"k{number}={'v' * 100}" for number in range(10))).state
    assert len(state) <= 512
    assert state == ",".join(f"k{number}={'v' * 100}" for number in range(4))


def test_a_call_is_a_child_of_our_own_span():
    fields = onward("R1", 2, parsed(GOOD, state="a=1"), 0.0)
    assert fields == f"traceparent: 00-{TRACE}-{span_id('R1', 'attempt 2')}-01\r\ntracestate: a=1\r\n"
    assert onward("R1", 1, None, 1.0) == f"traceparent: 00-{trace_id('R1')}-{span_id('R1', 'attempt 1')}-01\r\n"
    assert onward("R1", 1, None, 0.0).endswith("-00\r\n")


def test_who_makes_no_spans_passes_on_what_came():
    assert onward("R1", 1, parsed(GOOD), None) == f"traceparent: {GOOD}\r\n"
    assert onward("R1", 1, None, None) == ""


def test_a_share_is_a_share():
    ids = [trace_id(f"request-{number}") for number in range(20_000)]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids[:100])
    assert 1_800 < sum(sampled(each, 0.1) for each in ids) < 2_200
    assert all(sampled(each, 1.0) for each in ids)
    assert not any(sampled(each, 0.0) for each in ids)


@pytest.mark.anyio
async def test_a_task_that_outlives_a_call_says_nothing_of_it():
    """A pool's or a batch's task that one tenant's call began must not carry its trace to the calls of others."""
    over = asyncio.Event()

    async def pool():
        heard = [told()]
        await over.wait()
        return [*heard, told()]

    with telling("traceparent: x\r\n"):
        task = asyncio.create_task(pool())
        await asyncio.sleep(0)
        assert told() == "traceparent: x\r\n"
    over.set()
    assert await task == ["traceparent: x\r\n", ""]
    assert told() == ""
