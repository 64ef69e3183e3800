"""The registered models: the built-in catalogue or the configured profiles, aliases, and the baseline model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from asahi_kernel import clock, pricing
from asahi_kernel.config import near
from asahi_kernel.errors import ConfigError, Invalid
from asahi_kernel.ledger import Book
from asahi_kernel.money import Prices, per_million
from asahi_kernel.settings import ModelProfile, Settings
from asahi_kernel.types import Model, Request


def _reference(
    name: str,
    provider: str,
    prices: tuple[float, float],
    latency: float,
    quality: float,
    sizes: tuple[int, int],
    region: str,
) -> ModelProfile:
    return msgspec.convert(
        {
            "name": name,
            "provider": provider,
            "cost_per_1k_input_tokens": prices[0],
            "cost_per_1k_output_tokens": prices[1],
            "avg_latency_ms": latency,
            "quality_score": quality,
            "max_input_tokens": sizes[0],
            "max_output_tokens": sizes[1],
            "region": region,
        },
        ModelProfile,
    )


def _embedding(name: str, dollars_per_1k: float) -> ModelProfile:
    return msgspec.convert(
        {
            "name": name,
            "provider": "openai",
            "cost_per_1k_input_tokens": dollars_per_1k,
            "avg_latency_ms": 100,
            "max_input_tokens": 8_191,
            "max_output_tokens": 1,
            "region": "us",
            "capabilities": ["embeddings"],
        },
        ModelProfile,
    )


#: Reference prices: they drive the mock provider and the tests, where results must repeat.
CATALOGUE = (
    _reference("gpt-4-turbo", "openai", (0.010, 0.030), 200, 4.6, (128_000, 4_096), "us"),
    _reference("claude-opus-4", "anthropic", (0.015, 0.075), 180, 4.5, (200_000, 4_096), "us"),
    _reference("claude-3-5-sonnet", "anthropic", (0.003, 0.015), 150, 4.1, (200_000, 4_096), "us"),
    _reference("claude-3-5-haiku", "anthropic", (0.001, 0.005), 80, 3.8, (200_000, 4_096), "us"),
    _reference("mistral-7b", "mistral", (0.001, 0.003), 120, 3.2, (32_000, 2_048), "eu"),
)


def _prior(
    name: str, provider: str, latency: float, quality: float, context: int, output: int, *, blind: bool = False
) -> ModelProfile:
    seeing = {"capabilities": ("tools", "json_schema", "streaming")} if blind else {}
    return msgspec.convert(
        {
            **seeing,
            "name": name,
            "provider": provider,
            "avg_latency_ms": latency,
            "quality_score": quality,
            "max_input_tokens": context,
            "max_output_tokens": output,
        },
        ModelProfile,
    )


#: Priors only; their prices are always looked up.
FURTHER = (
    _prior("gpt-4o", "openai", 200, 4.6, 128_000, 16_384),
    _prior("gpt-4o-mini", "openai", 120, 4.0, 128_000, 16_384),
    _prior("o3", "openai", 800, 4.8, 200_000, 100_000),
    _prior("claude-opus-4-6", "anthropic", 300, 4.8, 200_000, 64_000),
    _prior("claude-sonnet-4-6", "anthropic", 180, 4.5, 200_000, 64_000),
    _prior("claude-haiku-4-5", "anthropic", 100, 3.8, 200_000, 64_000),
    _prior("gemini-2.5-pro", "google", 400, 4.7, 1_048_576, 65_536),
    _prior("gemini-2.5-flash", "google", 150, 4.2, 1_048_576, 65_536),
    _prior("gemini-2.0-flash", "google", 120, 4.0, 1_048_576, 8_192),
    _prior("gemini-2.0-flash-lite", "google", 80, 3.5, 1_048_576, 8_192),
    _prior("command-a-03-2025", "cohere", 250, 4.2, 256_000, 8_000, blind=True),
    _prior("command-r-plus-08-2024", "cohere", 300, 3.9, 128_000, 4_000, blind=True),
    _prior("command-r-08-2024", "cohere", 180, 3.6, 128_000, 4_000, blind=True),
    _prior("command-r7b-12-2024", "cohere", 120, 3.2, 128_000, 4_000, blind=True),
)


#: What turns texts into vectors; the first is the default.
EMBEDDING = (_embedding("text-embedding-3-small", 0.00002), _embedding("text-embedding-3-large", 0.00013))


class UnknownModel(Invalid):
    """No registered model or alias has that name."""

    code = "unknown_model"


class Registry:
    """Models by name. Built once at the start, then only read. `chat` are those that answer, `embedding` is the one
    that makes vectors where none is named."""

    def __init__(
        self, models: Iterable[Model], aliases: Mapping[str, str], baseline: str | None, embedding: str | None = None
    ) -> None:
        self.models = tuple(models)
        self.by_name = {model.name: model for model in self.models}
        self.chat = tuple(model for model in self.models if not model.embeds)
        self.embedding = self._embedding(embedding)
        self.aliases = dict(aliases)
        self.baseline = self._baseline(baseline)

    def find(self, name: str) -> Model:
        """The model of that name or alias; raises `UnknownModel` with the nearest permitted names."""
        model = self.by_name.get(self.aliases.get(name, name))
        if model is None:
            hint = near(name, [*self.by_name, *self.aliases])
            raise UnknownModel(f"there is no model {name[:64]!r}. {hint}GET /models lists them all", param="model")
        return model

    def book(self) -> Book:
        """The prices in force, as the ledger is verified by."""
        return Book(
            version=self.models[0].price_version if self.models else "none",
            effective_from=clock.now().date().isoformat(),
            source=", ".join(sorted({model.price_source for model in self.models})),
            prices={model.name: model.prices for model in self.models if model.prices is not None},
        )

    def baseline_of(self, request: Request) -> Model | None:
        """The model the caller would have used: the named one, else the configured or best one."""
        named = request.model or request.terms.baseline
        return self.baseline if named is None else self.by_name.get(named)

    def _embedding(self, name: str | None) -> Model | None:
        embedding = {model.name: model for model in self.models if model.embeds}
        if name is None or name in embedding:
            return embedding[name] if name else next(iter(embedding.values()), None)
        raise ConfigError(
            f"routing.embedding_model: {name!r} is not a registered model with the capability 'embeddings'. "
            f"{near(name, embedding)}"
        )

    def _baseline(self, name: str | None) -> Model | None:
        if name is not None:
            answering = {model.name: model for model in self.chat}
            if name not in answering:
                raise ConfigError(
                    f"pricing.baseline_model: {name!r} is not a registered model that answers. {near(name, answering)}"
                )
            return answering[name]
        priced = [model for model in self.chat if model.prices is not None]
        return max(priced, key=_worth, default=None)


def reference_book() -> Book:
    """The reference prices, as the ledger of a mock run is verified by."""
    prices = {each.name: prices_of(each) for each in (*CATALOGUE, *EMBEDDING)}
    known = {name: each for name, each in prices.items() if each is not None}
    return Book(version="reference-1", effective_from="2026-01-01", source="reference", prices=known)


def build(settings: Settings, providers: Iterable[str], *, mock: bool) -> Registry:
    """The registry for these settings. With `mock` the built-in catalogue is served by the mock provider at reference
    prices; without, a catalogue model is active only when its provider is configured, and prices are looked up."""
    names = set(providers)
    if mock and settings.models is None:
        profiles = [msgspec.structs.replace(each, provider="mock") for each in (*CATALOGUE, *EMBEDDING)]
        models = [as_model(each, prices_of(each), "reference-1", "reference") for each in profiles]
    else:
        profiles = list(settings.models or _active(names))
        _check(profiles, names)
        models = _priced(profiles, settings)
    for alias, target in settings.aliases.items():
        if target not in {model.name for model in models}:
            hint = near(target, [model.name for model in models])
            raise ConfigError(f"aliases.{alias}: {target!r} is not a registered model. {hint}")
    return Registry(models, settings.aliases, settings.pricing.baseline_model, settings.routing.embedding_model)


def _active(providers: set[str]) -> list[ModelProfile]:
    """The catalogue's models of these providers, without the reference prices: real traffic has real prices."""
    free = {"cost_per_1k_input_tokens": None, "cost_per_1k_output_tokens": None}
    listed = (*CATALOGUE, *FURTHER, *EMBEDDING)
    return [msgspec.structs.replace(each, **free) for each in listed if each.provider in providers]


def _priced(profiles: list[ModelProfile], settings: Settings) -> list[Model]:
    found: dict[str, tuple[Prices | None, str]] = {}
    for profile in profiles:
        prices, origin = prices_of(profile), "configuration"
        table = settings.providers.get(profile.provider, {"type": "mock"})
        if prices is None and table.get("type", profile.provider) != "mock":
            address = table.get("base_url")
            name, embeds = profile.api_model or profile.name, "embeddings" in profile.capabilities
            prices = pricing.look_up(profile.provider, address, name, embeds=embeds)
            origin = pricing.source()
        found[profile.name] = prices, origin if prices else "unknown"
    version = pricing.price_version((name, prices) for name, (prices, _) in found.items() if prices is not None)
    return [as_model(profile, *found[profile.name][:1], version, found[profile.name][1]) for profile in profiles]


def as_model(profile: ModelProfile, prices: Prices | None, version: str, origin: str) -> Model:
    """A profile with the prices that hold for it."""
    return Model(
        name=profile.name,
        provider=profile.provider,
        api_model=profile.api_model or profile.name,
        prices=prices,
        price_version=version,
        price_source=origin,
        avg_latency_ms=profile.avg_latency_ms,
        quality_score=profile.quality_score,
        task_quality=profile.task_quality,
        max_input_tokens=profile.max_input_tokens,
        max_output_tokens=profile.max_output_tokens,
        description=profile.description,
        availability=profile.availability,
        region=profile.region,
        capabilities=frozenset(profile.capabilities),
    )


def prices_of(profile: ModelProfile) -> Prices | None:
    """A profile's own prices, made exact. Both input and output or none: half a price would be a guess. A model that
    embeds has no output to price."""
    given = (profile.cost_per_1k_input_tokens, profile.cost_per_1k_output_tokens)
    if "embeddings" in profile.capabilities and given[0] is not None:
        given = (given[0], given[1] or 0.0)
    if given == (None, None):
        return None
    if given[0] is None or given[1] is None:
        raise ConfigError(
            f"models: {profile.name!r} has a price for input or output only; give both, or none for unknown"
        )
    read, write = profile.cost_per_1k_cache_read_tokens, profile.cost_per_1k_cache_write_tokens
    return Prices(
        input=_per_thousand(given[0]),
        output=_per_thousand(given[1]),
        cache_read=None if read is None else _per_thousand(read),
        cache_write=None if write is None else _per_thousand(write),
    )


def _per_thousand(dollars: float) -> int:
    return per_million(dollars) * 1_000


def _check(profiles: list[ModelProfile], providers: set[str]) -> None:
    seen: set[str] = set()
    for profile in profiles:
        if profile.name in seen:
            raise ConfigError(f"models: {profile.name!r} is listed twice")
        seen.add(profile.name)
        if profile.provider not in providers:
            known = ", ".join(sorted(providers)) or "none"
            raise ConfigError(
                f"models: {profile.name!r} names the provider {profile.provider!r}, which has no "
                f"providers.{profile.provider} table. {near(profile.provider, providers)}Configured: {known}"
            )


def _worth(model: Model) -> tuple[float, int]:
    assert model.prices is not None
    return model.quality_score, -(model.prices.input + model.prices.output)
