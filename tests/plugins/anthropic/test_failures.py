"""What only Anthropic tells of its failures."""

from __future__ import annotations

import pytest
from tests.plugins.vendors import Vendor, ask

from asahi_anthropic.failures import AnthropicDialect
from asahi_anthropic.provider import AnthropicProvider
from asahi_kernel import ProviderError

pytestmark = pytest.mark.anyio


async def test_an_empty_account_is_no_fault_of_the_request() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}'
    error = AnthropicDialect("").refused(400, {}, body)
    assert (error.retryable, error.rejected) == (False, False)


@pytest.mark.parametrize(
    ("kind", "status", "retryable"),
    [
        ("overloaded_error", 529, True),
        ("rate_limit_error", 429, True),
        ("api_error", 500, True),
        ("timeout_error", 504, True),
        ("invalid_request_error", 400, False),
        ("authentication_error", 401, False),
        ("billing_error", 402, False),
        ("new_error", None, True),
    ],
)
async def test_the_type_of_an_error_stands_for_its_status(kind: str, status: int | None, retryable: bool) -> None:
    error = AnthropicDialect("").reported(b'{"type":"%b","message":"x"}' % kind.encode())
    assert (error.status, error.retryable) == (status, retryable)


async def test_an_error_event_tells_its_status(provider: AnthropicProvider, vendor: Vendor) -> None:
    with pytest.raises(ProviderError) as caught:
        await anext(provider.stream(vendor.model, ask("[[fakeup: error_event_at=0]]")))  # type: ignore[arg-type]
    assert caught.value.status == 529
