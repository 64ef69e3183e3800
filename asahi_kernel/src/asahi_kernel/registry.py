"""The registered models: the built-in catalogue or the configured profiles, aliases, and the baseline model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date

import msgspec

from asahi_kernel.config import near
from asahi_kernel.errors import ConfigError, Invalid
from asahi_kernel.money import Prices, per_million
from asahi_kernel.settings import ModelProfile, Settings
from asahi_kernel.types import Model


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


#: Reference prices: they drive the mock provider and the tests, where results must repeat.
CATALOGUE = (
    _reference("gpt-4-turbo", "openai", (0.010, 0.030), 200, 4.6, (128_000, 4_096), "us"),
    _reference("claude-opus-4", "anthropic", (0.015, 0.075), 180, 4.5, (200_000, 4_096), "us"),
    _reference("claude-3-5-sonnet", "anthropic", (0.003, 0.015), 150, 4.1, (200_000, 4_096), "us"),
    _reference("claude-3-5-haiku", "anthropic", (0.001, 0.005), 80, 3.8, (200_000, 4_096), "us"),
    _reference("mistral-7b", "mistral", (0.001, 0.003), 120, 3.2, (32_000, 2_048), "eu"),
)


class UnknownModel(Invalid):
    """No registered model or alias has that name."""

    code = "unknown_model"


class Registry:
    """Models by name. Built once at the start, then only read."""

    def __init__(self, models: Iterable[Model], aliases: Mapping[str, str], baseline: str | None) -> None:
        self.models = tuple(models)
        self.by_name = {model.name: model for model in self.models}
        self.aliases = dict(aliases)
        self.baseline = self._baseline(baseline)

    def find(self, name: str) -> Model:
        """The model of that name or alias; raises `UnknownModel` with the nearest permitted names."""
        model = self.by_name.get(self.aliases.get(name, name))
        if model is None:
            hint = near(name, [*self.by_name, *self.aliases])
            raise UnknownModel(f"there is no model {name[:64]!r}. {hint}GET /models lists them all", param="model")
        return model

    def _baseline(self, name: str | None) -> Model | None:
        if name is not None:
            if name not in self.by_name:
                raise ConfigError(
                    f"pricing.baseline_model: {name!r} is not a registered model. {near(name, self.by_name)}"
                )
            return self.by_name[name]
        priced = [model for model in self.models if model.prices is not None]
        return max(priced, key=_worth, default=None)


def build(settings: Settings, providers: Iterable[str], *, mock: bool) -> Registry:
    """The registry for these settings. With `mock` the built-in catalogue is served by the mock provider; without,
    a catalogue model is active only when its provider is configured, and a configured model must name one."""
    names = set(providers)
    if settings.models is None:
        profiles = [
            msgspec.structs.replace(each, provider="mock") if mock and each.provider not in names else each
            for each in CATALOGUE
        ]
        profiles = [each for each in profiles if each.provider in names]
        version = "reference-1"
    else:
        profiles, version = list(settings.models), price_version(settings.models)
        _check(profiles, names)
    models = [as_model(profile, version) for profile in profiles]
    for alias, target in settings.aliases.items():
        if target not in {model.name for model in models}:
            raise ConfigError(
                f"aliases.{alias}: {target!r} is not a registered model. {near(target, [m.name for m in models])}"
            )
    return Registry(models, settings.aliases, settings.pricing.baseline_model)


def as_model(profile: ModelProfile, version: str) -> Model:
    """A profile with its prices made exact. Both prices or none: half a price would be a guess."""
    return Model(
        name=profile.name,
        provider=profile.provider,
        api_model=profile.api_model or profile.name,
        prices=_prices(profile),
        price_version=version,
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


def price_version(profiles: Iterable[ModelProfile]) -> str:
    """Content hash and date of a set of prices."""
    body = [(each.name, repr(_prices(each))) for each in profiles]
    digest = hashlib.sha256(msgspec.json.encode(sorted(body))).hexdigest()[:12]
    return f"{digest}-{date.today().isoformat()}"


def _prices(profile: ModelProfile) -> Prices | None:
    given = (profile.cost_per_1k_input_tokens, profile.cost_per_1k_output_tokens)
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
