"""What only the SDKs as a transport can do wrong: the environment, the clouds, what is not installed."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from tests.house.tree import ROOT
from tests.plugins.vendors import ANTHROPIC_SDK, KEY, OPENAI_SDK, Vendor, ask

from asahi_kernel import ConfigError, ProviderError, Secret
from asahi_kernel.protocols import BatchProvider
from asahi_kernel.testing import fakeup

pytestmark = pytest.mark.anyio
AZURE = msgspec.structs.replace(OPENAI_SDK, suffix="", table={"transport": "sdk", "cloud": "azure"})
VERTEX = msgspec.structs.replace(
    ANTHROPIC_SDK,
    suffix="/v1",
    table={"transport": "sdk", "cloud": "vertex", "project": "acme", "region": "europe-west1"},
)


@pytest.fixture(params=[OPENAI_SDK, ANTHROPIC_SDK], ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return request.param  # type: ignore[no-any-return]


async def test_the_environment_names_no_host_no_key_and_no_header(
    vendor: Vendor, upstream: fakeup.Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-environment")
        monkeypatch.setenv(f"{name}_BASE_URL", "http://127.0.0.1:1")
        monkeypatch.setenv(f"{name}_CUSTOM_HEADERS", "authorization: Bearer sk-environment\nx-canary: yes")
    for name, value in {
        "ANTHROPIC_AUTH_TOKEN": "sk-environment",
        "OPENAI_ORG_ID": "x",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    async with vendor.open(upstream.url) as provider:
        await provider.complete(vendor.model, ask("hello"))
    async with vendor.open(upstream.url, api_key=Secret("")) as provider:
        await provider.complete(vendor.model, ask("hello"))
    assert [row.credential for row in upstream.ledger] == [KEY, ""]
    assert not any({"x-canary", "openai-organization"} & set(row) for row in upstream.heard)


def test_the_sdk_is_imported_for_a_provider_that_asks_for_it_only() -> None:
    code = (
        "import sys, asyncio\n"
        "from tests.plugins.vendors import OPENAI, ANTHROPIC\n"
        "async def main():\n"
        "    async with OPENAI.open('http://127.0.0.1:1'), ANTHROPIC.open('http://127.0.0.1:1'): pass\n"
        "asyncio.run(main())\n"
        "print(sorted({'openai', 'anthropic', 'httpx2'} & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "[]"


async def test_an_sdk_that_is_not_installed_is_named(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name in ("openai", "anthropic"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=rf"pip install asahi-{vendor.factory.name}\[sdk\]"):
        async with vendor.open("http://127.0.0.1:1"):
            pass


@pytest.mark.parametrize("cloud", [AZURE, VERTEX], ids=["azure", "vertex"])
async def test_a_cloud_answers_whole_and_streamed_by_its_own_address(cloud: Vendor) -> None:
    async with fakeup.running(prices=dict([fakeup.read_price(cloud.prices)])) as upstream:
        async with cloud.open(upstream.url) as provider:
            whole = await provider.complete(cloud.model, ask("hello [[fakeup: tokens=9]]"))
            chunks = [chunk async for chunk in provider.stream(cloud.model, ask("hello [[fakeup: tokens=9]]"))]
            with pytest.raises(ProviderError) as caught:
                await provider.complete(cloud.model, ask("[[fakeup: status=429 retry_after=3]]"))
        assert "".join(chunk.text for chunk in chunks) == whole.text
        assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage]
        assert (caught.value.status, caught.value.retry_after) == (429, 3)
        assert [(row.model, row.credential) for row in upstream.ledger] == [(cloud.model.api_model, KEY)] * 3
        paths = [row.path for row in upstream.ledger]
    if cloud is AZURE:
        assert set(paths) == {f"/openai/deployments/{cloud.model.api_model}/chat/completions"}
    else:
        root = f"/v1/projects/acme/locations/europe-west1/publishers/anthropic/models/{cloud.model.api_model}"
        assert paths == [f"{root}:rawPredict", f"{root}:streamRawPredict", f"{root}:rawPredict"]


@pytest.mark.parametrize("cloud", [AZURE, VERTEX], ids=["azure", "vertex"])
async def test_a_cloud_claims_no_batches(cloud: Vendor) -> None:
    async with cloud.open("http://127.0.0.1:1") as provider:
        assert not isinstance(provider, BatchProvider)


@pytest.mark.parametrize(
    ("vendor_", "table", "told"),
    [
        (OPENAI_SDK, {"cloud": "azure"}, "needs transport: sdk"),
        (ANTHROPIC_SDK, {"cloud": "vertex"}, "needs transport: sdk"),
        (ANTHROPIC_SDK, {"cloud": "vertex", "transport": "sdk"}, "needs project and region"),
        (ANTHROPIC_SDK, {"cloud": "bedrock", "transport": "sdk"}, r"anthropic\[bedrock\]"),
        (VERTEX, {**VERTEX.table, "api_key": ""}, r"anthropic\[vertex\]"),
    ],
)
async def test_a_cloud_that_cannot_be_reached_is_refused_at_the_start(
    vendor_: Vendor, table: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        async with msgspec.structs.replace(vendor_, table=table).open("http://127.0.0.1:1"):
            pass


async def test_every_number_and_field_of_the_caller_goes_through_the_sdk(
    vendor: Vendor, upstream: fakeup.Upstream
) -> None:
    options = (("top_k", b"3"), ("metadata", b'{"user_id":"\\u00fc"}'), ("big", b"12345678901234567890"))
    request = ask("hello", temperature=0.1, top_p=0.9, wire=vendor.factory.name, options=options)
    async with vendor.open(upstream.url) as provider:
        await provider.complete(vendor.model, request)
    body = json.loads(upstream.bodies[-1])
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.1, 0.9, 3)
    assert (body["metadata"], body["big"]) == ({"user_id": "ü"}, 12345678901234567890)
