"""The bundled backends pass the contracts that plugins pass."""

import msgspec
import pytest

from asahi_kernel.builtins import local_auth, memory, mock, rules
from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.errors import ConfigError, Unauthenticated
from asahi_kernel.gateway import Gateway
from asahi_kernel.settings import Api, Cache, Settings
from asahi_kernel.testing import (
    ASK,
    EMBEDDING_MODEL,
    HERE,
    MODEL,
    PARIS,
    THERE,
    AuthenticatorContract,
    CacheTierContract,
    CounterContract,
    EmbeddingProviderContract,
    ProviderContract,
    RuleContract,
    StorageContract,
)
from asahi_kernel.testing.contracts import KEY

NOT_THE_MOCK = {"count tokens": "has no tokeniser", "answer in batches": "is free already"}
GOOD = "a-long-random-key-0123456789"


class TestMemoryTier(CacheTierContract):
    factory = memory.EXACT


class TestMemoryStorage(StorageContract):
    factory = memory.STORAGE


class TestMemoryCounter(CounterContract):
    factory = memory.COUNTER


class TestMock(ProviderContract):
    factory = mock.MOCK
    cannot = NOT_THE_MOCK


class TestEmbeddingMock(EmbeddingProviderContract):
    factory = mock.MOCK


class TestBrokenEmbeddingMock(EmbeddingProviderContract):
    factory = mock.MOCK
    config = {"faults": [{"call": 1, "status": 500}]}
    unknown_model = EMBEDDING_MODEL
    test_each_text_has_its_own_vector_in_order = None
    test_the_vendor_says_what_it_counted_or_nothing = None
    test_dimensions_are_honoured = None


class TestBrokenMock(ProviderContract):
    factory = mock.MOCK
    cannot = NOT_THE_MOCK
    config = {"faults": [{"call": 1, "status": 500}]}
    broken = ASK
    test_a_completion_has_text_and_usage = None
    test_max_tokens_is_honoured = None
    test_a_stream_adds_up_and_ends_with_a_reason = None
    test_a_stream_may_be_left_early = None


@pytest.mark.anyio
async def test_the_mock_gives_as_many_choices_as_are_asked_for():
    provider = mock.Mock(mock.MockConfig())
    one = await provider.complete(MODEL, ASK)
    three = await provider.complete(MODEL, msgspec.structs.replace(ASK, n=3))
    assert len({three.text, *(choice.text for choice in three.others)}) == 3
    assert three.usage.output_tokens == 3 * one.usage.output_tokens


class TestOpen(AuthenticatorContract):
    factory = local_auth.OPEN
    headers = {"authorization": "Bearer anything"}


class TestStatic(AuthenticatorContract):
    factory = local_auth.STATIC
    config = {"keys": [{"key": GOOD, "org": "acme"}]}
    headers = {"authorization": f"Bearer {GOOD}"}
    strangers = (
        {},
        {"authorization": GOOD},
        {"authorization": f"Basic {GOOD}"},
        {"authorization": f"Bearer {GOOD[:-1]}"},
        {"authorization": f"Bearer {GOOD}x"},
        {"authorization": f"Bearer {GOOD}", "x-api-key": "another"},
        {"authorization": "Bearer ' OR 1=1--"},
        {"authorization": "Bearer \xe9"},
        {"x-api-key": ""},
    )

    async def test_the_org_comes_from_the_key(self, subject):
        assert (await subject.identify({"x-api-key": GOOD})).org == "acme"

    async def test_the_scheme_may_be_lower_case(self, subject):
        assert await subject.identify({"authorization": f"bearer {GOOD}"})


@pytest.mark.parametrize("factory", rules.ALL, ids=lambda factory: factory.name)
class TestRules(RuleContract):
    @pytest.fixture
    def subject(self, factory, gateway):
        return _rule(factory, gateway)

    test_a_misspelt_key_is_refused = None
    test_it_opens_and_closes_twice = None


def _rule(factory, gateway):
    class Always:
        wire = ""
        refuses = staticmethod(lambda request: "")

        available = staticmethod(lambda: True)

    gateway.upstreams = {"mock": Always}
    made = {"explicit": rules.Explicit, "bounds": rules.Bounds, "cheapest": rules.Cheapest}
    if factory.name in made:
        return made[factory.name]()
    return {"health": rules.Health, "capability": rules.Capable}[factory.name](gateway)


@pytest.mark.anyio
async def test_an_expired_entry_is_never_served():
    now = [0.0]
    tier = MemoryTier(Cache(ttl_seconds=100, ttl_jitter=0.0), clock=lambda: now[0])
    await tier.put(KEY, ASK, HERE, PARIS)
    now[0] = 99.9
    assert await tier.get(KEY, ASK, HERE) is not None
    now[0] = 100.0
    assert await tier.get(KEY, ASK, HERE) is None
    assert len(tier) == tier.bytes == 0


@pytest.mark.anyio
async def test_the_sweep_removes_only_what_has_expired():
    now = [0.0]
    tier = MemoryTier(Cache(ttl_seconds=100, ttl_jitter=0.0), clock=lambda: now[0])
    await tier.put(b"old", ASK, HERE, PARIS)
    now[0] = 50.0
    await tier.put(b"new", ASK, HERE, PARIS)
    now[0] = 120.0
    assert await tier.expire() == 1
    assert await tier.get(b"new", ASK, HERE) is not None


@pytest.mark.anyio
async def test_memory_stays_inside_its_byte_bound_and_keeps_the_recently_used():
    """T1-6."""
    tier = MemoryTier(Cache(max_bytes=100_000))
    big = msgspec.structs.replace(PARIS, text="x" * 1_000)
    for number in range(1_000):
        await tier.put(number.to_bytes(4, "big"), ASK, HERE, big)
        assert tier.bytes <= 100_000
        await tier.get((0).to_bytes(4, "big"), ASK, HERE)
    assert await tier.get((0).to_bytes(4, "big"), ASK, HERE) is not None
    assert await tier.get((1).to_bytes(4, "big"), ASK, HERE) is None


@pytest.mark.anyio
async def test_an_entry_larger_than_the_bound_is_not_kept():
    tier = MemoryTier(Cache(max_bytes=1_000))
    await tier.put(KEY, ASK, HERE, msgspec.structs.replace(PARIS, text="x" * 5_000))
    assert len(tier) == tier.bytes == 0


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "example.com"])
async def test_open_is_refused_beyond_loopback(host):
    """AU-4, 10.1."""
    with pytest.raises(ConfigError, match="auth"):
        async with local_auth.open_open(local_auth.Config(), Gateway(Settings(api=Api(host=host)))):
            pass


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["short", "a" * 40, ""])
async def test_a_weak_key_stops_the_start(key, monkeypatch):
    monkeypatch.delenv("ASAHI_BOOTSTRAP_ADMIN_KEY", raising=False)
    config = local_auth.StaticConfig(keys=(local_auth.StaticKey(key=local_auth.Secret(key)),))
    with pytest.raises(ConfigError):
        async with local_auth.open_static(config, Gateway(Settings())):
            pass


@pytest.mark.anyio
async def test_no_key_at_all_stops_the_start(monkeypatch):
    monkeypatch.delenv("ASAHI_BOOTSTRAP_ADMIN_KEY", raising=False)
    with pytest.raises(ConfigError, match="ASAHI_BOOTSTRAP_ADMIN_KEY"):
        async with local_auth.open_static(local_auth.StaticConfig(), Gateway(Settings())):
            pass


@pytest.mark.anyio
async def test_the_bootstrap_key_is_an_admin(monkeypatch):
    monkeypatch.setenv("ASAHI_BOOTSTRAP_ADMIN_KEY", GOOD)
    async with local_auth.open_static(local_auth.StaticConfig(), Gateway(Settings())) as subject:
        assert (await subject.identify({"x-api-key": GOOD})).role == "admin"


@pytest.mark.anyio
async def test_keys_equal_but_for_the_last_character_are_never_mixed_up():
    """AU-7."""
    keys = {f"{GOOD}-{number:05d}": f"org-{number}" for number in range(10_000)}
    listed = tuple(local_auth.StaticKey(key=local_auth.Secret(key), org=org) for key, org in keys.items())
    subject = local_auth.Static(listed)
    for key, org in keys.items():
        assert (await subject.identify({"x-api-key": key})).org == org
    with pytest.raises(Unauthenticated):
        await subject.identify({"x-api-key": f"{GOOD}-1000"})


def test_the_two_sample_tenants_differ():
    assert HERE.org != THERE.org
