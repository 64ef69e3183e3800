"""Redis honours the contracts of the exact tier and of the counter, against a real server."""

from __future__ import annotations

import pytest
from tests.plugins.redis.kit import fresh

from asahi_kernel.plugins import load_plugins
from asahi_kernel.testing import LeaseCounterContract, ListingTierContract

CATALOGUE = load_plugins()


class TestTier(ListingTierContract):
    backend = "redis"
    factory = CATALOGUE.catalogue("cache_tiers")["redis"]

    @pytest.fixture(autouse=True)
    def server(self, redis_url, monkeypatch):
        monkeypatch.setattr(type(self), "config", {"url": redis_url, "cache_prefix": fresh(), "timeout_ms": 2_000})


class TestCounter(LeaseCounterContract):
    factory = CATALOGUE.catalogue("counters")["redis"]

    @pytest.fixture(autouse=True)
    def server(self, redis_url, monkeypatch):
        monkeypatch.setattr(type(self), "config", {"url": redis_url, "rate_limit_prefix": fresh(), "timeout_ms": 2_000})
