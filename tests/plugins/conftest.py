"""A vendor, its fake upstream, and its provider pointed at that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from tests.plugins.vendors import KEY, VENDORS, Vendor

from asahi_kernel.testing import fakeup


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    """Every vendor in turn; the folder of one vendor has only that one."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def key() -> str:
    """The credential of every provider here: it must turn up in no text."""
    return KEY


@pytest.fixture
def open_at(vendor: Vendor) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Opens a provider for an address, with further configuration."""
    return vendor.open


@pytest.fixture
async def upstream(vendor: Vendor) -> AsyncIterator[fakeup.Upstream]:
    async with fakeup.running(prices=dict([fakeup.read_price(vendor.prices)])) as running:
        yield running


@pytest.fixture
async def provider(vendor: Vendor, upstream: fakeup.Upstream) -> AsyncIterator[Any]:
    async with vendor.open(upstream.url) as provider:
        yield provider
