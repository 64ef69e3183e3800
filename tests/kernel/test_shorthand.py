"""One address of a Redis is short for the tables of the exact tier and of the counter."""

import json
from pathlib import Path

import pytest

from asahi_kernel.config import read
from asahi_kernel.errors import ConfigError


def of(tree, **env):
    Path("asahi.yaml").write_text(json.dumps(tree))
    return read(Path("asahi.yaml"), env)


def test_without_an_address_both_stay_in_this_process():
    assert (of({}).cache_tiers, of({}).counter) == ({}, "memory")


@pytest.mark.parametrize("variable", ["REDIS_URL", "REDIS_TLS_URL", "REDIS_PRIVATE_URL", "REDISCLOUD_URL"])
def test_an_address_in_the_environment_is_enough(variable):
    found = of({}, **{variable: "redis://one"})
    assert found.cache_tiers == {"exact": {"type": "redis", "url": "redis://one"}}
    assert found.counter == {"type": "redis", "url": "redis://one"}
    assert read(None, {variable: "redis://one"}).profile == "development"


def test_the_table_fills_both_with_what_each_takes():
    found = of({"redis": {"cache_prefix": "c", "rate_limit_prefix": "r", "timeout_ms": 9}}, REDIS_URL="redis://one")
    assert found.cache_tiers["exact"] == {"type": "redis", "url": "redis://one", "cache_prefix": "c", "timeout_ms": 9}
    assert found.counter == {"type": "redis", "url": "redis://one", "rate_limit_prefix": "r", "timeout_ms": 9}


def test_what_the_tables_say_goes_first():
    own = {"cache_tiers": {"exact": {"timeout_ms": 7}}, "counter": {"slice_share": 0.5}}
    found = of({"redis": {"url": "redis://two"}, **own}, REDIS_URL="redis://one")
    assert found.cache_tiers["exact"] == {"type": "redis", "url": "redis://two", "timeout_ms": 7}
    assert found.counter == {"type": "redis", "url": "redis://two", "slice_share": 0.5}
    kept = of({"cache_tiers": {"exact": {"type": "exact"}}, "counter": "memory"}, REDIS_URL="redis://one")
    assert (kept.cache_tiers["exact"], kept.counter) == ({"type": "exact"}, "memory")
    assert of({"counter": "redis"}, REDIS_URL="redis://one").counter == {"type": "redis", "url": "redis://one"}


def test_a_variable_of_our_own_reaches_the_table():
    assert of({}, REDIS_URL="redis://one", ASAHI_REDIS__POOL_SIZE="3").counter["pool_size"] == "3"


@pytest.mark.parametrize("table", [{"timeout": 5}, "redis://one", ["redis://one"]])
def test_a_table_of_another_shape_is_refused(table):
    with pytest.raises(ConfigError, match="redis: "):
        of({"redis": table})
