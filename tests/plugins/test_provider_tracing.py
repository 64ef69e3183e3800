"""Every provider, over its own client and over its vendor's SDK, passes on the trace that the kernel says, and none of
its own accord."""

from __future__ import annotations

from typing import Any

import pytest
from tests.plugins.vendors import Vendor, ask

from asahi_kernel.testing import fakeup
from asahi_kernel.tracing import telling

pytestmark = pytest.mark.anyio
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NAMES = {"traceparent", "tracestate", "baggage", "b3", "x-b3-traceid"}


def traced(upstream: fakeup.Upstream) -> list[dict[str, str]]:
    return [{name: value for name, value in each.items() if name in NAMES} for each in upstream.heard]


async def test_a_call_tells_its_trace_and_the_next_one_tells_none(
    vendor: Vendor, upstream: fakeup.Upstream, provider: Any
) -> None:
    with telling(f"traceparent: {PARENT}\r\ntracestate: a=1,b=x: y\r\n"):
        await provider.complete(vendor.model, ask("whole"))
        async for _ in provider.stream(vendor.model, ask("in pieces")):
            pass
    await provider.complete(vendor.model, ask("later"))
    told = {"traceparent": PARENT, "tracestate": "a=1,b=x: y"}
    assert traced(upstream) == [told, told, {}]
