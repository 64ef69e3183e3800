"""PR-10: every provider keeps what every provider promises, and lists what it cannot do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.plugins.vendors import (
    ANTHROPIC,
    ANTHROPIC_SDK,
    COHERE,
    OPENAI,
    OPENAI_SDK,
    VENDORS,
    Vendor,
    abilities_table,
    ask,
)

from asahi_kernel.gateway import Gateway
from asahi_kernel.testing import ABILITIES, ProviderContract, fakeup


class VendorContract(ProviderContract):
    """The contract of all, at the fake upstream."""

    vendor: ClassVar[Vendor]
    broken = ask("[[fakeup: status=500]]")
    config: ClassVar[dict[str, str]] = {"api_key": "sk-test"}

    @pytest.fixture
    async def subject(self, gateway: Gateway) -> AsyncIterator[Any]:
        async with fakeup.running() as upstream, self.vendor.open(upstream.url) as provider:
            yield provider


class TestOpenAI(VendorContract):
    vendor, factory, cannot = OPENAI, OPENAI.factory, OPENAI.cannot


class TestAnthropic(VendorContract):
    vendor, factory, cannot = ANTHROPIC, ANTHROPIC.factory, ANTHROPIC.cannot


class TestOpenAIBySDK(VendorContract):
    vendor, factory, cannot = OPENAI_SDK, OPENAI_SDK.factory, OPENAI_SDK.cannot


class TestAnthropicBySDK(VendorContract):
    vendor, factory, cannot = ANTHROPIC_SDK, ANTHROPIC_SDK.factory, ANTHROPIC_SDK.cannot


class TestCohere(VendorContract):
    vendor, factory, cannot = COHERE, COHERE.factory, COHERE.cannot


@pytest.mark.anyio
@pytest.mark.parametrize("cannot", [{}, {**COHERE.cannot, "stream": "no reason at all"}])
async def test_the_list_is_held_against_the_provider_both_ways(cannot: dict[str, str]) -> None:
    """An inability that is not listed is found, and so is an ability that is listed as none."""
    listed = type("Listed", (TestCohere,), {"cannot": cannot})()
    found = set()
    async with COHERE.open("http://127.0.0.1:1") as provider:
        for ability in ABILITIES:
            try:
                await listed.test_what_it_cannot_do_is_listed(provider, ability)
            except AssertionError:
                found.add(ability)
            except pytest.skip.Exception as skipped:
                assert COHERE.cannot[ability] in str(skipped)
    assert found == ({"stream"} if cannot else set(COHERE.cannot))


def test_every_vendor_has_its_contract() -> None:
    assert {each.name for each in VENDORS} == {each.vendor.name for each in VendorContract.__subclasses__()}


def test_the_page_on_providers_says_what_the_contracts_hold() -> None:
    page = (Path(__file__).parents[2] / "docs/providers.md").read_text("utf-8")
    assert abilities_table() in page
