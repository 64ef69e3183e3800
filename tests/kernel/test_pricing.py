"""Prices: the caller's own, else the bundled table; tiers, caches, reasoning; unknown is unknown."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices.types import ModelPrice, Tier, TieredPrices

from asahi_kernel.config import decode
from asahi_kernel.errors import ConfigError
from asahi_kernel.money import Prices, per_million
from asahi_kernel.pricing import convert, look_up, price_version
from asahi_kernel.registry import build
from asahi_kernel.settings import Settings
from asahi_kernel.types import Usage

TIERED = convert(
    ModelPrice(
        input_mtok=TieredPrices(base=Decimal("3"), tiers=[Tier(start=200_000, price=Decimal("6"))]),
        output_mtok=TieredPrices(base=Decimal("15"), tiers=[Tier(start=200_000, price=Decimal("22.5"))]),
        cache_read_mtok=Decimal("0.3"),
        cache_write_mtok=Decimal("3.75"),
        cache_write_1h_mtok=Decimal("6"),
    )
)


def registry(**tree: object):
    settings = decode({"providers": {"openai": {"api_key": "x"}}, **tree}, Settings, "test")
    return build(settings, settings.providers, mock=False)


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        (Usage(1_000, 100), 1_000 * 3_000 + 100 * 15_000),
        (Usage(200_000, 1), 200_000 * 3_000 + 15_000),
        (Usage(200_001, 1), 200_001 * 6_000 + 22_500),
        (Usage(1_000, 0, cached_tokens=400), 600 * 3_000 + 400 * 300),
        (Usage(1_000, 0, cache_write_tokens=400), 600 * 3_000 + 400 * 3_750),
        (Usage(1_000, 0, cache_write_tokens=400, cache_write_1h_tokens=100), 600 * 3_000 + 300 * 3_750 + 100 * 6_000),
        (Usage(300_000, 10, cached_tokens=100_000), 200_000 * 6_000 + 100_000 * 300 + 10 * 22_500),
    ],
)
def test_a_tier_holds_for_all_tokens_once_its_start_is_passed(usage, nano):
    assert TIERED.cost(usage) == nano


def test_the_estimate_knows_the_tier_too():
    assert TIERED.plain(200_001, 0) == 2 * TIERED.plain(200_000, 0) + 6_000


@pytest.mark.parametrize(
    ("provider", "address", "model"),
    [
        ("openai", None, "gpt-4o"),
        ("anything", "https://api.openai.com/v1", "gpt-4o"),
        ("anthropic", None, "claude-sonnet-4-6"),
        ("groq", "https://api.groq.com/openai/v1", "llama-3.3-70b-versatile"),
    ],
)
def test_known_models_are_found_by_address_or_by_name(provider, address, model):
    prices = look_up(provider, address, model)
    assert prices.output > prices.input > 0


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "gpt-99-imaginary"), ("nobody", "gpt-4o"), ("openai", "whisper-1")]
)
def test_what_the_table_does_not_know_is_unknown_not_free(provider, model):
    assert look_up(provider, None, model) is None


def test_a_price_changes_on_its_day():
    dated = [look_up("anthropic", None, "claude-opus-4-6", datetime(2026, month, 1, tzinfo=UTC)) for month in (2, 6)]
    assert dated[0] != dated[1]


def test_a_configured_price_wins_over_the_table():
    own = {"name": "gpt-4o", "provider": "openai", "cost_per_1k_input_tokens": 1, "cost_per_1k_output_tokens": 2}
    model = registry(models=[own]).find("gpt-4o")
    assert model.prices == Prices(input=per_million(1_000), output=per_million(2_000))
    assert model.price_source == "configuration"


def test_real_traffic_never_uses_the_reference_prices():
    found = registry()
    assert {model.provider for model in found.models} == {"openai"}
    for model in found.models:
        assert model.price_source.startswith("genai-prices") or model.prices is None
        assert model.price_version != "reference-1"


def test_half_a_price_is_refused():
    with pytest.raises(ConfigError, match="both"):
        registry(models=[{"name": "m", "provider": "openai", "cost_per_1k_input_tokens": 1}])


def test_a_price_version_names_content_and_day():
    one = [("a", TIERED), ("b", None)]
    day = datetime(2026, 1, 2, tzinfo=UTC).date()
    assert price_version(one, day) == price_version(one[::-1], day)
    assert price_version(one, day) != price_version([("a", TIERED), ("b", TIERED)], day)
    assert price_version(one, day).endswith("-2026-01-02")


class TestEmbedding:
    def test_a_model_that_embeds_needs_no_price_of_output(self):
        assert look_up("openai", None, "text-embedding-3-large", embeds=True) == Prices(
            input=per_million("0.13"), output=0
        )

    def test_any_other_model_without_one_is_unpriced(self):
        assert look_up("openai", None, "text-embedding-3-large") is None

    def test_the_catalogue_looks_it_up(self):
        found = registry().by_name["text-embedding-3-small"]
        assert found.prices == Prices(input=per_million("0.02"), output=0)
        assert found.price_source.startswith("genai-prices")

    def test_ones_own_price_of_input_is_enough(self):
        profile = {"name": "e", "provider": "openai", "cost_per_1k_input_tokens": 0.001, "capabilities": ["embeddings"]}
        assert registry(models=[profile]).by_name["e"].prices == Prices(input=per_million(1), output=0)
        with pytest.raises(ConfigError, match="input or output only"):
            registry(models=[{**profile, "capabilities": ["tools"]}])

    def test_it_is_no_baseline_and_no_candidate(self):
        found = registry()
        assert not found.baseline.embeds
        assert not any(model.embeds for model in found.chat)
        with pytest.raises(ConfigError, match=r"pricing\.baseline_model"):
            registry(pricing={"baseline_model": "text-embedding-3-small"})

    def test_the_default_is_the_first_or_the_configured_one(self):
        assert registry().embedding.name == "text-embedding-3-small"
        chosen = registry(routing={"embedding_model": "text-embedding-3-large"})
        assert chosen.embedding.name == "text-embedding-3-large"
        with pytest.raises(ConfigError, match=r"routing\.embedding_model: 'gpt-4o'"):
            registry(routing={"embedding_model": "gpt-4o"})
