"""The registry over HTTP: `/models` with prices and health, `/v1/models` as OpenAI's SDK expects it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, get_args

from litestar import Response, get
from litestar.params import FromPath

from asahi_kernel.errors import NotFound
from asahi_kernel.protocols import Defaulting
from asahi_kernel.registry import UnknownModel
from asahi_kernel.types import Model, Task
from asahi_kernel.wire import openai

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway


def model_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    created = int(time.time())

    @get("/models", opt={"permission": "view_metrics"}, tags=["models"])
    async def models() -> dict[str, Any]:
        """Every registered model with its price in force and the state of its provider."""
        registry = gateway.registry
        return {
            "models": [profile(gateway, model) for model in registry.models],
            "count": len(registry.models),
            "task_types": get_args(Task),
            "default_constraints": constraints(gateway),
            "aliases": registry.aliases,
            "baseline_model": registry.baseline.name if registry.baseline else None,
        }

    @get("/v1/models", opt={"permission": "infer"}, tags=["openai"])
    async def listed() -> Response[bytes]:
        """OpenAI's model list, with `auto` and aliases."""
        registry = gateway.registry
        return Response(openai.models(registry.models, created, registry.aliases), media_type="application/json")

    @get("/v1/models/{name:path}", opt={"permission": "infer"}, tags=["openai"])
    async def one(name: FromPath[str]) -> Response[bytes]:
        """One entry of OpenAI's model list."""
        wanted = name.removeprefix("/")
        registry = gateway.registry
        if wanted == "auto" or wanted in registry.aliases:
            return Response(openai.model(wanted, "asahi", created), media_type="application/json")
        try:
            found = registry.find(wanted)
        except UnknownModel as error:
            raise NotFound(error.message, code="model_not_found", param="model") from None
        return Response(openai.model(found.name, found.provider, created), media_type="application/json")

    return [models, listed, one]


def constraints(gateway: Gateway) -> dict[str, dict[str, float]]:
    """What rules ask of each task by themselves; nothing without such a rule."""
    found: dict[str, dict[str, float]] = {}
    for rule in gateway.rules.values():
        if isinstance(rule, Defaulting):
            found |= {task: {"quality": bounds[0], "latency_ms": bounds[1]} for task, bounds in rule.defaults().items()}
    return found


def profile(gateway: Gateway, model: Model) -> dict[str, Any]:
    """A model for people: prices in dollars per 1,000 tokens, null where unknown."""
    prices = model.prices
    return {
        "name": model.name,
        "provider": model.provider,
        "api_model": model.api_model,
        "cost_per_1k_input_tokens": prices and prices.input / 1e15,
        "cost_per_1k_output_tokens": prices and prices.output / 1e15,
        "price_known": prices is not None,
        "price_version": model.price_version,
        "price_source": model.price_source,
        "avg_latency_ms": model.avg_latency_ms,
        "measured_latency_ms": gateway.learned.start_ms(model.name, 0.5, streamed=True),
        "quality_score": model.quality_score,
        "task_quality": dict(model.task_quality),
        "max_input_tokens": model.max_input_tokens,
        "max_output_tokens": model.max_output_tokens,
        "description": model.description,
        "availability": model.availability,
        "region": model.region,
        "capabilities": sorted(model.capabilities),
        "provider_state": gateway.upstreams[model.provider].health(),
    }
