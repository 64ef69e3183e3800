"""A model of this provider is no candidate for what its wire would lose, and the reason is told."""

from __future__ import annotations

import msgspec
import pytest

from asahi_anthropic.provider import AnthropicProvider
from asahi_kernel import Message, Request
from asahi_kernel.builtins.rules import Capable
from asahi_kernel.gateway import Gateway
from asahi_kernel.outlet import Outlet
from asahi_kernel.settings import Resilience, Settings
from asahi_kernel.testing.samples import HERE, candidate
from asahi_kernel.upstream import Upstream

pytestmark = pytest.mark.anyio
HELLO = Request(messages=(Message("user", "x"),))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, ""),
        ({"wire": "anthropic", "options": (("top_k", b"5"),)}, ""),
        ({"options": (("parallel_tool_calls", b"false"),)}, ""),
        (
            {"wire": "openai", "options": (("logprobs", b"true"),)},
            "does not speak the openai wire, which logprobs need",
        ),
        ({"seed": 1}, "its provider knows no seed"),
    ],
)
async def test_the_capability_rule_asks_the_provider(
    provider: AnthropicProvider, fields: dict[str, object], reason: str
) -> None:
    gateway = Gateway(Settings(profile="development"))
    gateway.upstreams = {"mock": Upstream("mock", [Outlet("mock", provider)], Resilience())}
    request = msgspec.structs.replace(HELLO, **fields)
    verdict = await Capable(gateway).rank(request, HERE, [candidate("claude")])
    assert verdict.dropped == ({"claude": reason} if reason else {})
